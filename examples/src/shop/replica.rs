//! What every replica of every service has: a name, an address to listen on, an orderly end.
//!
//! On SIGTERM a replica takes no new connections and finishes the requests it has; after [`DRAIN`] it ends anyway.

use anyhow::Context;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// How long requests may take to finish after SIGTERM.
pub const DRAIN: Duration = Duration::from_secs(5);

/// Flags of every service.
#[derive(Debug, Clone, clap::Args)]
pub struct Replica {
    /// This replica's name, told in every reply
    #[arg(long, env = "HOSTNAME", default_value = "unnamed")]
    pub name: String,
    /// Where to listen
    #[arg(long, default_value = "[::]:8080")]
    pub listen: SocketAddr,
}

/// Which HTTP a service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Http1,
    /// With prior knowledge.
    Http2,
}

impl Replica {
    pub async fn bind(&self) -> anyhow::Result<TcpListener> {
        let listener = TcpListener::bind(self.listen).await.with_context(|| format!("listen on {}", self.listen))?;
        tracing::info!(name = self.name, listen = %self.listen, "serving");
        Ok(listener)
    }

    /// Serves `routes` until SIGTERM.
    pub async fn serve(&self, version: Version, routes: Router) -> anyhow::Result<()> {
        let listener = self.bind().await?;
        let service = TowerToHyperService::new(routes.into_service::<hyper::body::Incoming>());
        let builder = auto::Builder::new(TokioExecutor::new());
        let builder = if version == Version::Http1 { builder.http1_only() } else { builder.http2_only() };
        let drain = GracefulShutdown::new();
        let mut end = std::pin::pin!(told_to_end());
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => accepted.context("accept")?.0,
                () = &mut end => break,
            };
            // Small replies should leave at once; a socket that is gone already fails when it is read.
            let _ = stream.set_nodelay(true);
            let connection = builder.serve_connection(TokioIo::new(stream), service.clone()).into_owned();
            let connection = drain.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!("connection: {error}");
                }
            });
        }
        drop(listener);
        // Whoever is not done by then is cut off.
        let _ = tokio::time::timeout(DRAIN, drain.shutdown()).await;
        Ok(())
    }
}

/// Resolves on SIGTERM or Ctrl-C.
pub async fn told_to_end() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// What carries a trace: W3C Trace Context and B3, and the request's id.
const TRACE: [&str; 9] = [
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "x-request-id",
];

/// Copies the trace context and the request's id from one hop to the next: all a service has to do for tracing.
pub fn carry_trace(from: &http::HeaderMap, to: &mut http::HeaderMap) {
    for name in TRACE {
        if let Some(value) = from.get(name) {
            to.insert(name, value.clone());
        }
    }
}
