//! The registry over an outage of the store: what it shows meanwhile, and that afterwards it has missed nothing.
//!
//! The store is real; it is taken away from the registry alone, so that the test can write while the watch is broken.

use crate::both;
use crate::plane::Plane;
use crate::stores::Fixture;
use crate::workload::Workload;
use futures::{FutureExt, StreamExt, stream};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use weft_discovery::record::{Key, Record, Source, withdraw};
use weft_discovery::registry::{BrakeSettings, Registry};
use weft_discovery::store::{Batch, Compare, Entry, Event, LeaseId, Op, Range, Revision, Store, StoreError, Watch};
use weft_model::{Endpoint, EndpointState, Hints, Service, ServiceName, ServicePort};
use weft_proto::v1;

both! {
    an_outage_is_lived_through_and_made_up_for
    what_was_withdrawn_during_an_outage_is_gone_at_once
    the_brake_lets_go_after_the_grace_time
    proxies_keep_what_the_brake_keeps
    what_a_watch_has_lost_is_found_when_a_proxy_doubts_it
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_is_made_up_for_on_the_embedded_store() {
    compaction_is_made_up_for(crate::stores::embedded()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_is_made_up_for_on_etcd() {
    // Compaction is for all who use an etcd.
    let (fixture, _cluster) = crate::stores::etcd_alone().await;
    compaction_is_made_up_for(fixture).await;
}

/// A store that can be taken away from whoever reads it.
struct Torn {
    inner: Arc<dyn Store>,
    away: watch::Sender<bool>,
    /// Deletions of this key are kept from the first watch.
    deaf: Option<String>,
    /// Before the next watch begins, history is compacted to beyond where it is to begin.
    overtake: AtomicBool,
    watches: AtomicU32,
}

impl Torn {
    fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        let (away, overtake, watches) = (watch::Sender::new(false), AtomicBool::new(false), AtomicU32::new(0));
        Arc::new(Self { inner, away, deaf: None, overtake, watches })
    }

    fn deaf_to(inner: Arc<dyn Store>, key: &str) -> Arc<Self> {
        let (away, overtake, watches) = (watch::Sender::new(false), AtomicBool::new(false), AtomicU32::new(0));
        Arc::new(Self { inner, away, deaf: Some(key.to_owned()), overtake, watches })
    }

    fn there(&self) -> Result<(), StoreError> {
        if *self.away.borrow() { Err(torn()) } else { Ok(()) }
    }

    async fn compact_to_the_end(&self) {
        let mut last = 0;
        for n in 0..3 {
            last = self.inner.commit(vec![], vec![Op::put("elsewhere", n.to_string())]).await.unwrap().unwrap();
        }
        self.inner.compact(last).await.unwrap();
    }
}

fn torn() -> StoreError {
    StoreError::Unavailable("taken away by the test".to_owned())
}

#[async_trait::async_trait]
impl Store for Torn {
    async fn range(&self, prefix: &str) -> Result<Range, StoreError> {
        self.there()?;
        self.inner.range(prefix).await
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, StoreError> {
        self.there()?;
        let first = self.watches.fetch_add(1, Ordering::Relaxed) == 0;
        if self.overtake.swap(false, Ordering::Relaxed) {
            self.compact_to_the_end().await;
        }
        let mut away = self.away.subscribe();
        let end = async move { drop(away.wait_for(|away| *away).await) };
        let deaf = self.deaf.clone().filter(|_| first);
        let watch = self.inner.watch(prefix, from).await?.map(move |batch| {
            let heard = |event: &Event| !matches!(event, Event::Delete { key } if deaf.as_ref() == Some(key));
            batch.map(|batch| Batch { events: batch.events.into_iter().filter(heard).collect(), ..batch })
        });
        let watch = watch.take_until(end.boxed());
        Ok(watch.chain(stream::iter([Err(torn())])).boxed())
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.inner.get(key).await
    }

    async fn commit(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Option<Revision>, StoreError> {
        self.inner.commit(compares, ops).await
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        self.inner.grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<bool, StoreError> {
        self.inner.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.inner.revoke(lease).await
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.inner.compact(revision).await
    }

    fn kind(&self) -> &'static str {
        self.inner.kind()
    }
}

fn name(text: &str) -> ServiceName {
    ServiceName::new("shop", text).unwrap()
}

fn service(text: &str) -> Op {
    let port = 80.try_into().unwrap();
    let ports = vec![ServicePort { name: String::new(), port, target_port: port, protocol: Default::default() }];
    let model = Service { name: name(text), virtual_addresses: vec![], ports, node_local: false };
    Op::put(Key::Service(name(text)).to_string(), Record { model, document: None, source: Source::Apply }.encode())
}

/// Endpoints `0` to `count - 1` of `cart`.
fn endpoints(count: u8) -> Vec<Op> {
    let endpoint = |n: u8| Endpoint {
        id: n.to_string(),
        service: name("cart"),
        addresses: vec![[10, 0, 0, n].into()],
        ports: BTreeMap::new(),
        weight: 1,
        zone: None,
        node: None,
        hints: Hints::default(),
        hostname: None,
        priority: 0,
        location: None,
        identity: None,
        state: EndpointState::Ready,
    };
    let put = |model: Endpoint| {
        let key = Key::endpoint(&model).to_string();
        Op::put(key, Record { model, document: None, source: Source::Registration }.encode())
    };
    (0..count).map(endpoint).map(put).collect()
}

fn lost(ids: std::ops::Range<u8>) -> Vec<Op> {
    ids.map(|id| Op::delete(format!("endpoints/shop/cart/{id}"))).collect()
}

/// How many endpoints `cart` has.
fn shown(registry: &Registry) -> usize {
    registry.world().service(&name("cart")).map_or(0, |cart| cart.view.endpoints.len())
}

async fn done(fixture: &Fixture, ops: Vec<Op>) {
    fixture.store.commit(vec![], ops).await.unwrap();
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    crate::eventually(what, async || condition()).await;
}

async fn started(fixture: &Fixture, brake: BrakeSettings) -> (Arc<Torn>, Registry) {
    done(fixture, [vec![service("cart"), service("search")], endpoints(5)].concat()).await;
    let store = Torn::new(fixture.store.clone());
    let registry = Registry::start(store.clone(), brake);
    registry.ready().await;
    assert_eq!(shown(&registry), 5);
    (store, registry)
}

async fn an_outage_is_lived_through_and_made_up_for(fixture: Fixture) {
    let (store, registry) = started(&fixture, BrakeSettings::default()).await;
    store.away.send_replace(true);
    until("the outage is noticed", || !registry.counters().connected()).await;
    done(&fixture, vec![service("web"), Op::delete("services/shop/search"), Op::delete("endpoints/shop/cart/0")]).await;
    assert!(registry.world().service(&name("search")).is_some(), "the last world stays");
    assert_eq!(shown(&registry), 5);
    store.away.send_replace(false);
    until("the store is followed again", || registry.counters().connected()).await;
    until("what was missed is there", || registry.world().service(&name("web")).is_some()).await;
    assert!(registry.world().service(&name("search")).is_none());
    assert_eq!((shown(&registry), registry.counters().resyncs()), (4, 1));
}

async fn compaction_is_made_up_for(fixture: Fixture) {
    done(&fixture, vec![service("search")]).await;
    let store = Torn::new(fixture.store.clone());
    store.overtake.store(true, Ordering::Relaxed);
    let registry = Registry::start(store.clone(), BrakeSettings::default());
    until("a watch stands", || registry.counters().connected() && store.watches.load(Ordering::Relaxed) == 2).await;
    done(&fixture, [vec![service("cart")], endpoints(5)].concat()).await;
    until("it is a watch that brings news", || shown(&registry) == 5).await;
    store.away.send_replace(true);
    until("the outage is noticed", || !registry.counters().connected()).await;
    done(&fixture, vec![Op::delete("services/shop/search"), Op::delete("endpoints/shop/cart/0")]).await;
    store.compact_to_the_end().await;
    store.away.send_replace(false);
    until("what history does not tell any more is seen", || shown(&registry) == 4).await;
    assert!(registry.world().service(&name("search")).is_none());
}

async fn what_was_withdrawn_during_an_outage_is_gone_at_once(fixture: Fixture) {
    let (store, registry) = started(&fixture, BrakeSettings::default()).await;
    store.away.send_replace(true);
    until("the outage is noticed", || !registry.counters().connected()).await;
    done(&fixture, withdraw(&name("cart"), (0..5).map(|n: u8| n.to_string()))).await;
    store.away.send_replace(false);
    until("the endpoints are gone", || shown(&registry) == 0).await;
    assert_eq!(registry.counters().brakes(), 0);
}

async fn the_brake_lets_go_after_the_grace_time(fixture: Fixture) {
    let grace = Duration::from_secs(1);
    let (store, registry) = started(&fixture, BrakeSettings { grace, ..BrakeSettings::default() }).await;
    let began = Instant::now();
    done(&fixture, lost(0..4)).await;
    until("the brake goes on", || registry.counters().brakes() == 1).await;
    // Also while there is no store to wake the registry up.
    store.away.send_replace(true);
    until("the brake lets go", || shown(&registry) == 1).await;
    assert!(began.elapsed() >= grace, "after {:?} only", began.elapsed());
    assert_eq!(registry.counters().braking(), 0);
}

async fn proxies_keep_what_the_brake_keeps(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    done(&fixture, [vec![service("cart")], endpoints(5)].concat()).await;
    let status = async || plane.admin.clone().status(v1::StatusRequest {}).await.unwrap().into_inner();
    crate::eventually("the replica knows all five", async || status().await.endpoints == 5).await;
    let web = Workload::join(&plane, "shop", "web").await;
    let mut stream = web.subscribe("web-0").await;
    stream.service("shop/cart").await;
    assert_eq!(stream.told().await, "snapshot shop/cart 0 1 2 3 4");
    done(&fixture, lost(0..3)).await;
    done(&fixture, withdraw(&name("cart"), ["4".to_owned()])).await;
    assert_eq!(stream.told().await, "delta shop/cart -4", "what is meant is told, what is lost is not");
    assert_eq!(status().await.notes, ["most endpoints of 1 services vanished at once; the last good ones are kept"]);
}

async fn what_a_watch_has_lost_is_found_when_a_proxy_doubts_it(fixture: Fixture) {
    done(&fixture, [vec![service("cart")], endpoints(5)].concat()).await;
    let store = Torn::deaf_to(fixture.store.clone(), "endpoints/shop/cart/2");
    let registry = Registry::start(store, BrakeSettings::default());
    registry.ready().await;
    done(&fixture, lost(2..3)).await;
    done(&fixture, lost(4..5)).await;
    until("the other removal is heard of", || shown(&registry) == 4).await;
    registry.doubt(&name("cart"));
    until("the endpoint that is gone is gone", || shown(&registry) == 3).await;
    assert_eq!(registry.counters().resyncs(), 1);
    // What agrees is looked at and left alone.
    let looks = registry.counters().doubts();
    registry.doubt(&name("search"));
    until("the other service is looked at", || registry.counters().doubts() > looks).await;
    assert_eq!((shown(&registry), registry.counters().resyncs()), (3, 1));
}
