//! The story of one connection that has reached this pod.
//!
//! accept -> **inbound** -> TLS by ALPN -> checkpoint -> (http1 | http2 | tunnel) -> the application. A peer's sidecar says by ALPN what is
//! inside, so nothing is guessed; its identity, checked by the handshake, is told to the application in
//! `x-forwarded-client-cert`, a name that no client can use itself. Without a sidecar on the other side the bytes are
//! looked at as on the way out.

mod checkpoint;
mod ruling;

pub use ruling::{answer as authorize, limits};

use crate::cluster::Upstream;
use crate::conn::{Conn, tls};
use crate::detect::{Hello, client_hello_alpn};
use crate::drain::{Direction, Ticket};
use crate::error::Failure;
use crate::gate::{Guard, Peer};
use crate::limit;
use crate::plan::{Limits, Place, Plan, Planned, Story, Target};
use crate::record::{Closed, Observed, Watch};
use crate::request::RequestView;
use crate::sniff::{self, First};
use crate::tunnel::{self, Moved};
use crate::worker::Worker;
use crate::{http1, http2, probe};
use bytes::BytesMut;
use checkpoint::Checkpoint;
use std::cell::OnceCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout;
use weft_identity::{spiffe, tls::Alpn};

/// The field that carries the peer's identity, in Envoy's form.
const PEER: &str = "x-forwarded-client-cert";
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the application may take to accept.
const LOCAL_CONNECT: Duration = Duration::from_secs(5);
/// What is read of an application that speaks first.
const FIRST_READ: usize = 4 * 1024;

/// Where a connection has arrived, and from whom.
struct Inbound {
    worker: Rc<Worker>,
    limits: Limits,
    upstream: Rc<Upstream>,
    address: SocketAddr,
    guard: Rc<Guard>,
    peer: Peer,
    added: Vec<(&'static str, String)>,
    checkpoint: Checkpoint,
    /// Who is told of its requests, once anybody is.
    watch: OnceCell<Rc<Watch>>,
    /// Of HTTP.
    version: &'static str,
    begun: Instant,
    /// Among the connections of its port, where their number is limited.
    _place: Option<limit::Place>,
}

/// A connection of which it is known what it is.
pub struct Session {
    inbound: Inbound,
    first: First,
    client: Conn,
}

/// Finds out what the connection that was going to `destination`, an address of this pod, is. `None`: it has come to its end.
pub async fn recognize(
    worker: Rc<Worker>,
    stream: TcpStream,
    peer: SocketAddr,
    destination: SocketAddr,
) -> Option<Session> {
    let config = &worker.shared.config;
    if destination.port() == config.inbound_port {
        // Dialled by its own port, past the redirect: there is no application to go to.
        Conn::plain(stream, BytesMut::new()).abort();
        return None;
    }
    let guard = worker.guard(destination);
    let place = match guard.connect() {
        Ok(place) => place,
        Err(failure) => {
            worker.shared.metrics.refused_connection(failure.reason());
            Conn::plain(stream, BytesMut::new()).abort();
            return None;
        }
    };
    let limits = Limits { header_timeout: config.header_timeout, max_head: config.max_header_bytes };
    let upstream = worker.local(destination);
    let checkpoint = Checkpoint::new(Rc::clone(&worker), peer.ip(), destination.port());
    let (address, added, watch, begun) = (destination, Vec::new(), OnceCell::new(), Instant::now());
    let peer_of = Peer::at(peer);
    let inbound = Inbound {
        worker,
        limits,
        upstream,
        address,
        guard,
        peer: peer_of,
        added,
        checkpoint,
        watch,
        version: "",
        begun,
        _place: place,
    };
    inbound.recognize(stream, peer).await
}

/// Whether the client is a sidecar: its ClientHello offers one of the mesh's protocols.
async fn is_hello(stream: &mut TcpStream, buf: &mut BytesMut) -> bool {
    use tokio::io::AsyncReadExt;
    let read = async {
        loop {
            match client_hello_alpn(buf) {
                Hello::NotTls => return false,
                Hello::Offers(protocols) => return protocols.iter().any(|p| p.starts_with(b"weft-")),
                Hello::NeedMore => {}
            }
            if !matches!(stream.read_buf(buf).await, Ok(n) if n > 0) {
                return false;
            }
        }
    };
    timeout(HANDSHAKE, read).await.unwrap_or(false)
}

impl Inbound {
    async fn recognize(mut self, mut stream: TcpStream, peer: SocketAddr) -> Option<Session> {
        let (mut buf, wait) = (BytesMut::new(), self.worker.shared.config.detect_timeout);
        // Also where the application is known to speak first: bytes in the clear must not overtake a sidecar's ClientHello.
        match sniff::first(&mut stream, &mut buf, wait).await {
            First::Gone => None,
            // Boxed, as the handshake: it is rare, or short.
            First::Silent => Box::pin(self.server_first(stream)).await,
            First::Http1 | First::Http2 if self.is_opaque() => {
                Some(Session { inbound: self, first: First::Opaque, client: Conn::plain(stream, buf) })
            }
            First::Tls | First::Opaque if is_hello(&mut stream, &mut buf).await => {
                match Box::pin(self.handshake(stream, buf)).await {
                    Ok(client) => self.negotiated(client).await,
                    Err(reason) => {
                        tracing::info!(%peer, reason, "TLS handshake failed");
                        self.worker.shared.metrics.handshake_failed(Direction::Inbound);
                        None
                    }
                }
            }
            first => Some(Session { inbound: self, first, client: Conn::plain(stream, buf) }),
        }
    }

    /// Whether this port is never looked at. What another sidecar says by ALPN was declared, and is believed.
    fn is_opaque(&self) -> bool {
        self.worker.shared.config.is_opaque(self.address.port())
    }

    async fn handshake(&mut self, stream: TcpStream, buf: BytesMut) -> Result<Conn, String> {
        let config = self.worker.shared.identity.server();
        let (tls, leaf) = timeout(HANDSHAKE, tls::handshake::accept(stream, buf, config))
            .await
            .map_err(|_| "timeout".to_owned())?
            .map_err(|error| error.to_string())?;
        let peer = leaf.and_then(|leaf| spiffe::id_of(&leaf).ok()).ok_or("no identity")?;
        let own = self.worker.shared.identity.credentials();
        self.peer.known_as(&peer.to_string());
        self.added.push((PEER, format!("By={};URI={peer}", own.id)));
        self.checkpoint.identified(peer);
        Ok(Conn::tls(tls))
    }

    /// A balancer's questions, for as long as this pod takes new work.
    async fn probed(self, client: Conn) {
        let _open = self.worker.shared.metrics.connection(Direction::Inbound, "probe", true);
        tokio::select! {
            // The other side notices by the end of the connection, and asks again or does not.
            _ = probe::answer(client, &self.upstream.load) => {}
            () = self.wait_draining() => {}
        }
    }

    /// A sidecar has said what it brings.
    async fn negotiated(self, client: Conn) -> Option<Session> {
        let first = match client.alpn() {
            Some(Alpn::Probe) => {
                Box::pin(self.probed(client)).await;
                return None;
            }
            Some(Alpn::Http1) => First::Http1,
            Some(Alpn::H2) => First::Http2,
            _ => First::Opaque,
        };
        Some(Session { inbound: self, first, client })
    }

    fn watched(&self) -> Rc<Watch> {
        Rc::new(Watch {
            observer: Arc::clone(&self.worker.shared.observer),
            direction: Direction::Inbound,
            service: self.worker.shared.config.service_of(self.address.port()),
            port: self.address.port(),
            peer: self.checkpoint.identity().map(ToString::to_string),
            client: Some(self.checkpoint.address()),
            version: self.version,
        })
    }

    /// Tells watchers of an opaque connection that has ended.
    fn closed(&self, reached: bool, reason: &'static str, moved: Moved) {
        if !self.worker.shared.observer.taps.on() {
            return;
        }
        let Moved { sent, received } = moved;
        let upstream = reached.then_some(&*self.upstream);
        let closed = Closed { begun: self.begun, upstream, attempts: 0, reason, sent, received };
        self.watch.get_or_init(|| self.watched()).closed(&closed);
    }

    /// The client waits to be spoken to, or takes its time: the application is connected, and whoever speaks first decides
    /// what this is.
    async fn server_first(self, mut stream: TcpStream) -> Option<Session> {
        self.checkpoint.told().await;
        let server = match self.checkpoint.surely() {
            Ok(()) => self.upstream.tcp(self.address.port(), LOCAL_CONNECT).await,
            Err(failure) => Err(failure),
        };
        let mut server = match server {
            Ok(server) => server,
            Err(failure) => {
                self.refuse(Conn::plain(stream, BytesMut::new()), &failure);
                return None;
            }
        };
        let mut buf = BytesMut::new();
        let first = tokio::select! {
            // Its end or failure is the tunnel's to pass on.
            _ = server.fill(FIRST_READ) => First::Opaque,
            first = sniff::at_leisure(&mut stream, &mut buf, self.worker.shared.config.detect_timeout) => first,
        };
        let client = Conn::plain(stream, buf);
        match first {
            First::Http1 | First::Http2 if !self.is_opaque() => Some(Session { inbound: self, first, client }),
            _ => {
                match self.checkpoint.opaque() {
                    Ok(()) => self.join(client, server).await,
                    Err(failure) => self.refuse(client, &failure),
                }
                None
            }
        }
    }

    async fn opaque(self, client: Conn) {
        if let Err(failure) = self.checkpoint.opaque() {
            return self.refuse(client, &failure);
        }
        match self.upstream.tcp(self.address.port(), LOCAL_CONNECT).await {
            Ok(server) => self.join(client, server).await,
            Err(failure) => self.refuse(client, &failure),
        }
    }

    async fn join(&self, mut client: Conn, mut server: Conn) {
        let metrics = &self.worker.shared.metrics;
        let _open = metrics.connection(Direction::Inbound, "tcp", client.is_tls());
        let (moved, result) = tunnel::run(&mut client, &mut server).await;
        metrics.tunnelled(Direction::Inbound, moved.sent, moved.received);
        self.closed(true, "", moved);
        if result.is_err() {
            client.abort();
            server.abort();
        }
    }

    /// Of the application's, or not allowed: a reset, which the other sidecar hands on to its client.
    fn refuse(&self, client: Conn, failure: &Failure) {
        tracing::debug!(address = %self.address, %failure, "a connection is refused");
        self.worker.shared.metrics.refused_connection(failure.reason());
        self.closed(false, failure.reason(), Moved::default());
        client.abort();
    }
}

impl Session {
    /// Serves the connection to its end. What is seldom idle, or large, is boxed: the task of an idle HTTP/1 connection is small.
    pub async fn serve(self, _ticket: Ticket) {
        let Self { mut inbound, first, client } = self;
        let metrics = inbound.worker.shared.metrics.clone();
        inbound.version = if first == First::Http2 { "2" } else { "1.1" };
        inbound.checkpoint.told().await;
        match first {
            First::Http1 => {
                let _open = metrics.connection(Direction::Inbound, "http1", client.is_tls());
                http1::serve::serve(&inbound, client).await;
            }
            First::Http2 => {
                let _open = metrics.connection(Direction::Inbound, "http2", client.is_tls());
                if let Err(error) = Box::pin(http2::serve::serve(Rc::new(inbound), client)).await {
                    tracing::debug!(%error, "HTTP/2 connection ended");
                    metrics.malformed("http2");
                }
            }
            _ => Box::pin(inbound.opaque(client)).await,
        }
    }
}

impl Story for Inbound {
    async fn plan(&self, request: &impl RequestView) -> Result<Planned, Failure> {
        self.checkpoint.request(request)?;
        let gate = self.guard.gate();
        let admission = gate.map(|gate| gate.admit(request, &self.peer, Instant::now())).transpose()?;
        Ok(Planned::Forward(Plan {
            target: Target::Local { upstream: Rc::clone(&self.upstream), port: self.address.port() },
            rule: None,
            request_timeout: None,
            deadline: None,
            mirrors: Vec::new(),
            place: Place::default(),
            observed: Observed::default(),
            try_timeout: None,
            admission: admission.map(Box::new),
        }))
    }

    fn added(&self) -> &[(&'static str, String)] {
        &self.added
    }

    fn removed(&self) -> &'static [&'static str] {
        &[PEER]
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
        self.worker.shared.drain.wait_closed(Direction::Inbound).await;
    }

    fn watch(&self) -> Option<&Rc<Watch>> {
        self.worker.shared.observer.listens().then(|| self.watch.get_or_init(|| self.watched()))
    }

    fn mirror_dropped(&self) {
        self.worker.shared.metrics.mirror_dropped();
    }

    fn refused(&self, protocol: &'static str, failure: &Failure, took: Duration) {
        if matches!(failure, Failure::MalformedRequest(_) | Failure::HeadersTooLarge) {
            self.worker.shared.metrics.malformed(protocol);
        }
        self.upstream.meter.record("", failure.status(), failure.reason(), took);
    }
}
