//! Every model value survives the wire, as bytes and back; every broken promise of the model is named by its field;
//! arbitrary bytes are refused or make a sound value.

mod checks;
mod limits;

use super::*;
use crate::v1;
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use weft_model::balance::{LoadReports, Location};
use weft_model::policy::{
    Backoff, Balancer, CircuitBreaker, HashKey, Hedge, OutlierDetection, RING_POINTS, Retry, Spread, SuccessRate,
    Timeouts, TrafficPolicy, ZonePreference,
};
use weft_model::route::{Backend, HeaderEdit, Match, Mirror, PathMatch, PathRewrite, Redirect, Rewrite};
use weft_model::route::{Route, RouteKind, RouteRetry, Rule, Scheme, ValueMatch, ValuePattern};
use weft_model::session::{Carrier, Session};
use weft_model::{Binding, Endpoint, EndpointState, Hints, Protocol, Service, ServicePort, ServiceView, SpiffeId};

const LABEL: &str = "[a-z]([a-z0-9-]{0,8}[a-z0-9])?";
const TOKEN: &str = "[a-z0-9!#$%&'*+.^_`|~-]{1,10}";
const PATTERN: &str = r"(/[a-z]{1,4}|[0-9]+|\.\*|\(a\|b\)){0,4}";

prop_compose! {
    fn any_name()(namespace in LABEL, name in LABEL) -> ServiceName { ServiceName::new(&namespace, &name).unwrap() }
}

fn any_port() -> impl Strategy<Value = Port> {
    any::<std::num::NonZeroU16>()
}

/// Whole microseconds, as the wire carries them.
fn any_duration() -> impl Strategy<Value = Duration> {
    (1..=u64::MAX).prop_map(Duration::from_micros)
}

fn any_protocol() -> impl Strategy<Value = Protocol> {
    use Protocol::*;
    prop::sample::select(vec![Detect, Http, Http2, Grpc, Tcp, Tls])
}

prop_compose! {
    fn any_service()(
        name in any_name(),
        virtual_addresses in vec(any::<IpAddr>(), 0..3),
        ports in btree_map(LABEL, (any_port(), any_port(), any_protocol()), 1..5),
        nameless: bool,
        node_local: bool,
    ) -> Service {
        let mut numbers = BTreeSet::new();
        let ports = ports.into_iter().filter(|(_, (port, ..))| numbers.insert(*port));
        let port = |(name, (port, target_port, protocol))| ServicePort { name, port, target_port, protocol };
        let mut ports: Vec<_> = ports.map(port).collect();
        if nameless && ports.len() == 1 {
            ports[0].name.clear();
        }
        Service { name, virtual_addresses, ports, node_local }
    }
}

prop_compose! {
    fn any_endpoint()(
        id in "[a-z0-9.-]{1,12}",
        service in any_name(),
        hostname in of(LABEL),
        v4: std::net::Ipv4Addr,
        v6 in of(any::<std::net::Ipv6Addr>()),
        v6_first: bool,
        ports in btree_map(LABEL, any_port(), 0..3),
        weight: u32,
        zone in of(LABEL),
        node in of(LABEL),
        zones in prop::collection::vec(LABEL, 0..3),
        nodes in prop::collection::vec(LABEL, 0..3),
        identity in of((LABEL, LABEL, LABEL)),
        priority: u32,
        location in of((-90_000_000..=90_000_000, -180_000_000..=180_000_000)),
        state in prop::sample::select(vec![EndpointState::Ready, EndpointState::NotReady, EndpointState::Terminating]),
    ) -> Endpoint {
        let mut addresses: Vec<IpAddr> = vec![v4.into()];
        addresses.extend(v6.map(IpAddr::from));
        if v6_first {
            addresses.reverse();
        }
        let identity = identity.map(|(domain, namespace, account)| SpiffeId::new(&domain, &namespace, &account).unwrap());
        let location = location.and_then(|(latitude, longitude)| Location::from_millionths(latitude, longitude));
        let hints = Hints { zones, nodes };
        Endpoint { id, service, hostname, addresses, ports, weight, zone, node, hints, priority, location, identity, state }
    }
}

fn any_path() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        "/[ -~]{0,10}".prop_map(PathMatch::Exact),
        "/[ -~]{0,10}".prop_map(PathMatch::Prefix),
        PATTERN.prop_map(PathMatch::Regex),
    ]
}

prop_compose! {
    fn any_value()(
        name in TOKEN,
        value in prop_oneof![".{0,8}".prop_map(ValuePattern::Exact), PATTERN.prop_map(ValuePattern::Regex)],
    ) -> ValueMatch { ValueMatch { name, value } }
}

prop_compose! {
    fn any_match()(
        path in any_path(),
        method in of("[A-Z]{1,7}"),
        headers in vec(any_value(), 0..3),
        query in vec(any_value(), 0..3),
    ) -> Match { Match { path, method, headers, query } }
}

prop_compose! {
    fn any_edit()(
        set in vec((TOKEN, "[ -~\t]{0,9}"), 0..3),
        add in vec((TOKEN, "[ -~é]{0,9}"), 0..3),
        remove in vec(TOKEN, 0..3),
    ) -> HeaderEdit { HeaderEdit { set, add, remove } }
}

fn any_path_rewrite() -> impl Strategy<Value = PathRewrite> {
    // A prefix needs a rule with one match to fit; the table of refusals has it.
    "/[!-~]{0,9}".prop_map(PathRewrite::Full)
}

prop_compose! {
    fn any_redirect()(
        scheme in of(prop::sample::select(vec![Scheme::Http, Scheme::Https])),
        hostname in of(LABEL),
        port in of(any_port()),
        path in of(any_path_rewrite()),
        status in prop::sample::select(vec![301, 302, 303, 307, 308]),
    ) -> Redirect { Redirect { scheme, hostname, port, path, status } }
}

prop_compose! {
    fn any_mirror()(
        service in any_name(), port in any_port(), refused: bool, numerator: u32, denominator in 1..=u32::MAX,
    ) -> Mirror { Mirror { service, port, refused, numerator, denominator } }
}

prop_compose! {
    fn any_route_retry()(
        attempts in of(any::<u32>()),
        statuses in of(vec(100u16..=599, 0..3)),
        backoff in of(any_duration()),
    ) -> RouteRetry { RouteRetry { attempts, statuses, backoff } }
}

prop_compose! {
    fn any_backend()(
        service in any_name(),
        port in any_port(),
        weight: u32,
        refused: bool,
        request_headers in any_edit(),
        response_headers in any_edit(),
    ) -> Backend { Backend { service, port, weight, refused, request_headers, response_headers } }
}

prop_compose! {
    fn any_rule()(
        name in of(LABEL),
        matches in vec(any_match(), 0..3),
        edits in (any_edit(), any_edit()),
        redirect in of(any_redirect()),
        rewrite in of((of(LABEL), of(any_path_rewrite()))),
        mirrors in vec(any_mirror(), 0..2),
        backends in vec(any_backend(), 0..3),
        retry in of(any_route_retry()),
        timeouts in (of(any_duration()), of(any_duration())),
        session in of(session::tests::any_session()),
    ) -> Rule {
        let (request_headers, response_headers) = edits;
        let (request_timeout, backend_timeout) = timeouts;
        let rewrite = rewrite.map(|(hostname, path)| Rewrite { hostname, path });
        Rule {
            name, matches, request_headers, response_headers, redirect, rewrite, mirrors, backends, retry,
            session, request_timeout, backend_timeout,
        }
    }
}

prop_compose! {
    fn any_route()(
        kind in prop::sample::select(vec![RouteKind::Http, RouteKind::Grpc]),
        namespace in LABEL,
        name in LABEL,
        port in of(any_port()),
        hostnames in vec("(\\*\\.)?[a-z]{1,5}(\\.[a-z]{1,5}){0,2}", 0..3),
        rules in vec(any_rule(), 0..3),
    ) -> Route { Route { kind, namespace, name, port, hostnames, rules } }
}

prop_compose! {
    fn any_retry()(
        attempts: u32,
        non_idempotent: bool,
        statuses in vec(100u16..=599, 0..5),
        per_try_timeout in of(any_duration()),
        replay_bytes: usize,
        budget_percent: u32,
        budget_min_per_second: u32,
        (base, max, max_retry_after) in (any_duration(), any_duration(), of(any_duration())),
        hedge in of((any_duration(), 0u32..=99)),
    ) -> Retry {
        let backoff = Backoff { base, max, max_retry_after: max_retry_after.unwrap_or_default() };
        let hedge = hedge.map(|(after, percentile)| Hedge { after, percentile: std::num::NonZeroU32::new(percentile) });
        Retry {
            attempts, non_idempotent, statuses, per_try_timeout, replay_bytes, budget_percent, budget_min_per_second, backoff, hedge
        }
    }
}

prop_compose! {
    fn any_outlier()(
        gateway_errors: Option<std::num::NonZeroU32>,
        local_failures: Option<std::num::NonZeroU32>,
        success_rate: Option<(u32, u32, u32)>,
        (interval, base_time, max_time) in (any_duration(), any_duration(), any_duration()),
        max_percent in 1u32..=100,
    ) -> OutlierDetection {
        let rate = |(min_endpoints, min_requests, deviations)| SuccessRate { min_endpoints, min_requests, deviations };
        let success_rate = success_rate.map(rate);
        OutlierDetection { gateway_errors, local_failures, success_rate, interval, base_time, max_time, max_percent }
    }
}

fn any_balancer() -> impl Strategy<Value = Balancer> {
    let on = prop_oneof![
        Just(HashKey::SourceAddress),
        TOKEN.prop_map(HashKey::Header),
        TOKEN.prop_map(HashKey::Cookie),
        ".{1,8}".prop_map(HashKey::QueryParam),
    ];
    prop_oneof![
        any_duration().prop_map(|decay| Balancer::P2cEwma { decay }),
        (1..u32::MAX).prop_map(|choices| Balancer::LeastRequest { choices }),
        Just(Balancer::RoundRobin),
        Just(Balancer::Random),
        (on.clone(), RING_POINTS).prop_map(|(on, points)| Balancer::RingHash { on, points }),
        (on, prop::sample::select(vec![251, 65_537, 1_048_573])).prop_map(|(on, size)| Balancer::Maglev { on, size }),
        any::<std::num::NonZeroU32>().prop_map(|max_in_flight| Balancer::Nearest { max_in_flight }),
        (1..u32::MAX).prop_map(|probes| Balancer::Prequal { probes }),
    ]
}

prop_compose! {
    fn any_spread()(
        panic_percent in 0u32..=100,
        slow_start in of(any_duration()),
        subset: Option<std::num::NonZeroU32>,
        zone: Option<std::num::NonZeroU32>,
        failover in vec(LABEL, 0..3),
        max_load in of(101..u32::MAX),
        reports in of((any_duration(), any_duration(), any::<u32>())),
    ) -> Spread {
        let zone = zone.map(|max_in_flight| ZonePreference { max_in_flight });
        let load_reports = reports.map(|(blackout, expiry, error_penalty_percent)| {
            LoadReports { blackout, expiry, error_penalty_percent }
        });
        let max_load_percent = max_load.and_then(std::num::NonZeroU32::new);
        Spread { panic_percent, slow_start, subset, zone, failover, max_load_percent, load_reports }
    }
}

prop_compose! {
    // On the heap where the parts are large: a whole view's would not fit on a test's stack.
    fn any_policy()(
        balancer in any_balancer().boxed(),
        spread in any_spread().boxed(),
        affinity in of((TOKEN, of(any_duration()))),
        retry in any_retry().boxed(),
        connect in any_duration(),
        request in of(any_duration()),
        health_check in of(checks::any_check()).boxed(),
        throttle in of(checks::any_throttle()),
        limits in limits::any_limits().boxed(),
        faults in of(limits::any_faults()).boxed(),
        outlier in of(any_outlier()).boxed(),
        breaker: Option<[Option<std::num::NonZeroU32>; 4]>,
    ) -> TrafficPolicy {
        TrafficPolicy {
            balancer,
            spread,
            affinity: affinity.map(|(name, absolute_timeout)| Session { name, absolute_timeout, idle_timeout: None, carrier: Carrier::default() }),
            retry,
            timeouts: Timeouts { connect, request },
            health_check,
            throttle,
            limits,
            faults,
            outlier,
            breaker: breaker.map(|[max_requests, max_pending, max_retries, max_connections]| CircuitBreaker {
                max_requests, max_pending, max_retries, max_connections
            }),
        }
    }
}

prop_compose! {
    fn any_view()(
        service in any_service(),
        routes in vec(any_route(), 0..3).boxed(),
        policy in any_policy().boxed(),
        endpoints in vec(any_endpoint(), 0..4),
    ) -> ServiceView {
        let own = |endpoint: Endpoint| (endpoint.id.clone(), Endpoint { service: service.name.clone(), ..endpoint });
        let endpoints: BTreeMap<_, _> = endpoints.into_iter().map(own).collect();
        ServiceView { routes, policy, endpoints, service: service.clone() }
    }
}

fn any_binding() -> impl Strategy<Value = Binding> {
    prop_oneof![
        any_name().prop_map(Binding::Service),
        (any_name(), "[a-z]{1,5}").prop_map(|(service, id)| Binding::Endpoint { service, id }),
        Just(Binding::Unknown),
    ]
}

/// Through the bytes themselves.
fn over_the_wire<W: Message + Default>(wire: W) -> W {
    W::decode(wire.encode_to_vec().as_slice()).unwrap()
}

macro_rules! round_trip {
    ($($test:ident: $strategy:expr => $wire:ty;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(64))]
            $(#[test]
            fn $test(value in $strategy) {
                prop_assert_eq!(over_the_wire(<$wire>::from(&value)).try_into(), Ok(value));
            })*
        }
    };
}

round_trip! {
    services_survive: any_service() => v1::Service;
    endpoints_survive: any_endpoint() => v1::Endpoint;
    routes_survive: any_route() => v1::Route;
    rules_survive: any_rule() => v1::Rule;
    matches_survive: any_match() => v1::Match;
    header_edits_survive: any_edit() => v1::HeaderEdit;
    retries_survive: any_retry() => v1::Retry;
    policies_survive: any_policy() => v1::TrafficPolicy;
    views_survive: any_view() => v1::ServiceView;
}

proptest! {
    #[test]
    fn bindings_survive(address: IpAddr, binding in any_binding()) {
        prop_assert_eq!(over_the_wire(v1::AddressBinding::from((address, &binding))).try_into(), Ok((address, binding)));
    }

    #[test]
    fn a_bound_never_becomes_none(nanos in 1u64..) {
        let there = micros(Duration::from_nanos(nanos));
        let back = some_duration(there).unwrap();
        prop_assert!(back >= Duration::from_nanos(nanos) && back - Duration::from_nanos(nanos) < Duration::from_micros(1));
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_sound(bytes: Vec<u8>) {
        if let Ok(view) = v1::ServiceView::decode(bytes.as_slice()).map(ServiceView::try_from).unwrap_or(Err(ConvertError::new("", ""))) {
            prop_assert!(!view.service.ports.is_empty());
        }
    }
}

#[test]
fn what_is_missing_stands_for_the_default() {
    assert_eq!(TrafficPolicy::try_from(v1::TrafficPolicy::default()), Ok(TrafficPolicy::default()));
    assert_eq!(Match::try_from(v1::Match::default()), Ok(Match::default()));
    assert_eq!(Rule::try_from(v1::Rule::default()), Ok(Rule::default()));
}

fn service() -> v1::Service {
    let port = v1::ServicePort { name: "http".to_owned(), port: 80, target_port: 8080, protocol: 1 };
    v1::Service {
        name: "shop/cart".to_owned(),
        virtual_addresses: vec!["198.18.0.1".to_owned()],
        ports: vec![port],
        ..Default::default()
    }
}

fn endpoint() -> v1::Endpoint {
    let (id, service) = ("cart-0".to_owned(), "shop/cart".to_owned());
    v1::Endpoint { id, service, addresses: vec!["10.0.0.1".to_owned()], weight: 1, ..Default::default() }
}

fn route() -> v1::Route {
    let backend = v1::Backend { service: "shop/cart".to_owned(), port: 80, weight: 1, ..Default::default() };
    let rule = v1::Rule { matches: vec![v1::Match::default()], backends: vec![backend], ..Default::default() };
    let (namespace, name) = ("shop".to_owned(), "cart".to_owned());
    v1::Route { namespace, name, rules: vec![rule], ..Default::default() }
}

fn view() -> v1::ServiceView {
    let (service, routes, endpoints) = (Some(service()), vec![route()], vec![endpoint()]);
    v1::ServiceView { service, routes, policy: Some((&TrafficPolicy::default()).into()), endpoints }
}

/// The field that is named when `change` has been made to a sound view.
fn refused(change: impl FnOnce(&mut v1::ServiceView)) -> String {
    let mut wire = view();
    assert!(ServiceView::try_from(wire.clone()).is_ok());
    change(&mut wire);
    ServiceView::try_from(wire).expect_err("must be refused").field
}

#[test]
fn broken_services_and_endpoints_are_named() {
    let service = |change: fn(&mut v1::Service)| refused(|view| change(view.service.as_mut().unwrap()));
    assert_eq!(refused(|view| view.service = None), "service");
    assert_eq!(service(|s| s.name = "cart".to_owned()), "service.name");
    assert_eq!(service(|s| s.virtual_addresses.push("::g".to_owned())), "service.virtual_addresses[1]");
    assert_eq!(service(|s| s.ports.clear()), "service.ports");
    assert_eq!(service(|s| s.ports[0].port = 0), "service.ports[0].port");
    assert_eq!(service(|s| s.ports[0].target_port = 65_536), "service.ports[0].target_port");
    assert_eq!(service(|s| s.ports[0].protocol = 99), "service.ports[0].protocol");
    assert_eq!(service(|s| s.ports.push(s.ports[0].clone())), "service.ports[1].name");
    assert_eq!(
        service(|s| s.ports.push(v1::ServicePort { name: "b".to_owned(), ..s.ports[0].clone() })),
        "service.ports[1].port"
    );
    assert_eq!(
        service(|s| s.ports.push(v1::ServicePort { port: 81, ..Default::default() })),
        "service.ports[1].target_port"
    );

    let endpoint = |change: fn(&mut v1::Endpoint)| refused(|view| change(&mut view.endpoints[0]));
    assert_eq!(endpoint(|e| e.id.clear()), "endpoints[0].id");
    assert_eq!(endpoint(|e| e.service = "shop/search".to_owned()), "endpoints[0].service");
    assert_eq!(endpoint(|e| e.addresses.clear()), "endpoints[0].addresses");
    assert_eq!(endpoint(|e| e.addresses.push("10.0.0.2".to_owned())), "endpoints[0].addresses");
    assert_eq!(endpoint(|e| e.addresses[0] = "10.0.0.256".to_owned()), "endpoints[0].addresses[0]");
    assert_eq!(endpoint(|e| _ = e.ports.insert("http".to_owned(), 0)), "endpoints[0].ports[\"http\"]");
    assert_eq!(endpoint(|e| e.identity = "cart".to_owned()), "endpoints[0].identity");
    assert_eq!(endpoint(|e| e.state = 7), "endpoints[0].state");
    assert_eq!(refused(|view| view.endpoints.push(super::tests::endpoint())), "endpoints[1].id");
}

#[test]
fn broken_routes_and_policies_are_named() {
    let route = |change: fn(&mut v1::Route)| refused(|view| change(&mut view.routes[0]));
    assert_eq!(route(|r| r.name = "Cart".to_owned()), "routes[0].name");
    assert_eq!(route(|r| r.port = 70_000), "routes[0].port");
    assert_eq!(route(|r| r.hostnames.push("*.Shop".to_owned())), "routes[0].hostnames[0]");

    let rule = |change: fn(&mut v1::Rule)| {
        let field = refused(|view| change(&mut view.routes[0].rules[0]));
        field.strip_prefix("routes[0].rules[0].").unwrap().to_owned()
    };
    assert_eq!(rule(|r| r.backends[0].port = 0), "backends[0].port");
    assert_eq!(rule(|r| r.backends[0].service = "a/b/c".to_owned()), "backends[0].service");
    assert_eq!(rule(|r| r.matches[0].method = "GET /".to_owned()), "matches[0].method");
    assert_eq!(rule(|r| r.matches[0].path = Some(v1::PathMatch::default())), "matches[0].path.kind");
    assert_eq!(rule(|r| r.matches[0].path = Some((&PathMatch::Regex("(".to_owned())).into())), "matches[0].path.regex");
    assert_eq!(
        rule(|r| r.matches[0].path = Some((&PathMatch::Prefix("a".to_owned())).into())),
        "matches[0].path.prefix"
    );
    assert_eq!(
        rule(|r| r.matches[0].headers = vec![v1::ValueMatch { name: "x".to_owned(), value: None }]),
        "matches[0].headers[0].value"
    );
    fn edit(name: &str, value: &str) -> Option<v1::HeaderEdit> {
        let set = vec![v1::HeaderValue { name: name.to_owned(), value: value.to_owned() }];
        Some(v1::HeaderEdit { set, ..Default::default() })
    }
    assert_eq!(rule(|r| r.request_headers = edit("X-Upper", "1")), "request_headers.set[0].name");
    assert_eq!(rule(|r| r.response_headers = edit("x-a", "1\r\nx-b: 2")), "response_headers.set[0].value");

    let policy = |change: fn(&mut v1::TrafficPolicy)| refused(|view| change(view.policy.as_mut().unwrap()));
    assert_eq!(policy(|p| p.retry.as_mut().unwrap().statuses.push(600)), "policy.retry.statuses[3]");
    assert_eq!(policy(|p| p.timeouts.as_mut().unwrap().connect_us = 0), "policy.timeouts.connect_us");
    assert_eq!(policy(|p| p.affinity = Some(v1::Session::default())), "policy.affinity.name");
    let zero = |p: &mut v1::TrafficPolicy| {
        p.balancer = Some(v1::traffic_policy::Balancer::P2cEwma(v1::P2cEwma { decay_us: 0 }));
    };
    assert_eq!(policy(zero), "policy.balancer.p2c_ewma.decay_us");
    assert_eq!(policy(|p| p.spread.as_mut().unwrap().panic_percent = 101), "policy.spread.panic_percent");
    assert_eq!(policy(|p| p.outlier = Some(v1::OutlierDetection::default())), "policy.outlier.max_percent");
    let endless = |p: &mut v1::TrafficPolicy| {
        p.outlier = Some(v1::OutlierDetection { interval_us: 0, ..(&OutlierDetection::default()).into() });
    };
    assert_eq!(policy(endless), "policy.outlier.interval_us");
    let backoff = |p: &mut v1::TrafficPolicy| p.retry.as_mut().unwrap().backoff = Some(v1::Backoff::default());
    assert_eq!(policy(backoff), "policy.retry.backoff.base_us");
    let at_once = |p: &mut v1::TrafficPolicy| p.retry.as_mut().unwrap().hedge = Some(v1::Hedge::default());
    assert_eq!(policy(at_once), "policy.retry.hedge.after_us");
    let most = |p: &mut v1::TrafficPolicy| {
        p.retry.as_mut().unwrap().hedge = Some(v1::Hedge { after_us: 1, percentile: 100 });
    };
    assert_eq!(policy(most), "policy.retry.hedge.percentile");
}

#[test]
fn broken_balancers_are_named() {
    use v1::hash_key::Key;
    use v1::traffic_policy::Balancer as Wire;
    let on = |key| Some(v1::HashKey { key: Some(key) });
    let ring = |key, points| Wire::RingHash(v1::RingHash { on: on(key), points });
    let source = || Key::SourceAddress(true);
    for (wire, field) in [
        (Wire::LeastRequest(v1::LeastRequest { choices: 0 }), "least_request.choices"),
        (ring(source(), 0), "ring_hash.points"),
        (ring(source(), u32::MAX), "ring_hash.points"),
        (ring(Key::Header("X-User".to_owned()), 1024), "ring_hash.on.header"),
        (ring(Key::Cookie("a;b".to_owned()), 1024), "ring_hash.on.cookie"),
        (ring(Key::QueryParam(String::new()), 1024), "ring_hash.on.query_param"),
        (Wire::RingHash(v1::RingHash { on: None, points: 1024 }), "ring_hash.on.key"),
        (Wire::Maglev(v1::Maglev { on: on(source()), size: 65_536 }), "maglev.size"),
        (Wire::Nearest(v1::Nearest { max_in_flight: 0 }), "nearest.max_in_flight"),
        (Wire::Prequal(v1::Prequal { probes: 0 }), "prequal.probes"),
    ] {
        assert_eq!(Balancer::try_from(wire).unwrap_err().field, field);
    }
}

#[test]
fn broken_actions_of_rules_are_named() {
    fn path(path: &str) -> Option<v1::PathRewrite> {
        Some((&PathRewrite::Prefix(path.to_owned())).into())
    }
    fn redirect(change: fn(&mut v1::Redirect)) -> impl Fn(&mut v1::Rule) {
        move |rule| {
            let mut redirect = v1::Redirect { status: 302, ..Default::default() };
            change(&mut redirect);
            rule.redirect = Some(redirect);
        }
    }
    let action = |change: &dyn Fn(&mut v1::Rule)| {
        let field = refused(|view| change(&mut view.routes[0].rules[0]));
        field.strip_prefix("routes[0].rules[0].").unwrap().to_owned()
    };
    assert_eq!(action(&redirect(|r| r.status = 200)), "redirect.status");
    assert_eq!(action(&redirect(|r| r.hostname = "a b".to_owned())), "redirect.hostname");
    assert_eq!(action(&redirect(|r| r.port = 70_000)), "redirect.port");
    assert_eq!(action(&redirect(|r| r.path = path("/a b"))), "redirect.path.prefix");
    let rewrite = |rule: &mut v1::Rule| {
        rule.matches.push(v1::Match::default());
        rule.rewrite = Some(v1::Rewrite { path: path("/a"), ..Default::default() });
    };
    assert_eq!(action(&rewrite), "rewrite.path");
    let mirror = |rule: &mut v1::Rule| {
        rule.mirrors = vec![v1::Mirror { service: "shop/cart".to_owned(), port: 80, ..Default::default() }];
    };
    assert_eq!(action(&mirror), "mirrors[0].denominator");
}

#[test]
fn broken_bindings_are_named() {
    let field = |wire: v1::AddressBinding| <(IpAddr, Binding)>::try_from(wire).unwrap_err().field;
    assert_eq!(field(v1::AddressBinding::default()), "address");
    let to = |to| v1::AddressBinding { address: "10.0.0.1".to_owned(), to: Some(to) };
    assert_eq!(field(to(v1::address_binding::To::Service("cart".to_owned()))), "service");
    assert_eq!(field(to(v1::address_binding::To::Endpoint(v1::EndpointRef::default()))), "endpoint.id");
}
