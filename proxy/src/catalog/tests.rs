//! Views for the tests of everything that reads the catalog, and how its handle behaves for those who ask.
//!
//! [`view`] and its parts are used by the tests of the catalog's other files, too.

use super::*;
use std::collections::BTreeMap;
use weft_model::{Endpoint, EndpointState, Hints, Port, Protocol, Service, ServicePort, ServiceView, TrafficPolicy};

pub(super) fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}

pub(super) fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

pub(super) fn endpoint(service: &str, id: &str, weight: u32) -> Endpoint {
    Endpoint {
        id: id.to_owned(),
        service: name(service),
        addresses: vec![format!("10.0.0.{}", id.as_bytes()[0]).parse().unwrap()],
        ports: BTreeMap::new(),
        weight,
        zone: None,
        node: None,
        hints: Hints::default(),
        hostname: None,
        priority: 0,
        location: None,
        identity: None,
        state: EndpointState::Ready,
    }
}

/// A service with the virtual address 198.18.0.1 and one port.
pub(super) fn view(service: &str, endpoints: &[(&str, u32)]) -> ServiceView {
    let ports = vec![ServicePort {
        name: "http".to_owned(),
        port: port(80),
        target_port: port(8080),
        protocol: Protocol::Http,
    }];
    let virtual_addresses = vec!["198.18.0.1".parse().unwrap()];
    ServiceView {
        service: Service { name: name(service), virtual_addresses, ports, node_local: false },
        routes: vec![],
        policy: TrafficPolicy::default(),
        endpoints: endpoints.iter().map(|(id, w)| ((*id).to_owned(), endpoint(service, id, *w))).collect(),
    }
}

pub(super) fn known(service: &str, endpoints: &[&str], revision: u64) -> Known {
    let endpoints: Vec<(&str, u32)> = endpoints.iter().map(|id| (*id, 1)).collect();
    Known::new(view(service, &endpoints), revision)
}

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn what_is_known_is_answered_at_once() {
    let (catalog, feed) = channel(PATIENCE);
    feed.publish(Snapshot::of([known("shop/cart", &["a"], 3)]));
    let begun = tokio::time::Instant::now();
    assert_eq!(catalog.bind("198.18.0.1".parse().unwrap()).await, Some(Binding::Service(name("shop/cart"))));
    assert_eq!(catalog.service(&name("shop/cart")).await.unwrap().revision, 3);
    assert_eq!((catalog.revision(), begun.elapsed()), (3, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn what_is_unknown_is_asked_and_waited_for() {
    let (catalog, mut feed) = channel(PATIENCE);
    feed.connected(true);
    let waiting = tokio::spawn({
        let catalog = catalog.clone();
        async move { catalog.lookup(&name("shop/cart")).await }
    });
    assert_eq!(feed.question().await, Target::Service(name("shop/cart")));
    feed.publish(Snapshot::of([known("shop/other", &[], 1)]));
    feed.publish(Snapshot::of([known("shop/cart", &[], 2)]));
    assert!(matches!(waiting.await.unwrap(), Answer::Known(_)));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_without_an_answer_and_known_endpoints_are_found_all_the_same() {
    let (catalog, feed) = channel(PATIENCE);
    feed.connected(true);
    feed.publish(Snapshot::of([known("shop/cart", &["a"], 2)]));
    assert!(catalog.connected());
    let begun = tokio::time::Instant::now();
    assert!(catalog.bind("10.9.9.9".parse().unwrap()).await.is_none());
    assert_eq!(begun.elapsed(), PATIENCE);
    let endpoint = Binding::Endpoint { service: name("shop/cart"), id: "a".to_owned() };
    assert_eq!(catalog.bind("10.0.0.97".parse().unwrap()).await, Some(endpoint));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_discovery_that_has_been_away_for_long() {
    let (catalog, mut feed) = channel(Duration::from_millis(1));
    feed.connected(true);
    feed.connected(false);
    let away = Instant::now();
    while away.elapsed() <= Duration::from_millis(2) {
        std::thread::yield_now();
    }
    let begun = tokio::time::Instant::now();
    assert!(matches!(catalog.lookup(&name("shop/cart")).await, Answer::Unanswered));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(feed.question().await, Target::Service(name("shop/cart")), "it is asked for when discovery is back");
}

#[test]
fn runtimes_may_differ() {
    let (catalog, mut feed) = channel(PATIENCE);
    feed.connected(true);
    let worker = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { catalog.service(&name("shop/cart")).await.map(|known| known.revision) })
    });
    let control = tokio::runtime::Builder::new_current_thread().build().unwrap();
    control.block_on(async {
        feed.question().await;
        feed.publish(Snapshot::of([known("shop/cart", &[], 9)]));
    });
    assert_eq!(worker.join().unwrap(), Some(9));
}
