//! One worker's live state of one service: its endpoints with their load, their connections and their metrics.
//!
//! Stands between the catalog, which all workers share and nobody changes, and the balancer. Refreshed from a new view
//! whenever the catalog has one; an endpoint that is still the same keeps its load history and its connections.
//! Never fails: a service without endpoints is a cluster without upstreams.

use crate::affinity;
use crate::balance::orca::Report;
use crate::balance::prequal::Probe;
use crate::balance::subset::Client;
use crate::balance::{Candidate, Chooser, Here, Load, Member};
use crate::catalog::Known;
use crate::conn::Conn;
use crate::connect::{connect, http2};
use crate::drain::Direction;
use crate::error::Failure;
use crate::metrics::{Metrics, RequestMeter};
use crate::pool::{Place, Pool};
use crate::probe::Prober;
use crate::retry::Budget;
use bytes::Bytes;
use fastrand::Rng;
use h2::client::SendRequest;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weft_identity::rotate::Identity;
use weft_identity::tls::Alpn;
use weft_model::balance::{LoadReports, Location};
use weft_model::{Endpoint, EndpointState, ServiceName};

/// What upstreams need from their worker.
#[derive(Clone)]
pub struct Surroundings {
    pub identity: Identity,
    pub metrics: Metrics,
    /// This pod's own addresses: an endpoint there is the application next door, reached without its sidecar.
    pub own: Arc<[IpAddr]>,
    pub zone: Option<Arc<str>>,
    pub location: Option<Location>,
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
    prober: Prober,
    around: Surroundings,
}

/// One service as this worker sees it.
pub struct Cluster {
    pub name: ServiceName,
    pub budget: Budget,
    /// Counts requests that reached no endpoint.
    pub unserved: RequestMeter,
    known: RefCell<Arc<Known>>,
    upstreams: RefCell<Rc<[Rc<Upstream>]>>,
    /// Over exactly these upstreams.
    chooser: RefCell<Rc<Chooser>>,
    around: Surroundings,
}

/// How long a connection for probes may take; also what is remembered of an endpoint that cannot be probed.
const PROBE_CONNECT: Duration = Duration::from_secs(1);
/// Shorter than any server's keep-alive time-out in common use (Node's is 5 s, Gunicorn's 2 s).
const IDLE_FOR_UNSAFE: Duration = Duration::from_secs(1);

impl Cluster {
    pub fn new(known: Arc<Known>, around: Surroundings) -> Self {
        let fresh = known.view.endpoints.values().map(|e| Rc::new(Upstream::of(e.clone(), None, around.clone())));
        let upstreams: Rc<[Rc<Upstream>]> = fresh.collect();
        Self {
            name: known.view.service.name.clone(),
            budget: Budget::default(),
            unserved: around.metrics.request_meter(Direction::Outbound, &known.view.service.name.to_string(), ""),
            chooser: RefCell::new(Rc::new(chooser(&known, &upstreams, &around, None))),
            upstreams: RefCell::new(upstreams),
            known: RefCell::new(known),
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
    match port.filter(|_| upstream.has_sidecar() && !upstream.is_own() && !upstream.prober.failed(now)) {
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
        None => {
            let latency = upstream.load.latency(now, PROBE_CONNECT);
            chooser.probed(at, &upstream.load, Probe { in_flight: upstream.load.pending(), latency }, now);
        }
    }
}

fn chooser(known: &Known, upstreams: &[Rc<Upstream>], around: &Surroundings, before: Option<&Chooser>) -> Chooser {
    let policy = &known.view.policy;
    let here = Here { zone: around.zone.as_deref(), location: around.location };
    let member = |u: &Rc<Upstream>| Member::of(&u.endpoint, here, &policy.spread.failover, u.since);
    let members = upstreams.iter().map(member).collect();
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
        Self {
            endpoint,
            load: Load::new(Instant::now()),
            since,
            token,
            meter,
            pools: RefCell::default(),
            prober: Prober::default(),
            around,
        }
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
            priority: 0,
            location: None,
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
            prober: Prober::default(),
            around,
        }
    }

    /// Takes in what it has said of its own load, in the field called `name`.
    pub fn reported(&self, name: &str, value: &[u8], terms: &LoadReports) {
        match Report::parse(name, value) {
            Some(report) => {
                if let Some(capacity) = report.capacity(terms.error_penalty_percent) {
                    self.load.reported().note(capacity, Instant::now(), terms);
                }
            }
            None => self.meter.malformed_report(),
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
            prober: Prober::default(),
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
        Ok((self.dial(port, Alpn::Http1, limit).await?, false))
    }

    /// Gives a connection back after a complete exchange.
    pub fn give_back(&self, port: u16, conn: Conn) {
        self.pool(port).put(conn, Instant::now());
    }

    /// A place for one stream on a shared HTTP/2 connection.
    pub async fn http2(&self, port: u16, limit: Duration) -> Result<(SendRequest<Bytes>, Place), Failure> {
        let open = || async { http2::open(self.dial(port, Alpn::H2, limit).await?).await };
        self.pool(port).share(Instant::now(), open).await
    }

    /// Gives up a shared connection that failed.
    pub async fn discard(&self, port: u16, place: &Place) {
        self.pool(port).discard(place).await;
    }

    /// A connection of its own for bytes the proxy does not look into.
    pub async fn tcp(&self, port: u16, limit: Duration) -> Result<Conn, Failure> {
        self.dial(port, Alpn::Tcp, limit).await
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
