//! Clusters put together by hand, and the services that come of them; then any cluster, told in any order.
//! Pure: facts are made here, no API server and no clock.

use super::super::cache::Seen;
use super::super::cluster::{Due, News};
use super::super::facts::{Node, Pod};
use super::*;
use proptest::prelude::*;
use weft_model::{Port, Protocol, ServicePort};

fn name() -> ServiceName {
    ServiceName::new("shop", "web").unwrap()
}

fn port(name: &str, port: u16, target: u16) -> ServicePort {
    let number = |port| Port::new(port).unwrap();
    let protocol = Protocol::Http;
    ServicePort { name: name.to_owned(), port: number(port), target_port: number(target), protocol }
}

fn service() -> Service {
    let addresses = vec!["10.96.0.10".parse().unwrap()];
    let ports = vec![port("http", 80, 8080)];
    Service { addresses, ports, publish_not_ready: false, node_local: false, prefers_v6: false }
}

fn member(address: &str, pod: Option<&str>) -> SliceMember {
    SliceMember {
        address: address.parse().unwrap(),
        pod: pod.map(|pod| (pod.to_owned(), format!("uid-{pod}"))),
        hostname: None,
        node: Some("node-a".to_owned()),
        zone: None,
        hints: weft_model::Hints::default(),
        ready: true,
        terminating: false,
    }
}

fn slice(port: u16, endpoints: Vec<SliceMember>) -> Slice {
    let ports = vec![("http".to_owned(), Port::new(port).unwrap())];
    Slice { service: "web".to_owned(), ports, endpoints }
}

fn pod(name: &str, meshed: bool) -> Pod {
    Pod { uid: format!("uid-{name}"), account: "web".to_owned(), meshed, terminating: false }
}

fn put<F>(name: &str, facts: F) -> Seen<F> {
    Seen::Put(("shop".to_owned(), name.to_owned()), facts)
}

fn cluster(news: impl IntoIterator<Item = News>) -> Cluster {
    let (mut cluster, mut due) = (Cluster::default(), Due::default());
    news.into_iter().for_each(|news| cluster.take(news, &mut due));
    cluster
}

fn described(service: Service, slices: Vec<Slice>, pods: Vec<(&str, Pod)>) -> BTreeMap<String, Endpoint> {
    let node = Seen::Put((String::new(), "node-a".to_owned()), Node { zone: Some("a".to_owned()) });
    let news = [News::Service(put("web", service)), News::Node(node)];
    let slices = slices.into_iter().enumerate().map(|(n, slice)| News::Slice(put(&format!("web-{n}"), slice)));
    let pods = pods.into_iter().map(|(name, pod)| News::Pod(put(name, pod)));
    let cluster = cluster(news.into_iter().chain(slices).chain(pods));
    describe(&name(), &cluster, "weft.local").unwrap().endpoints
}

#[test]
fn a_meshed_pod_has_its_accounts_identity_and_its_nodes_zone() {
    let slices = vec![slice(8080, vec![member("10.0.0.1", Some("web-0")), member("10.0.0.2", Some("web-1"))])];
    let all = described(service(), slices, vec![("web-0", pod("web-0", true)), ("web-1", pod("web-1", false))]);
    let identity = all["web-0"].identity.as_ref().map(ToString::to_string);
    assert_eq!(identity.as_deref(), Some("spiffe://weft.local/ns/shop/sa/web"));
    assert_eq!(all["web-1"].identity, None);
    assert_eq!((all["web-0"].zone.as_deref(), all["web-0"].node.as_deref()), (Some("a"), Some("node-a")));
    assert!(all["web-0"].ports.is_empty(), "it listens where the service says");
}

#[test]
fn an_endpoint_whose_pod_is_not_known_is_not_told() {
    let slices = || vec![slice(8080, vec![member("10.0.0.1", Some("web-0"))])];
    assert!(described(service(), slices(), vec![]).is_empty());
    let another = Pod { uid: "uid-later".to_owned(), ..pod("web-0", true) };
    assert!(described(service(), slices(), vec![("web-0", another)]).is_empty());
    let by_hand =
        described(service(), vec![slice(8080, vec![member("10.0.0.9", None), member("fd00::9", None)])], vec![]);
    assert_eq!(by_hand.keys().collect::<Vec<_>>(), ["10-0-0-9", "fd00-0-0-0-0-0-0-9"]);
}

#[test]
fn states_follow_the_conditions() {
    let state = |service: Service, ready: bool, terminating: bool, deleted: bool| {
        let member = SliceMember { ready, terminating, ..member("10.0.0.1", Some("web-0")) };
        let pod = Pod { terminating: deleted, ..pod("web-0", true) };
        described(service, vec![slice(8080, vec![member])], vec![("web-0", pod)])["web-0"].state
    };
    let published = Service { publish_not_ready: true, ..service() };
    assert_eq!(state(service(), true, false, false), EndpointState::Ready);
    assert_eq!(state(service(), false, false, false), EndpointState::NotReady);
    assert_eq!(state(service(), false, true, false), EndpointState::Terminating);
    assert_eq!(state(service(), true, false, true), EndpointState::Terminating, "the pod knows first");
    assert_eq!(state(published.clone(), false, false, false), EndpointState::Ready);
    assert_eq!(state(published, false, true, true), EndpointState::Ready);
}

#[test]
fn both_families_are_one_endpoint_in_the_services_order() {
    let slices = || {
        let (v4, v6) = (member("10.0.0.1", Some("web-0")), member("fd00::1", Some("web-0")));
        vec![slice(8080, vec![v4]), slice(8080, vec![v6])]
    };
    let addresses = |prefers_v6: bool| {
        let service = Service { prefers_v6, ..service() };
        let all = described(service, slices(), vec![("web-0", pod("web-0", true))]);
        all["web-0"].addresses.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(addresses(false), ["10.0.0.1", "fd00::1"]);
    assert_eq!(addresses(true), ["fd00::1", "10.0.0.1"]);
}

#[test]
fn pods_may_listen_elsewhere_and_a_slice_without_ports_has_nobody() {
    let web = || vec![("web-0", pod("web-0", true))];
    let moved = described(service(), vec![slice(9090, vec![member("10.0.0.1", Some("web-0"))])], web());
    assert_eq!(moved["web-0"].ports["http"].get(), 9090);
    let mut none = slice(9090, vec![member("10.0.0.1", Some("web-0"))]);
    none.ports.clear();
    assert!(described(service(), vec![none], web()).is_empty());
}

#[test]
fn a_host_name_is_kept_where_it_says_something_new() {
    let hostname = |hostname: &str| {
        let member = SliceMember { hostname: Some(hostname.to_owned()), ..member("10.0.0.1", Some("web-0")) };
        let all = described(service(), vec![slice(8080, vec![member])], vec![("web-0", pod("web-0", true))]);
        all["web-0"].hostname.clone()
    };
    assert_eq!(hostname("web-0"), None);
    assert_eq!(hostname("first").as_deref(), Some("first"));
}

#[test]
fn a_change_is_due_for_the_services_it_concerns() {
    let (mut cluster, mut due) = (Cluster::default(), Due::default());
    let mut take = |news: News| {
        cluster.take(news, &mut due);
        std::mem::take(&mut due).services.iter().map(|name| name.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(take(News::Service(put("web", service()))), ["web"]);
    assert_eq!(take(News::Pod(put("web-0", pod("web-0", true)))), [""; 0], "nobody's yet");
    assert_eq!(take(News::Slice(put("web-x", slice(8080, vec![member("10.0.0.1", Some("web-0"))])))), ["web"]);
    assert_eq!(take(News::Pod(put("web-0", pod("web-0", false)))), ["web"]);
    assert_eq!(take(News::Pod(put("web-0", pod("web-0", false)))), [""; 0], "the same");
    let node = || Seen::Put((String::new(), "node-a".to_owned()), Node { zone: None });
    assert_eq!(take(News::Node(node())), ["web"]);
    let other = Slice { service: "other".to_owned(), ..slice(8080, vec![]) };
    assert_eq!(take(News::Slice(put("web-x", other))), ["other", "web"], "of both, when it moves");
    assert_eq!(take(News::Service(Seen::Gone(("shop".to_owned(), "web".to_owned())))), ["web"]);
}

prop_compose! {
    fn any_member()(n in 0u8..6, v6: bool, uid_is_old: bool, ready: bool, terminating: bool, known: bool) -> SliceMember {
        let address = if v6 { format!("fd00::{n:x}") } else { format!("10.0.0.{n}") };
        let mut member = SliceMember { ready, terminating, ..member("10.0.0.1", known.then_some("x")) };
        member.address = address.parse().unwrap();
        let uid = if uid_is_old { "old".to_owned() } else { format!("uid-web-{n}") };
        member.pod = known.then(|| (format!("web-{n}"), uid));
        member
    }
}

proptest! {
    #[test]
    fn every_order_says_the_same_and_no_meshed_pod_is_in_the_clear(
        slices in proptest::collection::vec((1u16..4, proptest::collection::vec(any_member(), 0..5)), 0..4),
        pods in proptest::collection::vec((any::<bool>(), any::<bool>()), 6),
        order in any::<u64>(),
        prefers_v6: bool,
    ) {
        let mut news: Vec<Box<dyn Fn() -> News>> = Vec::new();
        news.push(Box::new(move || News::Service(put("web", Service { prefers_v6, ..service() }))));
        for (n, (port, members)) in slices.into_iter().enumerate() {
            news.push(Box::new(move || News::Slice(put(&format!("web-{n}"), slice(port, members.clone())))));
        }
        let meshed: Vec<bool> = pods.iter().map(|(_, meshed)| *meshed).collect();
        for (n, (known, meshed)) in pods.into_iter().enumerate().filter(|(_, (known, _))| *known) {
            let of = move || pod(&format!("web-{n}"), known && meshed);
            news.push(Box::new(move || News::Pod(put(&format!("web-{n}"), of()))));
        }
        let straight = describe(&name(), &cluster(news.iter().map(|news| news())), "weft.local");
        fastrand::Rng::with_seed(order).shuffle(&mut news);
        let shuffled = describe(&name(), &cluster(news.iter().map(|news| news())), "weft.local");
        prop_assert_eq!(&straight, &shuffled);
        for (id, endpoint) in &straight.unwrap().endpoints {
            prop_assert!(!endpoint.addresses.is_empty() && endpoint.addresses.len() <= 2);
            let n = id.strip_prefix("web-").and_then(|n| n.parse::<usize>().ok());
            prop_assert_eq!(endpoint.identity.is_some(), n.is_some_and(|n| meshed[n]));
        }
    }
}
