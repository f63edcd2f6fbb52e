//! Probes of applications on loopback: what they are sent, and what the kubelet is told.
//!
//! Each application is a listener with one canned answer; gRPC is tonic's own health service.

use super::*;
use crate::config::Action;
use crate::config::tests::example;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tower::ServiceExt;
use weft_model::Port;

/// An application that answers every request with what `said` makes of it.
async fn application(said: fn(&str) -> String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap_or(0);
            let _ = stream.write_all(said(&String::from_utf8_lossy(&request[..length])).as_bytes()).await;
        }
    });
    port
}

fn http(path: &str, headers: &[(&'static str, &'static str)]) -> Action {
    let header = |(name, value): &(&'static str, &'static str)| {
        (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
    };
    Action::Http { path: path.to_owned(), tls: false, headers: headers.iter().map(header).collect() }
}

/// What the kubelet is told by the page of the probe `web/live`.
async fn told(action: Action, port: u16) -> (u16, String) {
    let timeout = Duration::from_secs(if matches!(action, Action::Tcp) { 5 } else { 2 });
    let probe = crate::config::ApplicationProbe { action, port: Port::new(port).unwrap(), timeout, hook: false };
    let mut config = example();
    config.address = vec!["127.0.0.1".parse().unwrap()];
    config.application_probes.insert("web/live".to_owned(), probe);
    ask(&Arc::new(config), "/application-probes/web/live").await
}

async fn ask(config: &Arc<Config>, path: &str) -> (u16, String) {
    let request = http::Request::get(path).header("user-agent", "kube-probe/1.36");
    let request = request.body(axum::body::Body::empty()).unwrap();
    let response = pages(config).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn the_application_is_asked_as_the_kubelet_would_ask() {
    let port = application(|request| {
        let wanted = ["GET /live?a=b HTTP/1.1\r\n", "host: shop\r\n", "user-agent: kube-probe/1.36\r\n", "x-a: 1\r\n"];
        let all = wanted.iter().all(|line| request.to_lowercase().contains(&line.to_lowercase()));
        format!("HTTP/1.1 {} X\r\ncontent-length: 0\r\n\r\n", if all { 204 } else { 418 })
    });
    let port = port.await;
    assert_eq!(told(http("/live?a=b", &[("host", "shop"), ("x-a", "1")]), port).await.0, 200);
    assert_eq!(told(http("/live", &[]), port).await, (418, "the application answers 418 I'm a teapot\n".to_owned()));
}

#[tokio::test]
async fn redirects_are_followed_within_the_pod_only() {
    let port = application(|request| {
        let (status, to) = match request.split(' ').nth(1) {
            Some("/old") => (302, "/new"),
            Some("/away") => (301, "https://example.com/"),
            Some("/round") => (307, "/round"),
            Some("/new") => (200, ""),
            _ => (500, ""),
        };
        format!("HTTP/1.1 {status} X\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
    });
    let port = port.await;
    for (path, status) in [("/old", 200), ("/away", 200), ("/round", 503), ("/other", 500)] {
        assert_eq!(told(http(path, &[]), port).await.0, status, "{path}");
    }
}

#[tokio::test]
async fn what_does_not_answer_is_not_well() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for action in [http("/", &[]), Action::Tcp, Action::Grpc { service: String::new() }] {
        let (status, why) = told(action, closed).await;
        assert!(status == 503 && why.starts_with("no connection to 127.0.0.1:"), "{status} {why}");
    }
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    assert_eq!(told(http("/", &[]), port).await.0, 504);
    assert_eq!(told(Action::Tcp, port).await.0, 200);
    let rude = application(|_| "SSH-2.0-x\r\n".to_owned()).await;
    assert_eq!(told(http("/", &[]), rude).await.0, 503);
}

#[tokio::test]
async fn grpc_health_is_asked_for() {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status("cart", tonic_health::ServingStatus::Serving).await;
    reporter.set_service_status("sick", tonic_health::ServingStatus::NotServing).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    for (service, status) in [("cart", 200), ("sick", 503), ("unknown", 503), ("", 200)] {
        let told = told(Action::Grpc { service: service.to_owned() }, port).await;
        assert_eq!(told.0, status, "{service}: {}", told.1);
    }
}

#[tokio::test]
async fn only_what_is_configured_can_be_asked_for() {
    let config = Arc::new(example());
    assert_eq!(ask(&config, "/application-probes/web/live").await.0, 404, "no pages at all");
    let port = application(|_| "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
    assert_eq!(told(http("/", &[]), port).await.0, 200);
    let mut config = example();
    let action = http("/", &[]);
    let probe =
        crate::config::ApplicationProbe { action, port: Port::MIN, timeout: Duration::from_secs(1), hook: false };
    config.application_probes.insert("web/live".to_owned(), probe);
    let config = Arc::new(config);
    for path in ["/application-probes/web/ready", "/application-probes/web/live/x", "/application-probes//live"] {
        assert_eq!(ask(&config, path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn a_hook_that_is_not_answered_leads_the_kubelet_to_where_it_fails() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let busy = application(|_| "HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
    let rude = application(|_| "SSH-2.0-x\r\n".to_owned()).await;
    for (port, status, to) in [(closed, 307, true), (rude, 307, true), (busy, 503, false)] {
        let probe = crate::config::ApplicationProbe {
            action: http("/drain?now", &[]),
            port: Port::new(port).unwrap(),
            timeout: Duration::from_secs(30),
            hook: true,
        };
        let mut config = example();
        config.address = vec!["127.0.0.1".parse().unwrap()];
        config.application_probes.insert("web/pre-stop".to_owned(), probe);
        let request = http::Request::get("/application-probes/web/pre-stop").header("host", "10.244.0.7:15020");
        let request = request.body(axum::body::Body::empty()).unwrap();
        let response = pages(&Arc::new(config)).oneshot(request).await.unwrap();
        let location = response.headers().get("location").map(|location| location.to_str().unwrap().to_owned());
        let expected = to.then(|| format!("application-does-not-answer://10.244.0.7:{port}/drain?now"));
        assert_eq!((response.status().as_u16(), location), (status, expected));
    }
}
