//! The TLS server in front of the pages: the certificate may change between two connections, and nobody can hold it up.
//!
//! Handshakes and heads are bounded in time, connections in number. Told to end, it takes no more connections and lets the
//! open ones finish their requests.

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a handshake, or a request's head, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections at once; API servers keep one or two each.
const CONNECTIONS: usize = 512;
/// How long open requests may go on after the end was ordered.
const LINGER: Duration = Duration::from_secs(10);

/// Serves `pages` until `ended`, and a moment longer what has begun.
pub async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, pages: Router, ended: CancellationToken) {
    let acceptor = TlsAcceptor::from(tls);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let open = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ended.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => match Arc::clone(&room).try_acquire_owned() {
                Ok(place) => {
                    let connection = connection(stream, acceptor.clone(), pages.clone(), ended.clone(), place);
                    open.spawn(connection);
                }
                Err(_) => tracing::warn!(%peer, "too many connections; this one is closed"),
            },
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    open.close();
    let _ = tokio::time::timeout(LINGER, open.wait()).await;
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    pages: Router,
    ended: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    let stream = match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::warn!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("no TLS handshake in time"),
    };
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let serving = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(pages));
    tokio::pin!(serving);
    let finished = tokio::select! {
        finished = serving.as_mut() => finished,
        () = ended.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = finished {
        tracing::debug!(%error, "connection ended");
    }
}
