//! One worker's live state of one service: its endpoints with their load, their connections and their metrics.
//!
//! Stands between the catalog, which all workers share and nobody changes, and the balancer. Refreshed from a new view
//! whenever the catalog has one; an endpoint that is still the same keeps its load history and its connections.
//! Never fails: a service without endpoints is a cluster without upstreams.

mod eject;
mod upstream;

pub use upstream::{Surroundings, Upstream};

use crate::balance::{Chooser, Followed, Here, Member};
use crate::breaker::Breaker;
use crate::catalog::Known;
use crate::drain::Direction;
use crate::metrics::RequestMeter;
use crate::retry::{Budget, Latencies};
use crate::throttle::Throttle;
use fastrand::Rng;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weft_identity::tls::Alpn;
use weft_model::explain::Standing;
use weft_model::{Endpoint, ServiceName};

/// One service as this worker sees it.
pub struct Cluster {
    pub name: ServiceName,
    pub budget: Budget,
    /// For hedging by a percentile.
    pub latencies: Latencies,
    pub throttle: Throttle,
    pub breaker: Breaker,
    /// Counts requests that reached no endpoint.
    pub unserved: RequestMeter,
    known: RefCell<Arc<Known>>,
    upstreams: RefCell<Rc<[Rc<Upstream>]>>,
    /// Over exactly these upstreams.
    chooser: RefCell<Rc<Chooser>>,
    /// When success rates were compared last.
    compared: Cell<Option<Instant>>,
    around: Surroundings,
}

/// How long a connection for probes may take.
const PROBE_CONNECT: Duration = Duration::from_secs(1);
impl Cluster {
    pub fn new(known: Arc<Known>, around: Surroundings) -> Self {
        if known.call() {
            around.catalog.announce();
        }
        let upstream = |endpoint: &Endpoint| Rc::new(Upstream::of(&known, endpoint, None, around.clone()));
        let fresh = known.view.endpoints.values().map(upstream);
        let upstreams: Rc<[Rc<Upstream>]> = fresh.collect();
        bound(&known, &upstreams);
        Self {
            name: known.view.service.name.clone(),
            budget: Budget::default(),
            latencies: Latencies::default(),
            throttle: Throttle::default(),
            breaker: around.breakers.of(&known.view.service.name),
            unserved: around.metrics.request_meter(Direction::Outbound, &known.view.service.name.to_string(), ""),
            chooser: RefCell::new(Rc::new(chooser(&known, &upstreams, &around, None))),
            upstreams: RefCell::new(upstreams),
            known: RefCell::new(known),
            compared: Cell::new(None),
            around,
        }
    }

    /// Takes over a newer view; does nothing when `known` is the one in force.
    pub fn refresh(&self, known: &Arc<Known>) {
        if !Arc::ptr_eq(&self.known.borrow(), known) {
            self.rebuild(known);
            *self.known.borrow_mut() = Arc::clone(known);
        }
    }

    fn rebuild(&self, known: &Known) {
        let present: HashMap<String, Rc<Upstream>> =
            self.upstreams.borrow().iter().map(|u| (u.endpoint.id.clone(), Rc::clone(u))).collect();
        let now = Instant::now();
        let next = known.view.endpoints.values().map(|endpoint| match present.get(&endpoint.id) {
            Some(same) if same.is_still(endpoint, known) => Rc::clone(same),
            Some(changed) => Rc::new(changed.moved_to(endpoint.clone(), known, now)),
            None => Rc::new(Upstream::of(known, endpoint, Some(now), self.around.clone())),
        });
        let next: Rc<[Rc<Upstream>]> = next.collect();
        bound(known, &next);
        let chooser = chooser(known, &next, &self.around, Some(&self.chooser.borrow()));
        *self.chooser.borrow_mut() = Rc::new(chooser);
        *self.upstreams.borrow_mut() = next;
    }

    /// The endpoint for the next try of a request with this `key`; those already `tried` come last.
    pub fn choose(
        &self,
        tried: impl Fn(&Rc<Upstream>) -> bool,
        key: Option<u64>,
        now: Instant,
        rng: &mut Rng,
    ) -> Option<Rc<Upstream>> {
        let upstreams = self.upstreams.borrow();
        let chooser = self.chooser.borrow();
        let chosen = chooser.choose(&upstreams, |at| tried(&upstreams[at]), key, now, rng);
        if chooser.probes() {
            chooser.to_probe(rng, |at| probe(&chooser, at, &upstreams[at], now));
        }
        chosen.map(|at| Rc::clone(&upstreams[at]))
    }

    /// Each endpoint, and where it stands in the first try of a request with this `key`.
    pub fn standings(&self, key: Option<u64>, now: Instant) -> Vec<(Rc<Upstream>, Standing)> {
        let upstreams = self.upstreams.borrow();
        let standings = self.chooser.borrow().standings(&upstreams, key, now);
        upstreams.iter().cloned().zip(standings).collect()
    }

    /// The endpoint that a balancer which hashes finds by `key`; such a choice leaves nothing behind.
    pub fn keyed(&self, key: Option<u64>, now: Instant) -> Option<Rc<Upstream>> {
        let hashes = self.known.borrow().view.policy.balancer.hash_key().is_some();
        key.filter(|_| hashes).and_then(|key| self.choose(|_| false, Some(key), now, &mut Rng::new()))
    }

    /// An endpoint cannot be reached, again and again: it may be gone without discovery's having been heard.
    pub fn doubt(&self) {
        self.around.catalog.doubt(&self.name);
    }

    /// The endpoints at this moment; a refresh meanwhile does not change what the caller holds.
    pub fn upstreams(&self) -> Rc<[Rc<Upstream>]> {
        Rc::clone(&self.upstreams.borrow())
    }

    /// Closes connections that have been idle for longer than `limit`.
    pub fn sweep(&self, now: Instant, limit: Duration) {
        for upstream in self.upstreams.borrow().iter() {
            upstream.sweep(now, limit);
        }
    }
}

/// Asks the sidecar of `upstream`, which is `at` this index, how busy it is. Of an endpoint that has none, or whose sidecar does
/// not answer, this worker's own view counts.
fn probe(chooser: &Rc<Chooser>, at: usize, upstream: &Rc<Upstream>, now: Instant) {
    let port = upstream.pools.borrow().first().map(|(port, _)| *port);
    match port.filter(|_| upstream.expected().is_some() && !upstream.prober.failed(now)) {
        Some(port) if upstream.prober.ready(now) => {
            let (chooser, upstream) = (Rc::clone(chooser), Rc::clone(upstream));
            tokio::task::spawn_local(async move {
                let dial = upstream.dial(port, Alpn::Probe, PROBE_CONNECT);
                if let Some(answer) = upstream.prober.ask(dial).await {
                    chooser.probed(at, &upstream.load, answer, Instant::now());
                }
            });
        }
        Some(_) => {}
        None => chooser.probed(at, &upstream.load, upstream.load.probe(now), now),
    }
}

/// Lets the endpoints know what their policy bounds.
fn bound(known: &Known, upstreams: &Rc<[Rc<Upstream>]>) {
    let breaker = known.view.policy.breaker.unwrap_or_default();
    for upstream in upstreams.iter() {
        upstream.max_pending.set(breaker.max_pending);
        upstream.max_connections.set(breaker.max_connections);
        *upstream.siblings.borrow_mut() = Rc::downgrade(upstreams);
    }
}

fn chooser(known: &Known, upstreams: &[Rc<Upstream>], around: &Surroundings, before: Option<&Chooser>) -> Chooser {
    let policy = &known.view.policy;
    let (zone, node) = (around.zone.as_deref(), around.node.as_deref());
    // What the policy says of places comes before what the cluster hints at.
    let is_placed = known.view.service.node_local || policy.spread.zone.is_some() || !policy.spread.failover.is_empty();
    let endpoints = upstreams.iter().map(|upstream| &upstream.endpoint);
    let hints = if is_placed { None } else { Followed::of(endpoints, node, zone) };
    let here = Here { zone, location: around.location, hints };
    let member = |u: &Rc<Upstream>| Member::of(&u.endpoint, here, &policy.spread.failover, u.since);
    let members = upstreams.iter().map(member).collect();
    Chooser::new(&policy.balancer, &policy.spread, members, around.client, before, fastrand::u64(..))
}
