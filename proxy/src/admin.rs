//! The proxy's admin endpoint: metrics and probes for everybody who can reach it, `/dump` for the pod itself.
//!
//! Beside the request path, on the control runtime. What a proxy knows of the mesh is no secret to the pod it serves, and
//! nobody else's business: other peers get 403.

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::net::SocketAddr;
use std::sync::Arc;
use weft_telemetry::admin::{Admin, Readiness};
use weft_telemetry::metrics::Registry;

/// The pages, ready to be served. `dump` makes the JSON text that says what the proxy knows.
pub fn admin(
    registry: impl Into<Arc<Registry>>,
    readiness: Readiness,
    dump: impl Fn() -> String + Clone + Send + Sync + 'static,
) -> Admin {
    let page = move |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { answer(peer, &dump) };
    Admin::new(registry, readiness).merge(Router::new().route("/dump", get(page)))
}

fn answer(peer: SocketAddr, dump: &impl Fn() -> String) -> Response {
    // A listener for both families sees IPv4 peers in their IPv6 form.
    if peer.ip().to_canonical().is_loopback() {
        ([(header::CONTENT_TYPE, "application/json")], dump()).into_response()
    } else {
        (StatusCode::FORBIDDEN, "only for peers on loopback\n").into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    #[test]
    fn only_loopback_peers_get_a_dump() {
        let status = |peer: &str| answer(peer.parse().unwrap(), &|| "{}".to_owned()).status();
        for peer in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(status(peer), StatusCode::OK, "{peer}");
        }
        for peer in ["10.0.0.1:1", "[fd00::1]:1", "[::ffff:10.0.0.1]:1"] {
            assert_eq!(status(peer), StatusCode::FORBIDDEN, "{peer}");
        }
    }

    #[tokio::test]
    async fn the_dump_is_served_beside_the_probes() {
        let pages = admin(Registry::new("weft-proxy", "1.2.3"), Readiness::default(), || "{\"a\":1}".to_owned());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = tokio::spawn(pages.serve(listener, std::future::pending()));
        for (path, end) in [("/dump", "{\"a\":1}"), ("/readyz", "ready\n")] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(end), "{answer}");
        }
        served.abort();
    }
}
