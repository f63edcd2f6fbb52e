//! The story of one connection that an application in this pod has opened.
//!
//! accept -> **outbound** -> (http1 | http2 | tunnel). Looks the dialled address up in the catalog: the virtual address of a
//! service, the address of one endpoint, or nobody the mesh knows, which passes through untouched. What cannot be served
//! is reset when it is TCP, and answered with a reason when it is HTTP.

mod decide;
mod fault;
mod explain;

pub use explain::answer as explain;

use crate::balance::hash;
use crate::catalog::Known;
use crate::cluster::Upstream;
use crate::conn::Conn;
use crate::connect::connect;
use crate::drain::{Direction, Ticket};
use crate::error::Failure;
use crate::plan::{Attempts, Limits, Sent};
use crate::record::{Closed, Watch};
use crate::retry::Verdict;
use crate::sniff::{self, First};
use crate::tunnel::{self, Moved};
use crate::worker::Worker;
use crate::{http1, http2};
use bytes::BytesMut;
use std::cell::OnceCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
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
    /// Who is told of its requests, once anybody is.
    watch: OnceCell<Rc<Watch>>,
    /// Of HTTP.
    version: &'static str,
    begun: Instant,
}

/// A connection of which it is known what it is.
pub struct Session {
    outbound: Outbound,
    first: First,
    client: Conn,
}

/// Finds out what the connection that was going to `destination` is. `None`: it has come to its end.
pub async fn recognize(worker: Rc<Worker>, stream: TcpStream, destination: SocketAddr) -> Option<Session> {
    let shared = Arc::clone(&worker.shared);
    if destination.ip().is_loopback() && destination.port() == shared.config.outbound_port {
        // Somebody dialled this very listener: there is no original destination to go to.
        Conn::plain(stream, BytesMut::new()).abort();
        return None;
    }
    if destination.ip().is_loopback() && destination.port() == shared.config.check_port {
        arrived(stream, &shared.arrival).await;
        return None;
    }
    match shared.catalog.bind(destination.ip()).await {
        Some(Binding::Service(service)) => to_service(worker, stream, destination, service, None).await,
        Some(Binding::Endpoint { service, id }) => to_service(worker, stream, destination, service, Some(id)).await,
        // Nobody else can be behind an address of the mesh's own range.
        _ if shared.config.virtual_range.contains(destination.ip()) => {
            shared.metrics.refused_connection(Failure::NoSuchService.reason());
            Conn::plain(stream, BytesMut::new()).abort();
            None
        }
        _ => {
            pass_through(&worker, stream, destination).await;
            None
        }
    }
}

/// The redirect's check: that the connection is here at all is the answer.
async fn arrived(mut stream: TcpStream, arrival: &str) {
    // Who asked may have left.
    let _ = stream.write_all(arrival.as_bytes()).await;
}

async fn to_service(
    worker: Rc<Worker>,
    stream: TcpStream,
    destination: SocketAddr,
    service: ServiceName,
    endpoint: Option<String>,
) -> Option<Session> {
    let Some(known) = worker.shared.catalog.service(&service).await else {
        worker.shared.metrics.refused_connection(Failure::NoSuchService.reason());
        Conn::plain(stream, BytesMut::new()).abort();
        return None;
    };
    let Some(port) = dialled(&known, endpoint.as_deref(), destination.port()) else {
        // A port of a pod that is no port of its service: not ours to judge. A port that the service does not have: nobody's.
        match endpoint {
            Some(_) => pass_through(&worker, stream, destination).await,
            None => Conn::plain(stream, BytesMut::new()).abort(),
        }
        return None;
    };
    // A client that has left has no address any more, and no need of one.
    let source = stream.peer_addr().map(|peer| peer.ip()).ok();
    Outbound::new(worker, known, port, endpoint, source).recognize(stream, destination).await
}

/// Which of the service's ports `port` is, for who dials the service, or one `endpoint` of it.
fn dialled(known: &Known, endpoint: Option<&str>, port: u16) -> Option<usize> {
    let ports = &known.view.service.ports;
    match endpoint {
        None => ports.iter().position(|p| p.port.get() == port),
        Some(id) => {
            let endpoint = known.view.endpoints.get(id)?;
            ports.iter().position(|p| endpoint.port_for(p).get() == port)
        }
    }
}

/// Bytes to a place the mesh does not know, exactly as without it.
async fn pass_through(worker: &Worker, stream: TcpStream, destination: SocketAddr) {
    let mut client = Conn::plain(stream, BytesMut::new());
    let _open = worker.shared.metrics.connection(Direction::Outbound, "pass-through", false);
    match Box::pin(connect(&[destination.ip()], destination.port(), None, PASS_THROUGH_CONNECT)).await {
        Ok(server) => drop(join(worker, client, server).await),
        Err(failure) => {
            tracing::debug!(%destination, %failure, "pass-through failed");
            client.buf.clear();
            client.abort();
        }
    }
}

/// Moves bytes to the end; a failure of either side resets both.
async fn join(worker: &Worker, mut client: Conn, mut server: Conn) -> Moved {
    let (moved, result) = tunnel::run(&mut client, &mut server).await;
    worker.shared.metrics.tunnelled(Direction::Outbound, moved.sent, moved.received);
    if result.is_err() {
        client.abort();
        server.abort();
    }
    moved
}

/// An endpoint that an opaque connection has got to.
struct Dialled {
    upstream: Rc<Upstream>,
    attempts: u32,
}

impl Outbound {
    fn new(
        worker: Rc<Worker>,
        known: Arc<Known>,
        port: usize,
        endpoint: Option<String>,
        source: Option<IpAddr>,
    ) -> Self {
        let config = &worker.shared.config;
        let limits = Limits { header_timeout: config.header_timeout, max_head: config.max_header_bytes };
        let source = source.map_or(0, |source| hash::of(source.to_canonical().to_string().as_bytes()));
        let service = known.view.service.name.clone();
        let (watch, begun) = (OnceCell::new(), Instant::now());
        Self { limits, service, port, endpoint, source, known, worker, watch, version: "", begun }
    }

    async fn recognize(self, mut stream: TcpStream, destination: SocketAddr) -> Option<Session> {
        let mut buf = BytesMut::new();
        let first = match self.known.view.service.ports[self.port].protocol {
            Protocol::Tcp | Protocol::Tls => First::Opaque,
            Protocol::Http2 | Protocol::Grpc => First::Http2,
            Protocol::Http => match sniff::at_leisure(&mut stream, &mut buf, self.limits.header_timeout).await {
                // Bad HTTP is told what is wrong with it.
                First::Opaque => First::Http1,
                first => first,
            },
            Protocol::Detect if self.worker.is_opaque(destination) => First::Opaque,
            Protocol::Detect => {
                let wait = self.worker.shared.config.detect_timeout;
                sniff::first(&mut stream, &mut buf, wait).await
            }
        };
        match first {
            First::Gone => None,
            // Boxed, as what dials below: it is rare, or short.
            First::Silent => Box::pin(self.server_first(stream, destination)).await,
            first => Some(Session { outbound: self, first, client: Conn::plain(stream, buf) }),
        }
    }

    fn watched(&self) -> Rc<Watch> {
        Rc::new(Watch {
            observer: Arc::clone(&self.worker.shared.observer),
            direction: Direction::Outbound,
            service: self.service.to_string(),
            port: self.known.view.service.ports.get(self.port).map_or(0, |port| port.port.get()),
            peer: None,
            client: None,
            version: self.version,
        })
    }

    /// Tells watchers of an opaque connection that has ended.
    fn closed(&self, dialled: Option<&Dialled>, reason: &'static str, Moved { sent, received }: Moved) {
        if !self.worker.shared.observer.taps.on() {
            return;
        }
        let (upstream, attempts) =
            (dialled.map(|dialled| &*dialled.upstream), dialled.map_or(0, |dialled| dialled.attempts));
        let closed = Closed { begun: self.begun, upstream, attempts, reason, sent, received };
        self.watch.get_or_init(|| self.watched()).closed(&closed);
    }

    /// A client that waits to be spoken to, or takes its time. The server is connected; whoever speaks first decides what
    /// this is.
    async fn server_first(self, mut stream: TcpStream, destination: SocketAddr) -> Option<Session> {
        let mut buf = BytesMut::new();
        let (dialled, mut server) = match self.dial().await {
            Ok(dialled) => dialled,
            Err(failure) => {
                self.refuse(Conn::plain(stream, buf), &failure);
                return None;
            }
        };
        let serving = dialled.upstream.load.serving();
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
            return Some(Session { outbound: self, first, client });
        }
        self.join(&dialled, client, server).await;
        None
    }

    async fn opaque(self, client: Conn) {
        match self.dial().await {
            Ok((dialled, server)) => {
                let _serving = dialled.upstream.load.serving();
                self.join(&dialled, client, server).await;
            }
            Err(failure) => self.refuse(client, &failure),
        }
    }

    async fn join(&self, dialled: &Dialled, client: Conn, server: Conn) {
        let _open = self.worker.shared.metrics.connection(Direction::Outbound, "tcp", false);
        let moved = join(&self.worker, client, server).await;
        self.closed(Some(dialled), "", moved);
    }

    /// An immediate reset: an orderly close would look like an empty answer.
    fn refuse(&self, client: Conn, failure: &Failure) {
        tracing::debug!(service = %self.service, %failure, "connection refused");
        self.worker.shared.metrics.refused_connection(failure.reason());
        self.closed(None, failure.reason(), Moved::default());
        client.abort();
    }

    /// A connection of its own to one endpoint; others are tried when it cannot be made, for nothing has been sent yet.
    async fn dial(&self) -> Result<(Dialled, Conn), Failure> {
        let plan = self.straight(self.present(), None);
        let mut attempts = Attempts::new(&plan);
        loop {
            let upstream = attempts.pick(Instant::now())?;
            let begun = upstream.load.begin(Instant::now());
            let dialled = upstream.tcp(plan.port_of(&upstream), plan.connect_timeout()).await;
            attempts.ended(&upstream, begun, dialled.as_ref().err());
            match dialled {
                Ok(conn) => return Ok((Dialled { upstream, attempts: attempts.made() }, conn)),
                Err(failure) => match attempts.again(&upstream, &failure, Sent::NOTHING) {
                    Verdict::Retry(pause) => tokio::time::sleep(pause).await,
                    Verdict::GiveUp(why) => return Err(why.instead_of(failure)),
                },
            }
        }
    }
}

impl Session {
    /// Serves the connection to its end. What is seldom idle, or large, is boxed: the task of an idle HTTP/1 connection is small.
    pub async fn serve(self, _ticket: Ticket) {
        let Self { mut outbound, first, client } = self;
        let metrics = outbound.worker.shared.metrics.clone();
        outbound.version = if first == First::Http2 { "2" } else { "1.1" };
        match first {
            First::Http1 => {
                let _open = metrics.connection(Direction::Outbound, "http1", false);
                http1::serve::serve(&outbound, client).await;
            }
            First::Http2 => {
                let _open = metrics.connection(Direction::Outbound, "http2", false);
                if let Err(error) = Box::pin(http2::serve::serve(Rc::new(outbound), client)).await {
                    tracing::debug!(%error, "HTTP/2 connection ended");
                    metrics.malformed("http2");
                }
            }
            _ => Box::pin(outbound.opaque(client)).await,
        }
    }
}
