//! Conditions of routes in worlds that lack something, and in the same worlds when it has come.
//! Pure: worlds are made here, no store and no clock.

use super::*;
use crate::registry::world::Versioned;
use std::collections::BTreeMap;
use std::sync::Arc;
use weft_model::route::{Backend, Grant, Rule};
use weft_model::{Service, ServicePort, ServiceView, TrafficPolicy};

fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}

fn port(number: u16) -> Port {
    number.try_into().unwrap()
}

/// A world with these services, each with port 80.
fn world(services: &[&str]) -> World {
    let mut world = World::default();
    for service in services {
        let ports = vec![ServicePort {
            name: String::new(),
            port: port(80),
            target_port: port(8080),
            protocol: weft_model::Protocol::Http,
        }];
        let service = Service { name: name(service), virtual_addresses: Vec::new(), ports, node_local: false };
        let (policy, endpoints) = (TrafficPolicy::default(), BTreeMap::new());
        let view = ServiceView { service, routes: Vec::new(), policy, endpoints };
        world.services.insert_mut(view.service.name.clone(), Arc::new(Versioned { view, revision: 1 }));
    }
    world
}

/// A route of the namespace shop for shop/cart that leads to `backend`.
fn route(backend: &str, to: u16) -> AttachedRoute {
    let backends = vec![Backend::new(name(backend), port(to), 1)];
    let rules = vec![Rule { backends, ..Rule::default() }];
    let route = Route { namespace: "shop".to_owned(), name: "r".to_owned(), rules, ..Route::default() };
    AttachedRoute { parents: vec![Parent { service: name("shop/cart"), port: None }], route }
}

fn reasons(attached: &AttachedRoute, world: &World) -> [&'static str; 2] {
    of(attached, &attached.parents[0], world).map(|condition| {
        assert_eq!(condition.holds, condition.reason == condition.kind);
        condition.reason
    })
}

#[test]
fn what_is_missing_is_named_and_turns_when_it_comes() {
    let direct = route("shop/next", 80);
    assert_eq!(reasons(&direct, &world(&[])), ["NoMatchingParent", "BackendNotFound"]);
    assert_eq!(reasons(&direct, &world(&["shop/cart"])), ["Accepted", "BackendNotFound"]);
    assert_eq!(reasons(&direct, &world(&["shop/cart", "shop/next"])), ["Accepted", "ResolvedRefs"]);
    assert_eq!(reasons(&route("shop/cart", 81), &world(&["shop/cart"])), ["Accepted", "BackendNotFound"]);
    let mut ported = direct;
    ported.parents[0].port = Some(port(81));
    assert_eq!(reasons(&ported, &world(&["shop/cart", "shop/next"])), ["NoMatchingParent", "ResolvedRefs"]);
}

#[test]
fn another_namespace_has_to_grant_it() {
    let mut world = world(&["shop/cart", "far/store"]);
    let abroad = route("far/store", 80);
    assert_eq!(reasons(&abroad, &world), ["Accepted", "RefNotPermitted"]);
    let [_, resolved] = of(&abroad, &abroad.parents[0], &world);
    assert_eq!(
        resolved.message,
        "spec.rules[0].backendRefs[0]: no ReferenceGrant in namespace far allows Service store.far"
    );
    let from = vec![(RouteKind::Http, "shop".to_owned())];
    world.grants = [Grant { namespace: "far".to_owned(), from, to: vec![None] }].into();
    assert_eq!(reasons(&abroad, &world), ["Accepted", "ResolvedRefs"]);
    // The parent's own namespace needs no grant: its clients could go there without the route.
    assert_eq!(reasons(&route("shop/cart", 80), &world), ["Accepted", "ResolvedRefs"]);
}

#[test]
fn a_grpcroute_overrules_httproutes_of_its_port() {
    let mut world = world(&["shop/cart"]);
    let mut known = (**world.service(&name("shop/cart")).unwrap()).clone();
    let rpc = Route { kind: RouteKind::Grpc, port: Some(port(80)), ..route("shop/cart", 80).route };
    known.view.routes = vec![rpc.clone()];
    world.services.insert_mut(name("shop/cart"), Arc::new(known));
    let mut http = route("shop/cart", 80);
    assert_eq!(reasons(&http, &world)[0], "Accepted", "it has the other ports");
    http.parents[0].port = Some(port(80));
    assert_eq!(reasons(&http, &world)[0], "Conflicted");
    assert_eq!(reasons(&AttachedRoute { route: rpc, ..http }, &world)[0], "Accepted");
}

#[test]
fn the_status_is_as_the_gateway_api_writes_it() {
    let status = status(&route("shop/next", 80), &BTreeSet::new(), Some(7), &world(&["shop/cart"]));
    let parent = &status["parents"][0];
    assert_eq!(parent["controllerName"], CONTROLLER);
    assert_eq!(parent["parentRef"], json!({"group": "", "kind": "Service", "namespace": "shop", "name": "cart"}));
    assert_eq!(
        parent["conditions"][1],
        json!({"type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound", "observedGeneration": 7,
            "message": "spec.rules[0].backendRefs[0]: Service next.shop does not exist"})
    );
}

#[test]
fn what_is_no_service_is_an_invalid_kind() {
    let mut odd = route("shop/next", 80);
    odd.route.rules[0].backends[0].refused = true;
    assert_eq!(reasons(&odd, &world(&["shop/cart", "shop/next"])), ["Accepted", "InvalidKind"]);
    let said = status(&odd, &BTreeSet::from([0, 2]), None, &world(&["shop/cart"]));
    let message = said["parents"][0]["conditions"][1]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("spec.rules[1].backendRefs[0]: is no Service"), "{message}");
}
