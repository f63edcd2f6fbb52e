//! The story of one connection that an application in this pod has opened.
//!
//! accept -> **outbound** -> (http1 | http2 | tunnel). Looks the dialled address up in the catalog: the virtual address of a
//! service, the address of one endpoint, or nobody the mesh knows, which passes through untouched. What cannot be served
//! is reset when it is TCP, and answered with a reason when it is HTTP.

use crate::affinity;
use crate::balance::hash;
use crate::catalog::{Answer, Known};
use crate::cluster::Upstream;
use crate::conn::Conn;
use crate::connect::connect;
use crate::drain::Direction;
use crate::error::Failure;
use crate::plan::{Attempts, Limits, Mirrored, Plan, Planned, Redirected, Story, Target};
use crate::request::RequestView;
use crate::route::{Chosen, CompiledRule, Routed};
use crate::sniff::{self, First};
use crate::worker::Worker;
use crate::{http1, http2, tunnel};
use bytes::BytesMut;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use weft_model::policy::HashKey;
use weft_model::route::{Backend, Mirror, Rule};
use weft_model::{Binding, Protocol, ServiceName};

/// The kernel's own limit is longer than any client waits.
const PASS_THROUGH_CONNECT: Duration = Duration::from_secs(30);
/// What is read of a server that speaks first.
const FIRST_READ: usize = 4 * 1024;

/// Where a connection is going.
struct Outbound {
    worker: Rc<Worker>,
    limits: Limits,
    service: ServiceName,
    /// Index of the dialled port in the service.
    port: usize,
    /// Dialled by its own address.
    endpoint: Option<String>,
    /// The client's address, hashed.
    source: u64,
    /// The view at the time of the dial, should the catalog forget the service meanwhile.
    known: Arc<Known>,
}

/// Serves one connection that was going to `destination`.
pub async fn serve(worker: Rc<Worker>, stream: TcpStream, destination: SocketAddr) {
    let shared = Arc::clone(&worker.shared);
    if destination.ip().is_loopback() && destination.port() == shared.config.outbound_port {
        // Somebody dialled this very listener: there is no original destination to go to.
        return Conn::plain(stream, BytesMut::new()).abort();
    }
    match shared.catalog.bind(destination.ip()).await {
        Some(Binding::Service(service)) => to_service(worker, stream, destination, service, None).await,
        Some(Binding::Endpoint { service, id }) => to_service(worker, stream, destination, service, Some(id)).await,
        // Nobody else can be behind an address of the mesh's own range.
        _ if shared.config.virtual_range.contains(destination.ip()) => {
            shared.metrics.refused_connection(Failure::NoSuchService.reason());
            Conn::plain(stream, BytesMut::new()).abort();
        }
        _ => pass_through(&worker, stream, destination).await,
    }
}

async fn to_service(
    worker: Rc<Worker>,
    stream: TcpStream,
    destination: SocketAddr,
    service: ServiceName,
    endpoint: Option<String>,
) {
    let Some(known) = worker.shared.catalog.service(&service).await else {
        worker.shared.metrics.refused_connection(Failure::NoSuchService.reason());
        return Conn::plain(stream, BytesMut::new()).abort();
    };
    let ports = &known.view.service.ports;
    let dialled = match &endpoint {
        None => ports.iter().position(|p| p.port.get() == destination.port()),
        Some(id) => known
            .view
            .endpoints
            .get(id)
            .and_then(|endpoint| ports.iter().position(|p| endpoint.port_for(p).get() == destination.port())),
    };
    let Some(port) = dialled else {
        // A port of a pod that is no port of its service: not ours to judge. A port that the service does not have: nobody's.
        return match endpoint {
            Some(_) => pass_through(&worker, stream, destination).await,
            None => Conn::plain(stream, BytesMut::new()).abort(),
        };
    };
    let limits =
        Limits { header_timeout: worker.shared.config.header_timeout, max_head: worker.shared.config.max_header_bytes };
    // A client that has left has no address any more, and no need of one.
    let source = stream.peer_addr().map_or(0, |peer| hash::of(peer.ip().to_canonical().to_string().as_bytes()));
    let outbound = Outbound { worker, limits, service, port, endpoint, source, known };
    outbound.carry(stream, destination).await;
}

/// Bytes to a place the mesh does not know, exactly as without it.
async fn pass_through(worker: &Worker, stream: TcpStream, destination: SocketAddr) {
    let mut client = Conn::plain(stream, BytesMut::new());
    let _open = worker.shared.metrics.connection(Direction::Outbound, "pass-through", false);
    match connect(&[destination.ip()], destination.port(), None, PASS_THROUGH_CONNECT).await {
        Ok(server) => join(worker, client, server).await,
        Err(failure) => {
            tracing::debug!(%destination, %failure, "pass-through failed");
            client.buf.clear();
            client.abort();
        }
    }
}

/// Moves bytes to the end; a failure of either side resets both.
async fn join(worker: &Worker, mut client: Conn, mut server: Conn) {
    let (moved, result) = tunnel::run(&mut client, &mut server).await;
    worker.shared.metrics.tunnelled(Direction::Outbound, moved.sent, moved.received);
    if result.is_err() {
        client.abort();
        server.abort();
    }
}

impl Outbound {
    async fn carry(self, mut stream: TcpStream, destination: SocketAddr) {
        let mut buf = BytesMut::new();
        let first = match self.known.view.service.ports[self.port].protocol {
            Protocol::Tcp | Protocol::Tls => First::Opaque,
            Protocol::Http2 | Protocol::Grpc => First::Http2,
            Protocol::Http => match sniff::at_leisure(&mut stream, &mut buf, self.limits.header_timeout).await {
                // Bad HTTP is told what is wrong with it.
                First::Opaque => First::Http1,
                first => first,
            },
            Protocol::Detect if self.worker.speaks_first(destination) => First::Opaque,
            Protocol::Detect => {
                let wait = self.worker.shared.config.detect_timeout;
                sniff::first(&mut stream, &mut buf, wait).await
            }
        };
        match first {
            First::Gone => {}
            First::Silent => self.server_first(stream, destination).await,
            other => self.speak(other, Conn::plain(stream, buf)).await,
        }
    }

    async fn speak(self, first: First, client: Conn) {
        let metrics = self.worker.shared.metrics.clone();
        match first {
            First::Http1 => {
                let _open = metrics.connection(Direction::Outbound, "http1", false);
                http1::serve::serve(&self, client).await;
            }
            First::Http2 => {
                let _open = metrics.connection(Direction::Outbound, "http2", false);
                if let Err(error) = http2::serve::serve(Rc::new(self), client).await {
                    tracing::debug!(%error, "HTTP/2 connection ended");
                    metrics.malformed("http2");
                }
            }
            _ => self.opaque(client).await,
        }
    }

    /// A client that waits to be spoken to, or takes its time. The server is connected; whoever speaks first decides what
    /// this is.
    async fn server_first(self, mut stream: TcpStream, destination: SocketAddr) {
        let mut buf = BytesMut::new();
        let (upstream, mut server) = match self.dial().await {
            Ok(dialled) => dialled,
            Err(failure) => return self.refuse(Conn::plain(stream, buf), &failure),
        };
        let serving = upstream.load.serving();
        let first = tokio::select! {
            filled = server.fill(FIRST_READ) => {
                if filled.is_ok_and(|n| n > 0) {
                    self.worker.remember_server_first(destination);
                }
                First::Opaque
            }
            first = sniff::at_leisure(&mut stream, &mut buf, self.worker.shared.config.detect_timeout) => first,
        };
        let client = Conn::plain(stream, buf);
        if matches!(first, First::Http1 | First::Http2) {
            drop((server, serving));
            return Box::pin(self.speak(first, client)).await;
        }
        let _open = self.worker.shared.metrics.connection(Direction::Outbound, "tcp", false);
        join(&self.worker, client, server).await;
    }

    async fn opaque(self, client: Conn) {
        match self.dial().await {
            Ok((upstream, server)) => {
                let _serving = upstream.load.serving();
                let _open = self.worker.shared.metrics.connection(Direction::Outbound, "tcp", false);
                join(&self.worker, client, server).await;
            }
            Err(failure) => self.refuse(client, &failure),
        }
    }

    /// An immediate reset: an orderly close would look like an empty answer.
    fn refuse(&self, client: Conn, failure: &Failure) {
        tracing::debug!(service = %self.service, %failure, "connection refused");
        self.worker.shared.metrics.refused_connection(failure.reason());
        client.abort();
    }

    /// A connection of its own to one endpoint; others are tried when it cannot be made, for nothing has been sent yet.
    async fn dial(&self) -> Result<(Rc<Upstream>, Conn), Failure> {
        let plan = self.straight(self.present(), |_| None);
        let mut attempts = Attempts::new(&plan);
        loop {
            let upstream = attempts.pick(Instant::now())?;
            let begun = upstream.load.begin(Instant::now());
            let dialled = upstream.tcp(plan.port_of(&upstream), plan.connect_timeout()).await;
            attempts.ended(begun, dialled.as_ref().err());
            match dialled {
                Ok(conn) => return Ok((upstream, conn)),
                Err(failure) => match attempts.again(&upstream, &failure, true, true) {
                    Some(pause) => {
                        upstream.meter.retried(failure.reason());
                        tokio::time::sleep(pause).await;
                    }
                    None => return Err(failure),
                },
            }
        }
    }

    /// The newest view of the dialled service.
    fn present(&self) -> Arc<Known> {
        self.worker.shared.catalog.peek(&self.service).unwrap_or_else(|| Arc::clone(&self.known))
    }

    /// Straight to the dialled service, past all routes.
    fn straight(&self, known: Arc<Known>, cookie: impl Fn(&str) -> Option<String>) -> Plan {
        let port = self.port.min(known.view.service.ports.len().saturating_sub(1));
        self.towards(known, port, cookie)
    }

    /// To `port` of the service in `known`; `cookie` gives the value of the request's cookie of that name.
    fn towards(&self, known: Arc<Known>, port: usize, cookie: impl Fn(&str) -> Option<String>) -> Plan {
        let cluster = self.worker.cluster(&known);
        let upstreams = cluster.upstreams();
        let only = self.endpoint.as_ref().and_then(|id| upstreams.iter().find(|u| u.endpoint.id == *id).cloned());
        let session = known.view.policy.affinity.as_ref().and_then(|affinity| {
            let token = cookie(&affinity.name)?;
            upstreams.iter().find(|u| u.token == token && u.endpoint.takes_new_work()).cloned()
        });
        // What else a request is hashed by is known with the request.
        let key = match known.view.policy.balancer.hash_key() {
            Some(HashKey::SourceAddress) => Some(self.source),
            _ => None,
        };
        Plan {
            request_timeout: known.view.policy.timeouts.request,
            try_timeout: known.view.policy.retry.per_try_timeout,
            rule: None,
            mirrors: Vec::new(),
            target: Target::Service { cluster, known, port, only, session, key },
        }
    }

    /// The view and port of a rule's backend.
    async fn backend(&self, present: &Arc<Known>, backend: &Backend) -> Result<(Arc<Known>, usize), Failure> {
        let target = match backend.service == self.service {
            _ if backend.refused => return Err(Failure::InvalidBackend),
            true => Arc::clone(present),
            false => match self.worker.shared.catalog.lookup(&backend.service).await {
                Answer::Known(known) => known,
                Answer::Absent => return Err(Failure::InvalidBackend),
                Answer::Unanswered => return Err(Failure::NoSuchService),
            },
        };
        let port = target.view.service.ports.iter().position(|p| p.port == backend.port);
        port.map(|port| (target, port)).ok_or(Failure::InvalidBackend)
    }

    /// Copies of a request, as far as their services are known and there is room for them.
    fn mirrors(&self, present: &Arc<Known>, rule: &Arc<CompiledRule>, request: &impl RequestView) -> Vec<Mirrored> {
        let mirrored = rule.mirrored(|below| fastrand::u32(..below.max(1)));
        let copy = |mirror: &Mirror| {
            let known = match mirror.service == self.service {
                true => Arc::clone(present),
                false => self.worker.shared.catalog.peek(&mirror.service)?,
            };
            let port = known.view.service.ports.iter().position(|p| p.port == mirror.port)?;
            let permit = self.worker.mirror_permit()?;
            let plan = self.towards(known, port, |_| None).keyed_by(request);
            let plan = Plan { request_timeout: None, ..plan };
            Some(Mirrored { plan, label: Arc::clone(rule), permit })
        };
        mirrored
            .filter_map(|mirror| {
                let made = copy(mirror);
                if made.is_none() {
                    self.mirror_dropped();
                }
                made
            })
            .collect()
    }
}

impl Story for Outbound {
    async fn plan(&self, request: &impl RequestView) -> Result<Planned, Failure> {
        let known = self.present();
        let Some(port) = known.view.service.ports.get(self.port) else { return Err(Failure::NoRoute) };
        if self.endpoint.is_some() {
            // Dialled by its own address: no route may lead elsewhere.
            return Ok(Planned::Forward(self.straight(known, |_| None)));
        }
        let cookie = |name: &str| affinity::requested(request, name);
        let rule = match known.table.decide(port.port.get(), request) {
            Routed::Unrouted => {
                return Ok(Planned::Forward(self.straight(Arc::clone(&known), cookie).keyed_by(request)));
            }
            Routed::NoMatch => return Err(Failure::NoRoute),
            Routed::To(rule) => Arc::clone(rule),
        };
        if let Some(location) = rule.location(request, port.port.get()) {
            let cluster = self.worker.cluster(&known);
            return Ok(Planned::Redirect(Redirected { rule, location, cluster }));
        }
        let mirrors = self.mirrors(&known, &rule, request);
        let chosen = Chosen::by(rule, fastrand::u64(..)).ok_or(Failure::InvalidBackend)?;
        let (target, port) = self.backend(&known, chosen.backend()).await?;
        let rule = chosen.rule();
        let (request_timeout, try_timeout) = (rule.request_timeout, rule.backend_timeout);
        let limited = |limit: &Duration| *limit != Rule::NO_LIMIT;
        let carried = chosen.carry(request, &target.view.policy.retry);
        let plan = self.towards(target, port, cookie).keyed_by(request);
        Ok(Planned::Forward(Plan {
            request_timeout: request_timeout.or(plan.request_timeout).filter(limited),
            try_timeout: try_timeout.or(plan.try_timeout).filter(limited),
            rule: Some(carried),
            mirrors,
            ..plan
        }))
    }

    fn added(&self) -> &[(&'static str, String)] {
        &[]
    }

    fn removed(&self) -> &'static [&'static str] {
        &[]
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn draining(&self) -> bool {
        self.worker.shared.drain.begun()
    }

    async fn wait_draining(&self) {
        self.worker.shared.drain.wait_begun().await;
    }

    async fn wait_closed(&self) {
        self.worker.shared.drain.wait_closed(Direction::Outbound).await;
    }

    fn mirror_dropped(&self) {
        self.worker.shared.metrics.mirror_dropped();
    }

    fn refused(&self, protocol: &'static str, failure: &Failure, took: Duration) {
        if matches!(failure, Failure::MalformedRequest(_) | Failure::HeadersTooLarge) {
            self.worker.shared.metrics.malformed(protocol);
        }
        self.worker.cluster(&self.present()).unserved.record("", failure.status(), failure.reason(), took);
    }
}
