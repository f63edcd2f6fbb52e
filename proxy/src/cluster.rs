//! One worker's live state of one service: its endpoints with their load, their connections and their metrics.
//!
//! Stands between the catalog, which all workers share and nobody changes, and the balancer. Refreshed from a new view
//! whenever the catalog has one; an endpoint that is still the same keeps its load history and its connections.
//! Never fails: a service without endpoints is a cluster without upstreams.

mod eject;

use crate::affinity;
use crate::balance::subset::Client;
use crate::balance::{Candidate, Chooser, Load, Member};
use crate::breaker::{Breaker, Breakers, Permit};
use crate::catalog::{Catalog, Known};
use crate::conn::Conn;
use crate::connect::{connect, http2};
use crate::drain::Direction;
use crate::ejections::Ejections;
use crate::error::{Failure, Limit};
use crate::metrics::{Metrics, RequestMeter};
use crate::pool::{Place, Pool};
use crate::retry::Budget;
use bytes::Bytes;
use fastrand::Rng;
use h2::client::SendRequest;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weft_identity::rotate::Identity;
use weft_identity::tls::Alpn;
use weft_model::{Endpoint, EndpointState, ServiceName};

/// What upstreams need from their worker.
#[derive(Clone)]
pub struct Surroundings {
    pub identity: Identity,
    pub metrics: Metrics,
    pub ejections: Ejections,
    pub breakers: Breakers,
    pub catalog: Catalog,
    /// This pod's own addresses: an endpoint there is the application next door, reached without its sidecar.
    pub own: Arc<[IpAddr]>,
    pub zone: Option<Arc<str>>,
    /// Which endpoints of big services are this proxy's.
    pub client: Client,
}

/// One endpoint as this worker sees it.
pub struct Upstream {
    pub endpoint: Endpoint,
    pub load: Load,
    /// When it appeared or became ready; `None`: it was there when the service was first used.
    since: Option<Instant>,
    /// What an affinity cookie calls it.
    pub token: String,
    pub meter: RequestMeter,
    pools: RefCell<Vec<(u16, Rc<Pool>)>>,
    /// Of its service.
    breaker: Breaker,
    /// Requests of the service that may wait for a connection.
    max_pending: Cell<Option<NonZeroU32>>,
    around: Surroundings,
}

/// One service as this worker sees it.
pub struct Cluster {
    pub name: ServiceName,
    pub budget: Budget,
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

/// Shorter than any server's keep-alive time-out in common use (Node's is 5 s, Gunicorn's 2 s).
const IDLE_FOR_UNSAFE: Duration = Duration::from_secs(1);

impl Cluster {
    pub fn new(known: Arc<Known>, around: Surroundings) -> Self {
        let fresh = known.view.endpoints.values().map(|e| Rc::new(Upstream::of(e.clone(), None, around.clone())));
        let upstreams: Rc<[Rc<Upstream>]> = fresh.collect();
        bound(&known, &upstreams);
        Self {
            name: known.view.service.name.clone(),
            budget: Budget::default(),
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
            Some(same) if same.endpoint == *endpoint => Rc::clone(same),
            Some(changed) => Rc::new(changed.moved_to(endpoint.clone(), now)),
            None => Rc::new(Upstream::of(endpoint.clone(), Some(now), self.around.clone())),
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
        let chosen = self.chooser.borrow().choose(&upstreams, |at| tried(&upstreams[at]), key, now, rng);
        chosen.map(|at| Rc::clone(&upstreams[at]))
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

/// Lets the endpoints know what their policy bounds.
fn bound(known: &Known, upstreams: &[Rc<Upstream>]) {
    let most = known.view.policy.breaker.and_then(|breaker| breaker.max_pending);
    upstreams.iter().for_each(|upstream| upstream.max_pending.set(most));
}

fn chooser(known: &Known, upstreams: &[Rc<Upstream>], around: &Surroundings, before: Option<&Chooser>) -> Chooser {
    let policy = &known.view.policy;
    let members = upstreams.iter().map(|u| Member::of(&u.endpoint, around.zone.as_deref(), u.since)).collect();
    Chooser::new(&policy.balancer, &policy.spread, members, around.client, before, fastrand::u64(..))
}

impl Candidate for Upstream {
    fn load(&self) -> &Load {
        &self.load
    }
}

impl Upstream {
    /// A sidecar answers for this endpoint, over a connection on which it has shown who it is.
    pub fn has_sidecar(&self) -> bool {
        self.endpoint.identity.is_some()
    }

    fn of(endpoint: Endpoint, since: Option<Instant>, around: Surroundings) -> Self {
        let meter = around.metrics.request_meter(Direction::Outbound, &endpoint.service.to_string(), &endpoint.id);
        let token = affinity::token(&endpoint.service, &endpoint.id);
        let load = Load::marked(Instant::now(), around.ejections.mark(&endpoint.service, &endpoint.id));
        let (pools, breaker, max_pending) =
            (RefCell::default(), around.breakers.of(&endpoint.service), Cell::default());
        Self { endpoint, load, since, token, meter, pools, breaker, max_pending, around }
    }

    /// The application beside this proxy, at `address`; requests to it are counted under `service`.
    pub fn local(address: SocketAddr, service: &str, around: Surroundings) -> Self {
        let meter = around.metrics.request_meter(Direction::Inbound, service, "");
        let endpoint = Endpoint {
            id: String::new(),
            // Nobody looks an application up by name from within its own pod.
            service: ServiceName { namespace: String::new(), name: String::new() },
            addresses: vec![address.ip()],
            ports: BTreeMap::new(),
            weight: 1,
            zone: None,
            node: None,
            identity: None,
            state: EndpointState::Ready,
        };
        Self {
            endpoint,
            load: Load::new(Instant::now()),
            since: None,
            token: String::new(),
            meter,
            pools: RefCell::default(),
            breaker: Breaker::default(),
            max_pending: Cell::default(),
            around,
        }
    }

    /// Closes connections that have been idle for longer than `limit`; returns how many are left.
    pub fn sweep(&self, now: Instant, limit: Duration) -> usize {
        self.pools.borrow().iter().map(|(_, pool)| pool.sweep(now, limit)).sum()
    }

    /// The same endpoint with other properties: its load history stays; its connections only if they still lead to it.
    fn moved_to(&self, endpoint: Endpoint, now: Instant) -> Self {
        let same_place = endpoint.addresses == self.endpoint.addresses && endpoint.identity == self.endpoint.identity;
        let pools = if same_place { self.pools.borrow().clone() } else { Vec::new() };
        let recovered = endpoint.takes_new_work() && !self.endpoint.takes_new_work();
        Self {
            endpoint,
            since: if recovered { Some(now) } else { self.since },
            load: self.load.clone(),
            token: self.token.clone(),
            meter: self.meter.clone(),
            pools: RefCell::new(pools),
            breaker: self.breaker.clone(),
            max_pending: self.max_pending.clone(),
            around: self.around.clone(),
        }
    }

    /// A connection for one HTTP/1 exchange; the flag says whether it has served before. For a request that cannot be
    /// repeated (`safe` is false) only a connection is reused that served a moment ago: an older one might be closed
    /// by the endpoint at the very time the request is on its way, and nobody could tell whether it was processed.
    pub async fn http1(&self, port: u16, limit: Duration, safe: bool) -> Result<(Conn, bool), Failure> {
        let most_idle = if safe { Duration::MAX } else { IDLE_FOR_UNSAFE };
        if let Some(conn) = self.pool(port).take(Instant::now(), most_idle) {
            return Ok((conn, true));
        }
        let _waiting = self.wait()?;
        Ok((self.dial(port, Alpn::Http1, limit).await?, false))
    }

    /// Gives a connection back after a complete exchange.
    pub fn give_back(&self, port: u16, conn: Conn) {
        self.pool(port).put(conn, Instant::now());
    }

    /// A place for one stream on a shared HTTP/2 connection.
    pub async fn http2(&self, port: u16, limit: Duration) -> Result<(SendRequest<Bytes>, Place), Failure> {
        let open = || async { http2::open(self.dial(port, Alpn::H2, limit).await?).await };
        let pool = self.pool(port);
        if let Some(taken) = pool.share_now() {
            return Ok(taken);
        }
        let _waiting = self.wait()?;
        pool.share(Instant::now(), open).await
    }

    /// Gives up a shared connection that failed.
    pub async fn discard(&self, port: u16, place: &Place) {
        self.pool(port).discard(place).await;
    }

    /// A connection of its own for bytes the proxy does not look into.
    pub async fn tcp(&self, port: u16, limit: Duration) -> Result<Conn, Failure> {
        self.dial(port, Alpn::Tcp, limit).await
    }

    /// A place among the requests that wait for a connection.
    fn wait(&self) -> Result<Option<Permit>, Failure> {
        self.breaker.take(Limit::Pending, self.max_pending.get())
    }

    async fn dial(&self, port: u16, alpn: Alpn, limit: Duration) -> Result<Conn, Failure> {
        let tls = match &self.endpoint.identity {
            Some(id) if !self.is_own() => Some(self.around.identity.client(id, alpn)),
            _ => None,
        };
        let mtls = tls.is_some();
        let conn = connect(&self.endpoint.addresses, port, tls, limit).await?;
        self.meter.connected(mtls);
        Ok(conn)
    }

    /// A call from the pod to itself never leaves the pod: no sidecar is in between and nothing to encrypt.
    fn is_own(&self) -> bool {
        self.endpoint.addresses.iter().any(|a| self.around.own.contains(a))
    }

    fn pool(&self, port: u16) -> Rc<Pool> {
        let mut pools = self.pools.borrow_mut();
        match pools.iter().find(|(p, _)| *p == port) {
            Some((_, pool)) => Rc::clone(pool),
            None => {
                let pool = Rc::new(Pool::default());
                pools.push((port, Rc::clone(&pool)));
                pool
            }
        }
    }
}
