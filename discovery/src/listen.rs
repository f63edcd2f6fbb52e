//! The listener for proxies: TCP -> TLS -> HTTP/2 -> the gRPC services, with the caller's identity on every request.
//!
//! Each connection has a task of its own; what goes wrong on one is counted and ends there. Handshakes are bounded in time
//! and number. At shutdown connections get GOAWAY, and a moment for what is still under way.

use crate::metrics::{Metrics, Outcome};
use crate::rpc::Caller;
use arc_swap::ArcSwap;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tower::ServiceExt;
use weft_identity::tls::{self, Alpn};

/// A handshake takes a few round trips; who needs longer is not coming.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Handshakes under way at the same time; further connections wait in the kernel's queue.
const HANDSHAKES: usize = 256;
/// How long requests may go on after shutdown has begun.
const LINGER: Duration = Duration::from_secs(3);
/// A connection that answers no ping is gone; streams notice sooner, by their beats.
const PING_EVERY: Duration = Duration::from_secs(20);
/// Accepting fails when file descriptors run out; then some have to be given back first.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What the listener serves, and with which certificate. Clones share it.
#[derive(Clone)]
pub struct Listener {
    pub tls: Arc<ArcSwap<ServerConfig>>,
    pub routes: Routes,
    pub metrics: Metrics,
}

impl Listener {
    /// Serves until `shutdown`, and a moment longer for what is under way.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
        let connections = TaskTracker::new();
        loop {
            let permit = handshakes.clone().acquire_owned().await.expect("the semaphore is never closed");
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            let (this, shutdown) = (self.clone(), shutdown.clone());
            connections.spawn(async move {
                let handshake = this.handshake(stream, address, &shutdown).await;
                drop(permit);
                if let Some((stream, caller)) = handshake {
                    this.connection(stream, caller, shutdown).await;
                }
            });
        }
        drop(listener);
        connections.close();
        let _ = tokio::time::timeout(LINGER, connections.wait()).await;
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        shutdown: &CancellationToken,
    ) -> Option<(TlsStream<TcpStream>, Caller)> {
        let _ = stream.set_nodelay(true);
        let handshake = TlsAcceptor::from(self.tls.load_full()).accept(stream);
        let (outcome, accepted) = tokio::select! {
            () = shutdown.cancelled() => return None,
            ended = tokio::time::timeout(HANDSHAKE_TIME, handshake) => match ended {
                Err(_) => ("timeout", None),
                Ok(Err(error)) => (refusal(&error), None),
                Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() != Some(Alpn::Rpc.as_bytes()) => ("no-alpn", None),
                Ok(Ok(stream)) => ("ok", Some(stream)),
            },
        };
        self.metrics.handshakes.get_or_create(&Outcome::of(outcome)).inc();
        let Some(stream) = accepted else {
            tracing::debug!(%address, outcome, "refused a connection");
            return None;
        };
        let shown = stream.get_ref().1.peer_certificates();
        let (identity, serial) = (tls::peer(shown), shown.and_then(|chain| serial(chain.first()?)));
        Some((stream, Caller { address: Some(address), identity, serial }))
    }

    async fn connection(&self, stream: TlsStream<TcpStream>, caller: Caller, shutdown: CancellationToken) {
        self.metrics.connections.inc();
        let address = caller.address;
        let routes = self.routes.clone().map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(caller.clone());
            request.map(tonic::body::Body::new)
        });
        let mut server = http2::Builder::new(TokioExecutor::new());
        server.timer(TokioTimer::new()).keep_alive_interval(PING_EVERY).keep_alive_timeout(PING_EVERY);
        server.max_concurrent_streams(128).max_header_list_size(16 * 1024);
        let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        self.metrics.connections.dec();
        if let Err(error) = ended {
            self.metrics.connection_errors.inc();
            tracing::debug!(?address, %error, "a connection broke");
        }
    }
}

/// As the ledger of certificates writes it.
fn serial(certificate: &[u8]) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(parsed.raw_serial_as_string().replace(':', ""))
}

/// A word for why a handshake failed.
fn refusal(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => "bad-certificate",
        Some(_) => "malformed",
        None => "broken",
    }
}
