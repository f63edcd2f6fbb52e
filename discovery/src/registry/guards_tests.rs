//! Which policies select which workload, through the registry's books, and who hears of a change.
//! Records go in as the store has them; nothing is read from a store.

use super::super::brake::BrakeSettings;
use super::super::state::State;
use super::*;
use crate::record::{AttachedPolicy, Record, Source};
use crate::store::{Batch, Entry, Event};
use std::time::Instant;
use weft_model::authorization::{Action, Mode, Mtls};
use weft_model::limits::Limits;
use weft_model::{AuthorizationPolicy, Endpoint, Service, TrafficPolicy};

/// Books that are fed one event at a time.
struct Books {
    state: State,
    revision: u64,
}

impl Books {
    fn new() -> Self {
        Self { state: State::new(BrakeSettings::default()), revision: 0 }
    }

    fn put(&mut self, key: &Key, value: impl Into<bytes::Bytes>) -> (World, BTreeSet<Target>) {
        let (key, value) = (key.to_string(), value.into());
        let entry = Entry { key, value, created: 1, modified: self.revision + 1, lease: None };
        self.take(Event::Put(entry))
    }

    fn delete(&mut self, key: &Key) -> (World, BTreeSet<Target>) {
        self.take(Event::Delete { key: key.to_string() })
    }

    fn take(&mut self, event: Event) -> (World, BTreeSet<Target>) {
        self.revision += 1;
        self.state.apply(&Batch { revision: self.revision, events: vec![event] }, Instant::now());
        self.state.publish()
    }

    fn policy(&mut self, name: &str, targets: &[&str]) -> (World, BTreeSet<Target>) {
        let targets = targets.iter().map(|target| service(target)).collect();
        let (action, mode, rules) = (Action::Allow, Mode::Enforce, Vec::new());
        let (namespace, name) = ("shop".to_owned(), name.to_owned());
        let key = Key::Authorization { namespace: namespace.clone(), name: name.clone() };
        let policy = AuthorizationPolicy { namespace, name, action, mode, rules };
        self.put(&key, encoded(AttachedAuthorization { targets, policy }))
    }

    fn endpoint(&mut self, of: &str, id: &str) -> (World, BTreeSet<Target>) {
        let port = ServicePort {
            name: String::new(),
            port: std::num::NonZeroU16::MIN,
            target_port: std::num::NonZeroU16::MIN,
            protocol: Default::default(),
        };
        let document =
            Service { name: service(of), virtual_addresses: Vec::new(), ports: vec![port], node_local: false };
        self.put(&Key::Service(service(of)), encoded(document));
        let endpoint = Endpoint {
            id: id.to_owned(),
            service: service(of),
            addresses: vec![[10, 0, 0, 1].into()],
            ports: BTreeMap::new(),
            weight: 1,
            zone: None,
            node: None,
            hints: Default::default(),
            hostname: None,
            identity: None,
            state: Default::default(),
            priority: 0,
            location: None,
        };
        self.put(&Key::endpoint(&endpoint), encoded(endpoint))
    }
}

fn encoded<M: serde::Serialize>(model: M) -> bytes::Bytes {
    Record { model, document: None, source: Source::Apply }.encode()
}

fn service(name: &str) -> ServiceName {
    ServiceName::new("shop", name).unwrap()
}

fn selected(world: &World, workload: &str, declared: &[&str]) -> Vec<String> {
    let declared = declared.iter().map(|name| service(name)).collect();
    world.policies("shop", workload, &declared).policies.into_iter().map(|policy| policy.name).collect()
}

fn guard() -> Target {
    Target::Guard("shop".to_owned())
}

#[test]
fn policies_select_by_namespace_and_by_service() {
    let mut books = Books::new();
    let (_, changed) = books.policy("all", &[]);
    assert_eq!(changed, [guard()].into());
    books.policy("for-cart", &["cart"]);
    let (world, changed) = books.endpoint("cart", "cart-0");
    assert!(changed.contains(&Target::Workload { namespace: "shop".to_owned(), name: "cart-0".to_owned() }));
    assert_eq!(selected(&world, "cart-0", &[]), ["all", "for-cart"]);
    assert_eq!(selected(&world, "search-0", &[]), ["all"]);
    assert_eq!(selected(&world, "search-0", &["cart"]), ["all", "for-cart"], "what it registers for counts, too");
    assert!(world.policies("other", "cart-0", &BTreeSet::new()).is_open());
}

#[test]
fn what_goes_away_selects_nothing() {
    let mut books = Books::new();
    books.policy("for-cart", &["cart"]);
    books.endpoint("cart", "cart-0");
    let (world, changed) = books.delete(&Key::Endpoint { service: service("cart"), id: "cart-0".to_owned() });
    assert_eq!(selected(&world, "cart-0", &[]), [""; 0]);
    assert!(changed.contains(&Target::Workload { namespace: "shop".to_owned(), name: "cart-0".to_owned() }));
    let gone = Key::Authorization { namespace: "shop".to_owned(), name: "for-cart".to_owned() };
    let (world, changed) = books.delete(&gone);
    assert_eq!((changed, selected(&world, "x", &["cart"]).len()), ([guard()].into(), 0));
}

#[test]
fn a_namespaces_own_policy_is_told_to_all_of_it() {
    let mut books = Books::new();
    let key = Key::Namespace { namespace: "shop".to_owned(), name: "default".to_owned() };
    let strict = NamespacePolicy { default_action: Action::Deny, mtls: Mtls::Strict };
    let (world, changed) = books.put(&key, encoded(strict));
    assert_eq!(changed, [guard()].into());
    assert_eq!(world.policies("shop", "any", &BTreeSet::new()).namespace, strict);
    let (world, _) = books.delete(&key);
    assert!(world.policies("shop", "any", &BTreeSet::new()).is_open());
}

#[test]
fn a_record_that_cannot_be_read_leaves_the_old_one_in_force() {
    let mut books = Books::new();
    books.policy("all", &[]);
    let key = Key::Authorization { namespace: "shop".to_owned(), name: "all".to_owned() };
    let broken = [&b"{"[..], br#"{"model":{"targets":[],"policy":{"namespace":"shop","name":"other","action":"ALLOW","mode":"enforce","rules":[]}},"source":"apply"}"#];
    for value in broken {
        let (world, changed) = books.put(&key, value.to_vec());
        assert_eq!((selected(&world, "any", &[]), changed.len()), (vec!["all".to_owned()], 0));
    }
    assert_eq!(books.state.unreadable().len(), 1);
}

#[test]
fn a_workload_is_told_what_its_services_limit_there() {
    let mut books = Books::new();
    books.endpoint("cart", "cart-0");
    let (world, _) = books.endpoint("search", "search-0");
    let told = |world: &World, workload: &str, declared: &[&str]| {
        let declared = declared.iter().map(|name| service(name)).collect();
        let limits = world.policies("shop", workload, &declared).limits;
        let told = limits.into_iter().map(|told| (told.service.name, told.ports.len(), told.limits.connections));
        told.collect::<Vec<_>>()
    };
    assert_eq!(told(&world, "cart-0", &[]), [("cart".to_owned(), 1, None)], "also without limits");
    let most = std::num::NonZeroU32::new(5);
    let limits = Limits { connections: most, ..Limits::default() };
    let policy = TrafficPolicy { limits, ..TrafficPolicy::default() };
    let key = Key::Policy { namespace: "shop".to_owned(), name: "p".to_owned() };
    let (world, changed) = books.put(&key, encoded(AttachedPolicy { targets: vec![service("cart")], policy }));
    let workload = |name: &str| Target::Workload { namespace: "shop".to_owned(), name: name.to_owned() };
    assert!(changed.contains(&workload("cart-0")) && !changed.contains(&workload("search-0")), "{changed:?}");
    assert_eq!(told(&world, "cart-0", &[]), [("cart".to_owned(), 1, most)]);
    assert_eq!(told(&world, "new-0", &["cart", "nowhere"]), [("cart".to_owned(), 1, most)], "before it registers");
    let (world, changed) = books.endpoint("cart", "cart-1");
    assert!(changed.contains(&workload("cart-1")) && !changed.contains(&workload("cart-0")), "{changed:?}");
    assert_eq!(told(&world, "cart-1", &[]), [("cart".to_owned(), 1, most)]);
}
