//! What messages make of the catalog's state: subscriptions, answers, deltas, and nonsense.
//!
//! The state is pure, so whole histories are played through it without a socket or a clock. The properties at the end hold it
//! to its promise: the last world told is the one in force, and a refused message changes nothing.

use super::unused::{EVICTED, MAX_UNANSWERED, UNUSED_LIMIT};
use super::*;
use crate::catalog::tests::{endpoint, name, port, view};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;
use weft_model::Route;
use weft_model::route::{Backend, Rule};

fn target(text: &str) -> Target {
    text.parse().map_or_else(|_| Target::Service(name(text)), Target::Address)
}

fn routed_to(service: &str, backend: &str) -> ServiceView {
    let backends = vec![Backend::new(name(backend), port(80), 1)];
    let rules = vec![Rule { backends, ..Rule::default() }];
    let route = Route { namespace: "shop".to_owned(), name: "split".to_owned(), rules, ..Route::default() };
    ServiceView { routes: vec![route], ..view(service, &[]) }
}

fn message(revision: u64, body: Body) -> v1::SubscribeResponse {
    v1::SubscribeResponse { revision, body: Some(body) }
}

fn snapshot(revision: u64, view: &ServiceView) -> v1::SubscribeResponse {
    message(revision, Body::Snapshot(v1::ServiceSnapshot { view: Some(view.into()) }))
}

fn gone(revision: u64, service: &str) -> v1::SubscribeResponse {
    message(revision, Body::Gone(v1::ServiceGone { service: service.to_owned() }))
}

fn binding(revision: u64, address: &str, binding: &Binding) -> v1::SubscribeResponse {
    message(revision, Body::Binding((address.parse().unwrap(), binding).into()))
}

/// What discovery would send to lead from the one view to the other.
fn delta(revision: u64, before: &ServiceView, now: &ServiceView) -> v1::SubscribeResponse {
    let head = (before.routes != now.routes || before.policy != now.policy || before.service != now.service)
        .then(|| v1::ServiceView { endpoints: vec![], ..now.into() });
    let upserted = now.endpoints.iter().filter(|(id, e)| before.endpoints.get(*id) != Some(e)).map(|(_, e)| e.into());
    let removed = before.endpoints.keys().filter(|id| !now.endpoints.contains_key(*id)).cloned().collect();
    let service = format!("{}/{}", now.service.name.namespace, now.service.name.name);
    message(revision, Body::Delta(v1::ServiceDelta { service, head, upserted: upserted.collect(), removed }))
}

fn present(state: &State, service: &str) -> Option<ServiceView> {
    state.snapshot().services.get(&name(service)).map(|known| known.view.clone())
}

fn subscribed(state: &mut State) -> Vec<Wish> {
    state.begin(true)
}

fn wish(text: &str) -> Wish {
    Wish::Subscribe(target(text))
}

#[test]
fn a_route_of_another_namespaces_clients_is_dropped_with_what_it_leads_to() {
    let consumed = |namespace: &str| {
        let mut view = routed_to("shop/cart", "shop/next");
        view.routes[0].namespace = namespace.to_owned();
        view
    };
    for (namespace, kept) in [("shop", true), ("web", true), ("bank", false)] {
        let (mut state, now) = (State::of("web"), Instant::now());
        state.want(target("shop/cart"), now);
        let wishes = state.apply(snapshot(1, &consumed(namespace)), now).unwrap();
        assert_eq!((wishes == [wish("shop/next")], wishes.is_empty()), (kept, !kept), "{namespace}");
        assert_eq!(present(&state, "shop/cart").unwrap().routes.is_empty(), !kept);
        let changed = ServiceView { policy: Default::default(), ..consumed("bank") };
        state.apply(delta(2, &consumed(namespace), &changed), now).unwrap();
        assert!(present(&state, "shop/cart").unwrap().routes.is_empty() || namespace == "bank");
    }
}

#[test]
fn a_service_of_each_node_gives_work_to_endpoints_of_the_own_node_alone() {
    let local = |node_local: bool| {
        let mut view = view("shop/cart", &[("a", 1), ("b", 1)]);
        view.service.node_local = node_local;
        for (id, endpoint) in &mut view.endpoints {
            endpoint.node = Some(format!("node-{id}"));
        }
        view
    };
    let weights = |state: &State| -> Vec<u32> {
        present(state, "shop/cart").unwrap().endpoints.values().map(|endpoint| endpoint.weight).collect()
    };
    let (mut state, now) = (State::default().on("node-b"), Instant::now());
    state.want(target("shop/cart"), now);
    state.apply(snapshot(1, &local(true)), now).unwrap();
    assert_eq!(weights(&state), [0, 1]);
    let mut grown = local(true);
    grown.endpoints.get_mut("a").unwrap().weight = 3;
    state.apply(delta(2, &local(true), &grown), now).unwrap();
    assert_eq!(weights(&state), [0, 1]);
    let renewed = state.apply(delta(3, &grown, &local(false)), now).unwrap();
    assert_eq!(renewed.len(), 2, "the weights that were told are asked for");
    state.apply(snapshot(3, &local(false)), now).unwrap();
    assert_eq!(weights(&state), [1, 1]);
    let (mut anywhere, now) = (State::default().on(""), Instant::now());
    anywhere.want(target("shop/cart"), now);
    anywhere.apply(snapshot(1, &local(true)), now).unwrap();
    assert_eq!(weights(&anywhere), [1, 1]);
}

#[test]
fn a_question_subscribes_once_and_its_answer_is_shown() {
    let (mut state, now) = (State::default(), Instant::now());
    assert_eq!(state.want(target("shop/cart"), now), [wish("shop/cart")]);
    assert_eq!(state.want(target("shop/cart"), now), []);
    let cart = view("shop/cart", &[("a", 1)]);
    assert_eq!(state.apply(snapshot(7, &cart), now).unwrap(), []);
    assert_eq!(present(&state, "shop/cart"), Some(cart));
    let shown = state.snapshot();
    assert_eq!(shown.revision, 7);
    assert_eq!(shown.binding("198.18.0.1".parse().unwrap()), Some(&Binding::Service(name("shop/cart"))));
    state.apply(gone(8, "shop/cart"), now).unwrap();
    assert!(state.snapshot().is_absent(&name("shop/cart")));
}

#[test]
fn bindings_and_routes_lead_to_further_subscriptions() {
    let (mut state, now) = (State::default(), Instant::now());
    state.want(target("198.18.0.1"), now);
    let bound = binding(1, "198.18.0.1", &Binding::Service(name("shop/cart")));
    assert_eq!(state.apply(bound, now).unwrap(), [wish("shop/cart")]);
    let routed = state.apply(snapshot(2, &routed_to("shop/cart", "shop/cart-v2")), now).unwrap();
    assert_eq!(routed, [wish("shop/cart-v2")]);
    assert_eq!(subscribed(&mut state).len(), 3);
}

#[test]
fn what_nobody_uses_ends_and_backends_of_what_is_used_stay() {
    let (mut state, now) = (State::default(), Instant::now());
    for wanted in ["shop/cart", "shop/old", "10.0.0.9"] {
        state.want(target(wanted), now);
    }
    state.apply(snapshot(1, &routed_to("shop/cart", "shop/cart-v2")), now).unwrap();
    state.apply(snapshot(1, &view("shop/old", &[])), now).unwrap();
    state.apply(binding(1, "10.0.0.9", &Binding::Unknown), now).unwrap();
    let later = now + UNUSED_LIMIT;
    state.snapshot().service(&name("shop/cart")).unwrap();
    let mut ended = state.sweep(later);
    ended.sort_by_key(|wish| format!("{wish:?}"));
    assert_eq!(ended, [Wish::Unsubscribe(target("10.0.0.9")), Wish::Unsubscribe(target("shop/old"))]);
    assert_eq!(state.sweep(later), []);
    assert!(subscribed(&mut state).contains(&wish("shop/cart-v2")));
    state.apply(snapshot(2, &view("shop/old", &[])), later).unwrap();
    assert_eq!(present(&state, "shop/old"), None, "an answer that comes too late is not wanted");
}

#[test]
fn questions_without_an_answer_are_bounded_and_the_oldest_go_first() {
    let (mut state, now) = (State::default(), Instant::now());
    let address = |n: usize| Target::Address(std::net::Ipv4Addr::from_bits(u32::try_from(n).unwrap()).into());
    state.want(target("shop/cart"), now);
    state.apply(snapshot(1, &view("shop/cart", &[])), now).unwrap();
    for n in 0..MAX_UNANSWERED {
        assert_eq!(state.want(address(n), now + Duration::from_secs(n as u64)).len(), 1);
    }
    let wishes = state.want(target("shop/more"), now + Duration::from_secs(1_000_000));
    assert_eq!(wishes.len(), 1 + EVICTED);
    let left = subscribed(&mut state);
    assert!(!left.contains(&Wish::Subscribe(address(0))) && !left.contains(&Wish::Subscribe(address(EVICTED - 1))));
    for kept in [address(EVICTED), address(MAX_UNANSWERED - 1), target("shop/cart"), target("shop/more")] {
        assert!(left.contains(&Wish::Subscribe(kept)));
    }
}

#[test]
fn refused_messages_leave_what_was_known_and_lost_deltas_are_made_good() {
    let (mut state, now) = (State::default(), Instant::now());
    state.want(target("shop/cart"), now);
    let cart = view("shop/cart", &[("a", 1)]);
    state.apply(snapshot(1, &cart), now).unwrap();
    let mut bad: v1::ServiceView = (&cart).into();
    bad.endpoints[0].addresses.clear();
    let service = "shop/cart".to_owned();
    let upserted = bad.endpoints.clone();
    let bad_delta = message(3, Body::Delta(v1::ServiceDelta { service, upserted, ..v1::ServiceDelta::default() }));
    let (error, wishes) = state.apply(bad_delta.clone(), now).unwrap_err();
    assert_eq!(error.field, "upserted[0].addresses");
    assert_eq!(wishes, [Wish::Unsubscribe(target("shop/cart")), wish("shop/cart")]);
    assert_eq!(state.apply(bad_delta.clone(), now).unwrap(), [], "the snapshot is on its way");

    let bad_snapshot = message(4, Body::Snapshot(v1::ServiceSnapshot { view: Some(bad) }));
    let (error, wishes) = state.apply(bad_snapshot, now).unwrap_err();
    assert!(error.field.contains("endpoints[0].addresses") && wishes.is_empty(), "{error}");
    assert_eq!(state.apply(bad_delta, now).unwrap_err().1.len(), 2, "asked for again, for something has changed");
    assert_eq!(present(&state, "shop/cart"), Some(cart));
    let more = view("shop/cart", &[("a", 1), ("b", 1)]);
    state.apply(snapshot(5, &more), now).unwrap();
    state.apply(delta(6, &more, &view("shop/cart", &[("b", 1)])), now).unwrap();
    assert_eq!(present(&state, "shop/cart"), Some(view("shop/cart", &[("b", 1)])));
}

#[test]
fn tables_are_compiled_again_only_when_routes_change() {
    let (mut state, now) = (State::default(), Instant::now());
    state.want(target("shop/cart"), now);
    let before = routed_to("shop/cart", "shop/cart-v2");
    state.apply(snapshot(1, &before), now).unwrap();
    let mut after = before.clone();
    after.endpoints.insert("a".to_owned(), endpoint("shop/cart", "a", 1));
    let table = |state: &State| state.snapshot().services[&name("shop/cart")].table.clone();
    let first = table(&state);
    state.apply(delta(2, &before, &after), now).unwrap();
    assert!(Arc::ptr_eq(&first, &table(&state)));
    let moved = ServiceView { routes: routed_to("shop/cart", "shop/cart-v3").routes, ..after.clone() };
    assert_eq!(state.apply(delta(3, &after, &moved), now).unwrap(), [wish("shop/cart-v3")]);
    assert!(!Arc::ptr_eq(&first, &table(&state)));
}

#[test]
fn what_was_kept_is_known_at_once_and_subscribed_to_again() {
    let (mut before, now) = (State::default(), Instant::now());
    before.want(target("shop/cart"), now);
    before.want(target("10.0.0.97"), now);
    before.apply(snapshot(3, &view("shop/cart", &[("a", 1)])), now).unwrap();
    let mut state = State::default();
    state.restore(before.snapshot(), now);
    assert_eq!(present(&state, "shop/cart"), Some(view("shop/cart", &[("a", 1)])));
    assert_eq!(state.revision(), 3);
    assert!(subscribed(&mut state).contains(&wish("shop/cart")));
    assert_eq!(present(&state, "shop/cart"), Some(view("shop/cart", &[("a", 1)])), "kept until the answer is there");
    state.apply(gone(2, "shop/cart"), now).unwrap();
    assert_eq!(
        (present(&state, "shop/cart"), state.revision()),
        (None, 2),
        "the stream's revision, lower as it may be"
    );
}

/// What discovery may come to hold: for each revision a view, or nothing.
type World = (Option<(BTreeMap<String, u32>, bool)>, bool);

fn worlds() -> impl Strategy<Value = Vec<World>> {
    let endpoints = proptest::collection::btree_map("[a-d]", 0u32..3, 0..4);
    let world = proptest::option::weighted(0.8, (endpoints, any::<bool>()));
    proptest::collection::vec((world, any::<bool>()), 1..20)
}

proptest! {
    /// Whatever happens in whatever order, the proxy ends up with what discovery has, also across new streams.
    #[test]
    fn the_last_world_is_the_one_in_force(worlds in worlds()) {
        let (mut state, time) = (State::default(), Instant::now());
        state.want(target("shop/cart"), time);
        let mut told: Option<ServiceView> = None;
        for (revision, (world, reconnect)) in (1u64..).zip(worlds) {
            let now = world.map(|(endpoints, routed)| {
                let listed: Vec<(&str, u32)> = endpoints.iter().map(|(id, w)| (id.as_str(), *w)).collect();
                let routes = if routed { routed_to("shop/cart", "shop/b").routes } else { vec![] };
                ServiceView { routes, ..view("shop/cart", &listed) }
            });
            if reconnect {
                let before = present(&state, "shop/cart");
                prop_assert!(state.begin(true).contains(&wish("shop/cart")));
                prop_assert_eq!(present(&state, "shop/cart"), before);
                told = None;
            }
            let message = match (&told, &now) {
                (_, None) => gone(revision, "shop/cart"),
                (None, Some(now)) => snapshot(revision, now),
                (Some(before), Some(now)) => delta(revision, before, now),
            };
            state.apply(message, time).unwrap();
            prop_assert_eq!(present(&state, "shop/cart"), now.clone());
            prop_assert_eq!(state.revision(), revision);
            told = now;
        }
    }

    /// Messages from a server that has lost its mind neither panic nor change what was known.
    #[test]
    fn nonsense_changes_nothing(service in ".{0,12}", address in ".{0,12}", id in ".{0,4}", weight: u32, state_number: i32) {
        let (mut state, now) = (State::default(), Instant::now());
        state.want(target("shop/cart"), now);
        let cart = view("shop/cart", &[("a", 1)]);
        state.apply(snapshot(1, &cart), now).unwrap();
        let strange = v1::Endpoint {
            id, weight, state: state_number, service: service.clone(), addresses: vec![address.clone()],
            ..v1::Endpoint::default()
        };
        let wire = v1::Service { name: service.clone(), ..v1::Service::default() };
        let wire = v1::ServiceView { service: Some(wire), endpoints: vec![strange.clone()], ..v1::ServiceView::default() };
        let bodies = [
            Body::Snapshot(v1::ServiceSnapshot { view: Some(wire) }),
            Body::Snapshot(v1::ServiceSnapshot { view: None }),
            Body::Delta(v1::ServiceDelta { service: "shop/cart".to_owned(), upserted: vec![strange], ..Default::default() }),
            Body::Gone(v1::ServiceGone { service }),
            Body::Binding(v1::AddressBinding { address, to: None }),
        ];
        for body in bodies {
            let _ = state.apply(message(2, body), now);
            prop_assert_eq!(present(&state, "shop/cart"), Some(cart.clone()));
        }
    }
}
