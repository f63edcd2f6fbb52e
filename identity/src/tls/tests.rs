//! Handshakes in memory: what both sides learn of each other when they succeed, and every way to be refused.
//! No sockets and no clocks but the real one; certificates are signed for other times instead.

use super::*;
use crate::certificate::{Authority, Key};
use crate::rotate::Identity;
use rustls::{ClientConnection, Error, HandshakeKind, ServerConnection};
use rustls_pki_types::ServerName;
use std::io::{Read, Write};
use std::time::SystemTime;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn id(account: &str) -> SpiffeId {
    SpiffeId::new("weft.local", "shop", account).unwrap()
}

fn anchor(authority: &Authority) -> CertificateDer<'static> {
    authority.certificate().clone()
}

fn signed_at(authority: &Authority, id: &SpiffeId, anchors: &[&Authority], now: SystemTime) -> Credentials {
    let key = Key::generate();
    let signed = authority.sign(&key.csr(), id, now, DAY).unwrap();
    Credentials::new(vec![signed.leaf], key.private(), anchors.iter().map(|a| anchor(a)).collect()).unwrap()
}

fn credentials(authority: &Authority, account: &str) -> Credentials {
    signed_at(authority, &id(account), &[authority], SystemTime::now())
}

fn root() -> Authority {
    Authority::generate("weft.local").unwrap()
}

/// Runs a handshake to its end and sends one byte each way, so that a TLS 1.3 client sees the server's verdict.
fn connect(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection), Error> {
    let name = ServerName::IpAddress(std::net::IpAddr::from([10, 0, 0, 1]).into());
    let mut client = ClientConnection::new(client, name)?;
    let mut server = ServerConnection::new(server)?;
    client.writer().write_all(b"c").unwrap();
    server.writer().write_all(b"s").unwrap();
    let mut wire = Vec::new();
    while client.wants_write() || server.wants_write() {
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        while !wire.is_empty() {
            let taken = server.read_tls(&mut &wire[..]).unwrap();
            wire.drain(..taken);
            server.process_new_packets()?;
        }
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        while !wire.is_empty() {
            let taken = client.read_tls(&mut &wire[..]).unwrap();
            wire.drain(..taken);
            client.process_new_packets()?;
        }
    }
    let mut byte = [0];
    server.reader().read_exact(&mut byte).unwrap();
    client.reader().read_exact(&mut byte).unwrap();
    Ok((client, server))
}

fn inbound(credentials: &Credentials) -> Arc<ServerConfig> {
    server_config(credentials, &[Alpn::H2, Alpn::Http1, Alpn::Tcp], Clients::Required)
}

#[test]
fn both_sides_learn_who_the_other_is_and_what_is_spoken() {
    let root = root();
    let server = inbound(&credentials(&root, "search"));
    for alpn in [Alpn::Http1, Alpn::H2, Alpn::Tcp] {
        let client = client_config(&credentials(&root, "cart"), &id("search"), alpn);
        let (client, server) = connect(client, server.clone()).unwrap();
        assert_eq!(peer(client.peer_certificates()), Some(id("search")));
        assert_eq!(peer(server.peer_certificates()), Some(id("cart")));
        assert_eq!(server.alpn_protocol().and_then(Alpn::from_bytes), Some(alpn));
        assert_eq!(client.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        assert_eq!(server.server_name(), None, "no SNI goes out");
    }
}

#[test]
fn sessions_are_resumed_and_still_name_the_peer() {
    let root = root();
    let server = inbound(&credentials(&root, "search"));
    let client = client_config(&credentials(&root, "cart"), &id("search"), Alpn::H2);
    connect(client.clone(), server.clone()).unwrap();
    let (_, again) = connect(client.clone(), server).unwrap();
    assert_eq!(again.handshake_kind(), Some(HandshakeKind::Resumed));
    assert_eq!(peer(again.peer_certificates()), Some(id("cart")));
    let (_, renewed) = connect(client, inbound(&credentials(&root, "search"))).unwrap();
    assert_eq!(renewed.handshake_kind(), Some(HandshakeKind::Full), "tickets die with their configuration");
}

#[test]
fn either_side_can_insist_on_full_handshakes() {
    let root = root();
    let identity = |account, sessions| Identity::new(credentials(&root, account), sessions);
    for (client, server) in [(Sessions::Forgotten, Sessions::Resumed), (Sessions::Resumed, Sessions::Forgotten)] {
        let (cart, search) = (identity("cart", client), identity("search", server));
        for renewed in [false, true] {
            if renewed {
                cart.install(credentials(&root, "cart"));
                search.install(credentials(&root, "search"));
            }
            for _ in 0..3 {
                let (_, server) = connect(cart.client(&id("search"), Alpn::Tcp), search.server()).unwrap();
                assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full), "{client:?} {renewed}");
            }
        }
    }
}

#[test]
fn a_server_that_is_another_workload_is_refused() {
    let root = root();
    let client = client_config(&credentials(&root, "cart"), &id("search"), Alpn::H2);
    let error = connect(client, inbound(&credentials(&root, "ranking"))).unwrap_err();
    let expected = Box::new(id("search"));
    assert_eq!(refusal(&error), Some(&PeerRefused::OtherWorkload { expected, presented: Box::new(id("ranking")) }));
    assert!(error.to_string().contains("the server is spiffe://weft.local/ns/shop/sa/ranking, not"), "{error}");
}

#[test]
fn a_client_of_another_trust_domain_is_refused_though_its_root_is_trusted() {
    let (ours, theirs) = (root(), Authority::generate("other.example").unwrap());
    let stranger = SpiffeId::new("other.example", "shop", "cart").unwrap();
    let server = inbound(&signed_at(&ours, &id("search"), &[&ours, &theirs], SystemTime::now()));
    let stranger = signed_at(&theirs, &stranger, &[&ours, &theirs], SystemTime::now());
    let error = connect(client_config(&stranger, &id("search"), Alpn::H2), server).unwrap_err();
    assert!(matches!(refusal(&error), Some(PeerRefused::OtherTrustDomain { .. })), "{error}");
}

#[test]
fn expired_certificates_are_refused_by_either_side() {
    let root = root();
    let long_ago = SystemTime::now() - 3 * DAY;
    let expired = |account| signed_at(&root, &id(account), &[&root], long_ago);
    let stale_server =
        connect(client_config(&credentials(&root, "cart"), &id("search"), Alpn::H2), inbound(&expired("search")));
    let stale_client =
        connect(client_config(&expired("cart"), &id("search"), Alpn::H2), inbound(&credentials(&root, "search")));
    for outcome in [stale_server, stale_client] {
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::InvalidCertificate(rustls::CertificateError::ExpiredContext { .. })), "{error}");
    }
}

#[test]
fn certificates_under_an_unknown_root_are_refused_by_either_side() {
    let (ours, theirs) = (root(), root());
    let (cart, search) = (credentials(&ours, "cart"), credentials(&theirs, "search"));
    // The client trusts both roots, the server only its own.
    let trusting = signed_at(&ours, &id("cart"), &[&ours, &theirs], SystemTime::now());
    for client in [cart, trusting] {
        let error = connect(client_config(&client, &id("search"), Alpn::H2), inbound(&search)).unwrap_err();
        let unknown = matches!(
            error,
            Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature)
        );
        assert!(unknown, "{error}");
    }
}

#[test]
fn two_roots_live_at_once_while_one_replaces_the_other() {
    let (old, new) = (root(), root());
    let both = [&old, &new];
    let identity = |account| Identity::new(signed_at(&old, &id(account), &both, SystemTime::now()), Sessions::Resumed);
    let (cart, search) = (identity("cart"), identity("search"));
    let live = connect(cart.client(&id("search"), Alpn::H2), search.server()).unwrap();
    search.install(signed_at(&new, &id("search"), &both, SystemTime::now()));
    connect(cart.client(&id("search"), Alpn::H2), search.server()).unwrap();
    cart.install(signed_at(&new, &id("cart"), &both, SystemTime::now()));
    connect(cart.client(&id("search"), Alpn::H2), search.server()).unwrap();
    // The connection of before the rotation still carries data.
    let (mut client, mut server) = live;
    client.writer().write_all(b"still here").unwrap();
    let mut wire = Vec::new();
    client.write_tls(&mut wire).unwrap();
    server.read_tls(&mut &wire[..]).unwrap();
    assert_eq!(server.process_new_packets().unwrap().plaintext_bytes_to_read(), 10);
}

#[test]
fn tls_1_2_is_refused() {
    let root = root();
    let cart = credentials(&root, "cart");
    let client = ClientConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(cart.roots.clone())
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(cart.certified.clone())));
    let error = connect(Arc::new(client), inbound(&credentials(&root, "search"))).unwrap_err();
    assert!(matches!(error, Error::PeerIncompatible(_)), "{error}");
}

#[test]
fn a_client_without_a_certificate_gets_in_only_where_that_is_allowed() {
    let root = root();
    let discovery = credentials(&root, "weft-discovery");
    let client = bootstrap_client_config(&[anchor(&root)], &id("weft-discovery")).unwrap();
    let (_, server) = connect(client.clone(), server_config(&discovery, &[Alpn::Rpc], Clients::Optional)).unwrap();
    assert_eq!(peer(server.peer_certificates()), None);
    assert!(connect(client, server_config(&discovery, &[Alpn::Rpc], Clients::Required)).is_err());
    assert!(bootstrap_client_config(&[], &id("weft-discovery")).is_err());
}

#[test]
fn a_client_that_speaks_something_else_is_refused() {
    let root = root();
    let client = client_config(&credentials(&root, "cart"), &id("search"), Alpn::Rpc);
    assert!(connect(client, inbound(&credentials(&root, "search"))).is_err());
}
