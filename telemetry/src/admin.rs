//! The admin endpoint that every program has: `/metrics`, `/livez`, `/readyz`, and what the program adds.
//!
//! For scrapers, probes and people, never on the request path. Readiness is a set of named conditions; the answer lists
//! those that are not met. At shutdown, connections that linger are cut after a moment.

mod readiness;

pub use readiness::{Condition, Readiness};

use crate::metrics::{CONTENT_TYPE, Registry};
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::future::{Future, IntoFuture};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// How long requests may go on after shutdown has begun.
const LINGER: Duration = Duration::from_secs(2);

/// The pages of one program.
#[derive(Debug)]
pub struct Admin(Router);

impl Admin {
    pub fn new(registry: impl Into<Arc<Registry>>, readiness: Readiness) -> Self {
        let registry = registry.into();
        let metrics = move || async move { metrics(&registry) };
        let ready = move || async move { ready(&readiness) };
        Self(
            Router::new()
                .route("/metrics", get(metrics))
                .route("/livez", get(|| async { "ok\n" }))
                .route("/readyz", get(ready)),
        )
    }

    /// Adds the program's own pages, which can ask for `ConnectInfo<SocketAddr>` to see who calls.
    ///
    /// # Panics
    /// When a path is taken already: a fault of the program, met at every start.
    pub fn merge(self, pages: Router) -> Self {
        Self(self.0.merge(pages))
    }

    /// Serves until `shutdown` is done, and a moment longer for requests that have begun.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let (ending, ended) = oneshot::channel();
        let shutdown = async move {
            shutdown.await;
            // Nobody listens any more when the server has ended by itself.
            let _ = ending.send(());
        };
        let cut = async {
            match ended.await {
                Ok(()) => tokio::time::sleep(LINGER).await,
                Err(_) => std::future::pending().await,
            }
        };
        let pages = self.0.into_make_service_with_connect_info::<SocketAddr>();
        tokio::select! {
            served = axum::serve(listener, pages).with_graceful_shutdown(shutdown).into_future() => served,
            () = cut => Ok(()),
        }
    }
}

fn metrics(registry: &Registry) -> Response {
    match registry.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "a metric could not be encoded\n").into_response(),
    }
}

fn ready(readiness: &Readiness) -> Response {
    let unmet = readiness.unmet();
    if unmet.is_empty() {
        return "ready\n".into_response();
    }
    let mut body = "not ready\n".to_owned();
    for (name, reason) in unmet {
        body.push_str(&format!("{name}: {reason}\n"));
    }
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    async fn fetch(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn probes_and_scrapers_get_their_answers() {
        let readiness = Readiness::default();
        let catalog = readiness.require("catalog", "nothing heard from discovery yet");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let admin = Admin::new(Registry::new("weft-proxy", "1.2.3"), readiness)
            .merge(Router::new().route("/dump", get(|| async { "dumped" })));
        let served = tokio::spawn(admin.serve(listener, async move { stopped.await.unwrap() }));

        assert!(fetch(address, "/livez").await.starts_with("HTTP/1.1 200"));
        let unready = fetch(address, "/readyz").await;
        assert!(unready.starts_with("HTTP/1.1 503"), "{unready}");
        assert!(unready.ends_with("not ready\ncatalog: nothing heard from discovery yet\n"), "{unready}");
        catalog.met();
        assert!(fetch(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        let metrics = fetch(address, "/metrics").await;
        assert!(metrics.contains(CONTENT_TYPE) && metrics.contains("weft_build_info"), "{metrics}");
        assert!(fetch(address, "/dump").await.ends_with("dumped"));
        assert!(fetch(address, "/nothing").await.starts_with("HTTP/1.1 404"));

        // A connection that says nothing does not hold the shutdown up for ever.
        let _silent = TcpStream::connect(address).await.unwrap();
        stop.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(20), served).await.unwrap().unwrap().unwrap();
    }
}
