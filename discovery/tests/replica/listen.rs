//! The listener for proxies against what is no proxy: counted and closed, and everybody else is served on.
//!
//! Each test ends with a workload that joins and subscribes as if nothing had happened.

use crate::plane::Plane;
use crate::workload::{Workload, certify, channel, discovery_id};
use std::io::ErrorKind;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Code;
use weft_discovery::metrics::Outcome;
use weft_identity::certificate::{Authority, Credentials, Key};
use weft_identity::tls::{Alpn, bootstrap_client_config, client_config};
use weft_model::SpiffeId;
use weft_proto::v1;
use weft_proto::v1::discovery_client::DiscoveryClient;

/// Sends bytes and waits until the other side closes.
async fn closes_after(address: SocketAddr, bytes: &[u8]) {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(bytes).await.unwrap();
    let mut rest = Vec::new();
    match tcp.read_to_end(&mut rest).await {
        Ok(_) => {}
        Err(e) => assert_eq!(e.kind(), ErrorKind::ConnectionReset),
    }
}

async fn counted(plane: &Plane, outcome: &'static str, number: u64) {
    let count = || plane.metrics.handshakes.get_or_create(&Outcome::of(outcome)).get();
    crate::eventually(outcome, async || count() >= number).await;
}

#[tokio::test]
async fn what_is_not_tls_is_counted_and_closed() {
    let fixture = crate::stores::embedded();
    let plane = Plane::start(&fixture).await;
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0x16, 3, 1, 0xff, 0xff, 1, 2, 3],
        &[0; 600],
    ] {
        closes_after(plane.address, bytes).await;
    }
    counted(&plane, "malformed", 3).await;
    Workload::join(&plane, "shop", "web").await.subscribe("web-0").await;
}

#[tokio::test]
async fn what_is_not_http2_inside_tls_is_counted_and_closed() {
    let fixture = crate::stores::embedded();
    let plane = Plane::start(&fixture).await;
    let config = bootstrap_client_config(&plane.anchors().await, &discovery_id()).unwrap();
    let tls = async || {
        let tcp = TcpStream::connect(plane.address).await.unwrap();
        TlsConnector::from(config.clone()).connect(plane.address.ip().into(), tcp).await.unwrap()
    };
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let bad: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        // A frame longer than was allowed, a stream that was never opened, and garbage for a header block.
        &[&preface[..], &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]].concat(),
        &[&preface[..], &[0, 0, 1, 0, 0, 0, 0, 0, 1, 9]].concat(),
        &[&preface[..], &[0, 0, 3, 1, 5, 0, 0, 0, 1, 0xff, 0xff, 0xff]].concat(),
    ];
    for bytes in bad {
        let mut stream = tls().await;
        stream.write_all(bytes).await.unwrap();
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(crate::PATIENCE, stream.read_to_end(&mut rest)).await.expect("it stays open");
    }
    let errors = || plane.metrics.connection_errors.get();
    crate::eventually("all four are counted", async || errors() >= 4).await;
    Workload::join(&plane, "shop", "web").await.subscribe("web-0").await;
}

#[tokio::test]
async fn callers_without_a_certificate_may_only_certify() {
    let fixture = crate::stores::embedded();
    let plane = Plane::start(&fixture).await;
    let config = bootstrap_client_config(&plane.anchors().await, &discovery_id()).unwrap();
    let mut client = DiscoveryClient::new(channel(plane.address, config).await);
    let refused = client.heartbeat(v1::HeartbeatRequest { lease: 1 }).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let refused = client.subscribe(tokio_stream::pending()).await.err().unwrap();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(certify(&plane, &Key::generate(), None).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn certificates_of_another_mesh_are_refused() {
    let fixture = crate::stores::embedded();
    let plane = Plane::start(&fixture).await;
    let stranger = Authority::generate("weft.local").unwrap();
    let (key, id) = (Key::generate(), SpiffeId::new("weft.local", "shop", "web").unwrap());
    let lifetime = std::time::Duration::from_secs(3600);
    let signed = stranger.sign(&key.csr(), &id, std::time::SystemTime::now(), lifetime).unwrap();
    let anchors = [plane.anchors().await, vec![stranger.certificate().clone()]].concat();
    let credentials = Credentials::new(vec![signed.leaf], key.private(), anchors).unwrap();
    let config = client_config(&credentials, &discovery_id(), Alpn::Rpc);
    let tcp = TcpStream::connect(plane.address).await.unwrap();
    let mut stream = TlsConnector::from(config).connect(plane.address.ip().into(), tcp).await.unwrap();
    let mut rest = Vec::new();
    assert!(stream.read_to_end(&mut rest).await.is_err(), "TLS 1.3 tells the client at its first read");
    counted(&plane, "bad-certificate", 1).await;
}
