//! What the registry makes of the store's events, whatever their order, and what the brake keeps.
//!
//! Operations go to a store in memory; the events it gives, or a fresh reading of it, go to the registry's books.

#[path = "state_property.rs"]
mod property;

use super::*;
use crate::record::{Record, Source, withdraw};
use crate::store::Op;
use weft_model::route::{Backend, Parent, Rule};
use weft_model::{EndpointState, Hints, Route, ServicePort, TrafficPolicy};

/// The store, as far as the registry sees it.
#[derive(Default)]
struct Store {
    entries: BTreeMap<String, Entry>,
    revision: Revision,
}

impl Store {
    fn commit(&mut self, ops: Vec<Op>) -> Batch {
        self.revision += 1;
        let events = ops.into_iter().filter_map(|op| self.carry_out(op)).collect();
        Batch { revision: self.revision, events }
    }

    fn carry_out(&mut self, op: Op) -> Option<Event> {
        match op {
            Op::Put { key, value, lease } => {
                let created = self.entries.get(&key).map_or(self.revision, |entry| entry.created);
                let entry = Entry { key: key.clone(), value, created, modified: self.revision, lease };
                self.entries.insert(key, entry.clone());
                Some(Event::Put(entry))
            }
            Op::Delete { key } => self.entries.remove(&key).map(|_| Event::Delete { key }),
            Op::DeletePrefix { .. } => unreachable!("no test asks for it"),
        }
    }

    fn range(&self) -> Range {
        Range { entries: self.entries.values().cloned().collect(), revision: self.revision }
    }
}

fn name(text: &str) -> ServiceName {
    ServiceName::new("shop", text).unwrap()
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn put<M: serde::Serialize>(key: Key, model: M) -> Op {
    Op::put(key.to_string(), Record { model, document: None, source: Source::Apply }.encode())
}

fn service(service: &str, virtual_addresses: &[&str]) -> Op {
    let port = 80.try_into().unwrap();
    let ports = vec![ServicePort { name: String::new(), port, target_port: port, protocol: Default::default() }];
    let model =
        Service { name: name(service), virtual_addresses: addresses(virtual_addresses), ports, node_local: false };
    put(Key::Service(name(service)), model)
}

fn endpoint(service: &str, id: &str, at: &str) -> Op {
    let (addresses, ports, state) = (addresses(&[at]), BTreeMap::new(), EndpointState::Ready);
    let (id, service, weight) = (id.to_owned(), name(service), 1);
    let (hostname, zone, node, identity, location) = (None, None, None, None, None);
    let model = Endpoint {
        id,
        service,
        hostname,
        addresses,
        ports,
        weight,
        zone,
        node,
        hints: Hints::default(),
        priority: 0,
        location,
        identity,
        state,
    };
    put(Key::endpoint(&model), model)
}

fn lose(service: &str, id: &str) -> Op {
    Op::delete(Key::Endpoint { service: name(service), id: id.to_owned() }.to_string())
}

fn whole(service: ServiceName) -> Parent {
    Parent { service, port: None }
}

fn route(route: &str, parents: &[&str]) -> Op {
    let (namespace, name_) = ("shop".to_owned(), route.to_owned());
    let key = Key::Route { kind: RouteKind::Http, namespace: namespace.clone(), name: name_.clone() };
    let route = Route { namespace, name: name_, ..Route::default() };
    put(key, AttachedRoute { parents: parents.iter().map(|parent| whole(name(parent))).collect(), route })
}

/// A route of the namespace `web` that is attached to `parent` and leads to `backend`, both of the namespace shop.
fn consumer(parent: &str, backend: &str) -> Op {
    let backends = vec![Backend::new(name(backend), 80.try_into().unwrap(), 1)];
    let rules = vec![Rule { backends, ..Rule::default() }];
    let route = Route { namespace: "web".to_owned(), name: "r".to_owned(), rules, ..Route::default() };
    let key = Key::Route { kind: RouteKind::Http, namespace: "web".to_owned(), name: "r".to_owned() };
    put(key, AttachedRoute { parents: vec![whole(name(parent))], route })
}

fn policy(document: &str, targets: &[&str], attempts: u32) -> Op {
    let mut policy = TrafficPolicy::default();
    policy.retry.attempts = attempts;
    let key = Key::Policy { namespace: "shop".to_owned(), name: document.to_owned() };
    put(key, AttachedPolicy { targets: targets.iter().map(|target| name(target)).collect(), policy })
}

fn spoil(op: Op) -> Op {
    let Op::Put { key, .. } = op else { unreachable!("only values can be spoiled") };
    Op::put(key, "{")
}

/// A registry's books and the store behind them.
struct Books {
    store: Store,
    state: State,
    world: World,
    now: Instant,
}

impl Books {
    fn new() -> Self {
        let state = State::new(BrakeSettings::default());
        Self { store: Store::default(), state, world: World::default(), now: Instant::now() }
    }

    fn commit(&mut self, ops: Vec<Op>) -> BTreeSet<Target> {
        let batch = self.store.commit(ops);
        self.state.apply(&batch, self.now);
        self.publish()
    }

    /// What is committed while the watch is broken is seen only by reading again.
    fn resync_after(&mut self, ops: Vec<Op>) -> BTreeSet<Target> {
        self.store.commit(ops);
        self.state.resync(&self.store.range(), self.now);
        self.publish()
    }

    fn publish(&mut self) -> BTreeSet<Target> {
        let (world, changed) = self.state.publish();
        self.world = world;
        changed
    }

    fn view(&self, service: &str) -> Option<&ServiceView> {
        self.world.service(&name(service)).map(|versioned| &versioned.view)
    }

    fn ids(&self, service: &str) -> Vec<&str> {
        self.view(service).unwrap().endpoints.keys().map(String::as_str).collect()
    }

    fn bound(&self, address: &str) -> String {
        match self.world.binding(address.parse().unwrap()) {
            Binding::Service(service) => service.to_string(),
            Binding::Endpoint { service, id } => format!("{id} of {service}"),
            Binding::Unknown => "unknown".to_owned(),
        }
    }
}

/// A service with endpoints `0` to `3`.
fn four() -> Books {
    let mut books = Books::new();
    let endpoints = (0..4).map(|n| endpoint("cart", &n.to_string(), &format!("10.0.0.{n}")));
    books.commit(endpoints.chain([service("cart", &["198.18.0.1"])]).collect());
    assert_eq!(books.ids("cart"), ["0", "1", "2", "3"]);
    books
}

#[test]
fn a_view_is_made_of_all_its_parts_whatever_the_order_they_arrive_in() {
    let parts = [
        service("cart", &["198.18.0.1"]),
        route("canary", &["cart", "search"]),
        policy("cart", &["cart"], 7),
        endpoint("cart", "cart-0", "10.0.0.1"),
    ];
    for first in 0..parts.len() {
        let mut books = Books::new();
        for n in 0..parts.len() {
            books.commit(vec![parts[(first + n) % parts.len()].clone()]);
        }
        let view = books.view("cart").unwrap();
        assert_eq!(view.service.virtual_addresses, addresses(&["198.18.0.1"]));
        assert_eq!((view.routes[0].name.as_str(), view.policy.retry.attempts), ("canary", 7));
        assert_eq!(books.ids("cart"), ["cart-0"]);
        assert_eq!(books.view("search"), None, "a route does not make a service");
        let counts = books.world.counts();
        assert_eq!((counts.services, counts.routes, counts.policies, counts.endpoints), (1, 1, 1, 1));
    }
}

#[test]
fn the_oldest_policy_wins_and_routes_stand_oldest_first() {
    let mut books = Books::new();
    books.commit(vec![service("cart", &[]), policy("z", &["cart"], 1), route("z", &["cart"])]);
    books.commit(vec![policy("a", &["cart"], 2), route("a", &["cart"])]);
    books.commit(vec![policy("z", &["cart"], 3)]);
    let routes = |books: &Books| books.view("cart").unwrap().routes.iter().map(|r| r.name.clone()).collect::<Vec<_>>();
    assert_eq!(books.view("cart").unwrap().policy.retry.attempts, 3, "a change does not make it younger");
    assert_eq!(routes(&books), ["z", "a"]);
    books.commit(vec![policy("z", &["search"], 3), Op::delete("routes/shop/z")]);
    assert_eq!(books.view("cart").unwrap().policy.retry.attempts, 2);
    assert_eq!(routes(&books), ["a"]);
    books.commit(vec![Op::delete("policies/shop/a")]);
    assert_eq!(books.view("cart").unwrap().policy, TrafficPolicy::default());
}

#[test]
fn a_route_is_in_a_view_once_for_each_port_it_names() {
    let mut books = Books::new();
    let key = Key::Route { kind: RouteKind::Http, namespace: "shop".to_owned(), name: "r".to_owned() };
    let on = |service: &str, port: u16| Parent { service: name(service), port: Some(port.try_into().unwrap()) };
    let parents = vec![on("cart", 80), on("cart", 81), on("search", 82)];
    let route = Route { namespace: "shop".to_owned(), name: "r".to_owned(), ..Route::default() };
    let put = put(key.clone(), AttachedRoute { parents, route });
    books.commit(vec![service("cart", &[]), service("search", &[]), put]);
    let ports = |books: &Books, service: &str| -> Vec<u16> {
        books.view(service).unwrap().routes.iter().filter_map(|route| Some(route.port?.get())).collect()
    };
    assert_eq!((ports(&books, "cart"), ports(&books, "search")), (vec![80, 81], vec![82]));
    books.commit(vec![Op::delete(key.to_string())]);
    assert!(ports(&books, "cart").is_empty() && ports(&books, "search").is_empty());
}

#[test]
fn a_reference_to_another_namespace_is_refused_until_it_is_granted() {
    let mut books = Books::new();
    let refused = |books: &Books, service: &str| books.view(service).unwrap().routes[0].rules[0].backends[0].refused;
    books.commit(vec![service("cart", &[]), consumer("cart", "search")]);
    assert!(!refused(&books, "cart"), "the namespace of the service itself");
    let parents = [ServiceName::new("bank", "pay").unwrap()];
    let Op::Put { key, value, .. } = consumer("cart", "search") else { unreachable!("it is a put") };
    let mut record: Record<AttachedRoute> = serde_json::from_slice(&value).unwrap();
    record.model.parents = vec![whole(parents[0].clone())];
    let pay = Service { name: parents[0].clone(), virtual_addresses: vec![], ports: pay_ports(), node_local: false };
    books.commit(vec![put(Key::Service(parents[0].clone()), pay), Op::put(key, record.encode())]);
    let refused = |books: &Books| books.world.service(&parents[0]).unwrap().view.routes[0].rules[0].backends[0].refused;
    assert!(refused(&books));
    let key = Key::Grant { namespace: "shop".to_owned(), name: "web".to_owned() };
    let from = vec![(RouteKind::Http, "web".to_owned())];
    let grant = Grant { namespace: "shop".to_owned(), from, to: vec![Some("search".to_owned())] };
    let changed = books.commit(vec![put(key.clone(), grant)]);
    assert!(!refused(&books) && changed == BTreeSet::from([Target::Service(parents[0].clone())]));
    books.resync_after(vec![Op::delete(key.to_string())]);
    assert!(refused(&books));
}

fn pay_ports() -> Vec<ServicePort> {
    let port = 80.try_into().unwrap();
    vec![ServicePort { name: String::new(), port, target_port: port, protocol: Default::default() }]
}

#[test]
fn an_unreadable_value_leaves_the_last_good_one_in_force_and_is_counted_once() {
    let mut books = Books::new();
    books.commit(vec![service("cart", &[]), policy("cart", &["cart"], 7)]);
    assert!(books.commit(vec![spoil(policy("cart", &[], 0))]).is_empty(), "nothing changed");
    books.resync_after(vec![]);
    books.resync_after(vec![Op::put("services/shop", "a key without a name")]);
    assert_eq!(books.view("cart").unwrap().policy.retry.attempts, 7);
    assert_eq!((books.state.unreadable().len(), books.state.tally.skipped), (2, 2));
    books.commit(vec![spoil(policy("cart", &[], 0)), Op::delete("services/shop")]);
    assert_eq!((books.state.unreadable().len(), books.state.tally.skipped), (1, 3), "another bad value counts anew");
    books.commit(vec![policy("cart", &["cart"], 8)]);
    assert_eq!((books.state.unreadable().len(), books.view("cart").unwrap().policy.retry.attempts), (0, 8));
    books.commit(vec![Op::put("addresses/198.18.0.1", "somebody else's")]);
    assert_eq!(books.state.unreadable().len(), 0);
}

#[test]
fn reading_again_deletes_what_is_missing() {
    let mut books = Books::new();
    let all = vec![service("cart", &[]), service("search", &["198.18.0.2"]), route("r", &["cart"])];
    books.commit(all.into_iter().chain([policy("p", &["cart"], 7), endpoint("cart", "0", "10.0.0.1")]).collect());
    let keys = ["services/shop/search", "routes/shop/r", "policies/shop/p", "endpoints/shop/cart/0"];
    let changed = books.resync_after(keys.map(Op::delete).to_vec());
    let view = books.view("cart").unwrap();
    assert_eq!((view.routes.len(), &view.policy, view.endpoints.len()), (0, &TrafficPolicy::default(), 0));
    assert_eq!(books.view("search"), None);
    let gone = addresses(&["10.0.0.1", "198.18.0.2"]).into_iter().map(Target::Address);
    let gone = gone.chain([Target::Workload { namespace: "shop".to_owned(), name: "0".to_owned() }]);
    assert_eq!(changed, ["cart", "search"].map(|s| Target::Service(name(s))).into_iter().chain(gone).collect());
}

#[test]
fn an_address_stands_for_the_first_of_those_who_claim_it() {
    let mut books = Books::new();
    books.commit(vec![service("cart", &[]), endpoint("cart", "b", "10.0.0.1"), endpoint("cart", "a", "10.0.0.1")]);
    assert_eq!(books.bound("10.0.0.1"), "a of cart.shop");
    books.commit(vec![service("web", &["10.0.0.1"])]);
    books.commit(vec![service("search", &["10.0.0.1"])]);
    assert_eq!(books.bound("10.0.0.1"), "search.shop", "a virtual address before an endpoint's, then by name");
    assert!(!books.commit(vec![service("web", &[])]).contains(&Target::Address("10.0.0.1".parse().unwrap())));
    books.commit(vec![Op::delete("services/shop/search"), endpoint("cart", "a", "10.0.0.2")]);
    assert_eq!(
        (books.bound("10.0.0.1").as_str(), books.bound("10.0.0.2").as_str()),
        ("b of cart.shop", "a of cart.shop")
    );
    let changed = books.commit(vec![lose("cart", "b")]);
    assert_eq!(books.bound("10.0.0.1"), "unknown", "a released address is nobody's");
    assert!(changed.contains(&Target::Address("10.0.0.1".parse().unwrap())));
}

#[test]
fn withdrawn_endpoints_vanish_at_once_even_when_many() {
    let ids = || (0..4).map(|n| n.to_string());
    let mut books = four();
    books.commit(withdraw(&name("cart"), ids()));
    assert_eq!((books.ids("cart"), books.state.tally.brakes), (vec![], 0));
    let mut books = four();
    books.resync_after(withdraw(&name("cart"), ids()));
    assert_eq!((books.ids("cart"), books.state.tally.brakes), (vec![], 0), "also when the watch was broken meanwhile");
}

#[test]
fn the_brake_keeps_lost_endpoints_until_they_are_back_withdrawn_or_the_grace_time_is_over() {
    let mut books = four();
    books.commit((0..4).map(|n| lose("cart", &n.to_string())).collect());
    assert_eq!((books.ids("cart"), books.state.tally.brakes), (vec!["0", "1", "2", "3"], 1));
    assert_eq!(books.bound("10.0.0.3"), "3 of cart.shop");
    books.commit(vec![endpoint("cart", "0", "10.0.1.0")]);
    assert_eq!((books.bound("10.0.0.0").as_str(), books.bound("10.0.1.0").as_str()), ("unknown", "0 of cart.shop"));
    books.commit(withdraw(&name("cart"), ["1".to_owned()]));
    assert_eq!(books.ids("cart"), ["0", "2", "3"]);
    books.now += BrakeSettings::default().grace;
    books.state.pass(books.now);
    assert!(books.publish().contains(&Target::Service(name("cart"))));
    assert_eq!(books.ids("cart"), ["0"]);
}

#[test]
fn the_brake_heeds_no_withdrawal_from_before_the_loss() {
    let mut books = four();
    books.commit(withdraw(&name("cart"), ["0".to_owned()]));
    books.commit(vec![endpoint("cart", "0", "10.0.0.0")]);
    books.resync_after((0..4).map(|n| lose("cart", &n.to_string())).collect());
    assert_eq!(books.ids("cart"), ["0", "1", "2", "3"]);
    books.resync_after(vec![]);
    assert_eq!(books.ids("cart"), ["0", "1", "2", "3"]);
}
