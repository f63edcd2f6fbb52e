//! One endpoint as one worker sees it: its load, its health, its connections.
//!
//! Below `cluster`, which holds those of one service; the applications beside the proxy are upstreams of their own. Fails
//! with what `connect` says.

use crate::affinity::Home;
use crate::balance::orca::Report;
use crate::balance::subset::Client;
use crate::balance::{Candidate, Load};
use crate::breaker::{Breaker, Breakers, Permit};
use crate::catalog::{Catalog, Health, Known};
use crate::conn::Conn;
use crate::connect::{self, Destination, http2};
use crate::drain::Direction;
use crate::ejections::Ejections;
use crate::error::{Failure, Limit};
use crate::metrics::{Metrics, RequestMeter};
use crate::pool::{Place, Pool};
use crate::probe::Prober;
use bytes::Bytes;
use h2::client::SendRequest;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};
use weft_identity::rotate::Identity;
use weft_identity::tls::Alpn;
use weft_model::balance::{LoadReports, Location};
use weft_model::{Endpoint, EndpointState, Hints, ServiceName, SpiffeId};

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
    pub node: Option<Arc<str>>,
    pub location: Option<Location>,
    /// Which endpoints of big services are this proxy's.
    pub client: Client,
}

/// One endpoint as this worker sees it.
pub struct Upstream {
    pub endpoint: Endpoint,
    pub load: Load,
    /// What active checks say, where there are any.
    health: Option<Health>,
    /// When it appeared or became ready; `None`: it was there when the service was first used.
    pub(super) since: Option<Instant>,
    /// What session tokens call it.
    pub home: Home,
    pub meter: RequestMeter,
    pub(super) pools: RefCell<Vec<(u16, Rc<Pool>)>>,
    pub(super) prober: Prober,
    /// Of its service.
    breaker: Breaker,
    /// Requests of the service that may wait for a connection, and connections that it may have.
    pub(super) max_pending: Cell<Option<NonZeroU32>>,
    pub(super) max_connections: Cell<Option<NonZeroU32>>,
    /// All endpoints of the service, where its connections are bounded: one that is idle makes room for another.
    pub(super) siblings: RefCell<Weak<[Rc<Upstream>]>>,
    /// Whom it is expected to be, as the access log has it; written down for the first line.
    expected: OnceCell<Option<Box<str>>>,
    around: Surroundings,
}

/// Shorter than any server's keep-alive time-out in common use (Node's is 5 s, Gunicorn's 2 s).
const IDLE_FOR_UNSAFE: Duration = Duration::from_secs(1);

fn no_siblings() -> RefCell<Weak<[Rc<Upstream>]>> {
    // A `Weak` of a slice is not made out of nothing.
    let nobody: Rc<[Rc<Upstream>]> = Rc::new([]);
    RefCell::new(Rc::downgrade(&nobody))
}

impl Candidate for Upstream {
    fn load(&self) -> &Load {
        &self.load
    }

    fn is_healthy(&self) -> bool {
        self.health.as_ref().is_none_or(Health::is_good)
    }
}

impl Upstream {
    /// A sidecar answers for this endpoint, over a connection on which it has shown who it is.
    pub fn has_sidecar(&self) -> bool {
        self.endpoint.identity.is_some()
    }

    /// Whether the sessions it has may go on.
    pub fn keeps_sessions(&self) -> bool {
        self.endpoint.keeps_sessions() && self.is_healthy()
    }

    pub(super) fn of(known: &Known, endpoint: &Endpoint, since: Option<Instant>, around: Surroundings) -> Self {
        Self {
            load: Load::marked(Instant::now(), around.ejections.mark(&endpoint.service, &endpoint.id)),
            health: known.health_of(&endpoint.id).cloned(),
            since,
            home: Home::of(&endpoint.service, &endpoint.id),
            meter: around.metrics.request_meter(Direction::Outbound, &endpoint.service.to_string(), &endpoint.id),
            pools: RefCell::default(),
            prober: Prober::default(),
            breaker: around.breakers.of(&endpoint.service),
            max_pending: Cell::default(),
            max_connections: Cell::default(),
            siblings: no_siblings(),
            expected: OnceCell::new(),
            endpoint: endpoint.clone(),
            around,
        }
    }

    /// Nothing about it is other than it was.
    pub(super) fn is_still(&self, endpoint: &Endpoint, known: &Known) -> bool {
        self.endpoint == *endpoint && self.health.as_ref() == known.health_of(&endpoint.id)
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
            hints: Hints::default(),
            hostname: None,
            priority: 0,
            location: None,
            identity: None,
            state: EndpointState::Ready,
        };
        Self {
            endpoint,
            load: Load::new(Instant::now()),
            health: None,
            since: None,
            home: Home::default(),
            meter,
            pools: RefCell::default(),
            prober: Prober::default(),
            breaker: Breaker::default(),
            max_pending: Cell::default(),
            max_connections: Cell::default(),
            siblings: no_siblings(),
            expected: OnceCell::new(),
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
    pub(super) fn moved_to(&self, endpoint: Endpoint, known: &Known, now: Instant) -> Self {
        let same_place = endpoint.addresses == self.endpoint.addresses && endpoint.identity == self.endpoint.identity;
        let pools = if same_place { self.pools.borrow().clone() } else { Vec::new() };
        let recovered = endpoint.takes_new_work() && !self.endpoint.takes_new_work();
        Self {
            health: known.health_of(&endpoint.id).cloned(),
            endpoint,
            since: if recovered { Some(now) } else { self.since },
            load: self.load.clone(),
            home: self.home,
            meter: self.meter.clone(),
            pools: RefCell::new(pools),
            prober: Prober::default(),
            breaker: self.breaker.clone(),
            max_pending: self.max_pending.clone(),
            max_connections: self.max_connections.clone(),
            siblings: self.siblings.clone(),
            // The identity may be another.
            expected: OnceCell::new(),
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
        Ok((self.open(port, Alpn::Http1, limit).await?, false))
    }

    /// Gives a connection back after a complete exchange.
    pub fn give_back(&self, port: u16, conn: Conn) {
        self.pool(port).put(conn, Instant::now());
    }

    /// A place for one stream on a shared HTTP/2 connection.
    pub async fn http2(&self, port: u16, limit: Duration) -> Result<(SendRequest<Bytes>, Place), Failure> {
        let open = || async {
            let place = self.place()?;
            Ok((http2::open(Box::pin(self.dial(port, Alpn::H2, limit)).await?).await?, place))
        };
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
        let _waiting = self.wait()?;
        self.open(port, Alpn::Tcp, limit).await
    }

    /// A place among the requests that wait for a connection.
    fn wait(&self) -> Result<Option<Permit>, Failure> {
        self.breaker.take(Limit::Pending, self.max_pending.get())
    }

    /// A new connection, if the service may have one more.
    async fn open(&self, port: u16, alpn: Alpn, limit: Duration) -> Result<Conn, Failure> {
        let place = self.place()?;
        Ok(Box::pin(self.dial(port, alpn, limit)).await?.holding(place))
    }

    /// A place among the connections of the service; where there is none, one that is idle has to go.
    fn place(&self) -> Result<Option<Permit>, Failure> {
        let most = self.max_connections.get();
        let taken = self.breaker.take(Limit::Connections, most);
        if taken.is_ok() || !self.make_room() {
            return taken;
        }
        self.breaker.take(Limit::Connections, most)
    }

    /// Closes one connection of the service that is idle, if this worker has one.
    fn make_room(&self) -> bool {
        let siblings = self.siblings.borrow().upgrade();
        siblings.is_some_and(|all| all.iter().any(|one| one.pools.borrow().iter().any(|(_, pool)| pool.shed())))
    }

    /// Callers box it: what a handshake needs would make the task of every connection larger for as long as it lives.
    pub(super) async fn dial(&self, port: u16, alpn: Alpn, limit: Duration) -> Result<Conn, Failure> {
        let conn = connect::reach(self.destination(port), &self.around.identity, alpn, limit).await?;
        self.meter.connected(conn.is_tls());
        Ok(conn)
    }

    fn destination(&self, port: u16) -> Destination<'_> {
        Destination { endpoint: &self.endpoint, port, own: &self.around.own }
    }

    /// Whom its certificate has to name; `None`: connections there are not encrypted.
    pub fn expected(&self) -> Option<&SpiffeId> {
        self.destination(0).expected()
    }

    /// [`Self::expected`] as text, made once.
    pub fn expected_as_text(&self) -> Option<&str> {
        self.expected.get_or_init(|| self.expected().map(|id| id.to_string().into())).as_deref()
    }

    fn pool(&self, port: u16) -> Rc<Pool> {
        let mut pools = self.pools.borrow_mut();
        match pools.iter().find(|(p, _)| *p == port) {
            Some((_, pool)) => Rc::clone(pool),
            None => {
                let pool = Rc::new(Pool::shown_by(self.meter.idle()));
                pools.push((port, Rc::clone(&pool)));
                pool
            }
        }
    }
}
