//! Certificates: who gets one, for whom, and how it is refused.
//!
//! Proofs are tried over TLS without a client certificate, as a new workload has to; renewals over mTLS.

use crate::both;
use crate::plane::{FAST, Plane};
use crate::stores::Fixture;
use crate::workload::{Workload, certify, credentials, discovery_id};
use std::time::SystemTime;
use tonic::Code;
use weft_identity::certificate::{Authority, Key};
use weft_proto::v1;
use weft_proto::v1::authority_client::AuthorityClient;
use weft_proto::v1::certify_request::Proof;

both! {
    a_join_token_brings_the_identity_it_was_made_for
    tokens_that_are_wrong_or_old_are_refused
    a_certificate_renews_itself
    tokens_are_made_for_sound_names_only
    the_root_stays_and_belongs_to_its_trust_domain
    an_operator_may_bring_the_root
}

async fn a_join_token_brings_the_identity_it_was_made_for(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    let token = plane.token("shop", "cart", 60).await.unwrap();
    let stored = fixture.store.range("tokens/").await.unwrap();
    let (name, secret) = token.split_once('.').unwrap();
    assert_eq!(stored.entries[0].key, format!("tokens/{name}"));
    assert!(!String::from_utf8_lossy(&stored.entries[0].value).contains(secret), "only its hash is kept");
    // Every replica of a deployment joins with the same token.
    for _ in 0..2 {
        let key = Key::generate();
        let response = certify(&plane, &key, Some(Proof::JoinToken(token.clone()))).await.unwrap();
        assert_eq!(response.identity, "spiffe://weft.local/ns/shop/sa/cart");
        let credentials = credentials(&key, response);
        let lifetime = credentials.not_after.duration_since(SystemTime::now()).unwrap();
        assert!((23..=24).contains(&(lifetime.as_secs() / 3600)), "{lifetime:?}");
    }
    let listed = plane.admin.clone().list_certificates(v1::ListCertificatesRequest {}).await.unwrap().into_inner();
    let carts = listed.certificates.iter().filter(|c| c.identity.ends_with("/ns/shop/sa/cart") && c.proxy == "cart-0");
    assert_eq!(carts.count(), 2);
    assert!(listed.certificates.iter().any(|c| c.identity == discovery_id().to_string()));
}

async fn tokens_that_are_wrong_or_old_are_refused(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    let key = Key::generate();
    let token = plane.token("shop", "cart", 1).await.unwrap();
    let (name, secret) = token.split_once('.').unwrap();
    let flipped = format!("{name}.{}{}", if secret.starts_with('A') { 'B' } else { 'A' }, &secret[1..]);
    for wrong in ["", "nothing", "..", "a/../b.c", &flipped, &format!("{name}."), &format!("x{token}")] {
        let refused = certify(&plane, &key, Some(Proof::JoinToken(wrong.to_owned()))).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{wrong:?}: {refused}");
        assert_eq!(refused.message(), "the join token is unknown or has expired");
    }
    crate::eventually("the token expires", async || {
        let refused = certify(&plane, &key, Some(Proof::JoinToken(token.clone()))).await;
        refused.is_err_and(|status| status.code() == Code::Unauthenticated)
    })
    .await;
    let none = certify(&plane, &key, None).await.unwrap_err();
    assert_eq!(none.code(), Code::InvalidArgument);
    let renewal = certify(&plane, &key, Some(Proof::Renewal(true))).await.unwrap_err();
    assert_eq!(renewal.code(), Code::Unauthenticated, "without a certificate there is nothing to renew");
}

async fn a_certificate_renews_itself(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    let cart = Workload::join(&plane, "shop", "cart").await;
    let key = Key::generate();
    let renew = |csr: Vec<u8>| {
        let proof = Some(Proof::Renewal(true));
        let request = v1::CertifyRequest { csr, proof, proxy: "cart-0".to_owned(), ..Default::default() };
        let mut client = AuthorityClient::new(cart.channel.clone());
        async move { client.certify(request).await.map(tonic::Response::into_inner) }
    };
    let renewed = credentials(&key, renew(key.csr()).await.unwrap());
    assert_eq!(renewed.id, cart.credentials.id);
    Workload::with(&plane, renewed).await.subscribe("cart-0").await;
    let mut csr = key.csr();
    let last = csr.len() - 1;
    csr[last] ^= 1;
    for bad in [csr, Vec::new(), b"not a request".to_vec()] {
        let refused = renew(bad).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().starts_with("csr: "), "{refused}");
    }
}

async fn tokens_are_made_for_sound_names_only(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    let code = async |namespace, account, ttl| plane.token(namespace, account, ttl).await.unwrap_err().code();
    assert_eq!(code("Shop", "cart", 60).await, Code::InvalidArgument);
    assert_eq!(code("shop", "", 60).await, Code::InvalidArgument);
    assert_eq!(code("shop", "cart", u64::MAX).await, Code::InvalidArgument);
    assert_eq!(code("weft", "weft-discovery", 60).await, Code::PermissionDenied);
}

async fn the_root_stays_and_belongs_to_its_trust_domain(fixture: Fixture) {
    let first = Plane::start(&fixture).await;
    let anchors = first.anchors().await;
    let cart = Workload::join(&first, "shop", "cart").await;
    first.stop().await;
    let again = Plane::start(&fixture).await;
    assert_eq!(again.anchors().await, anchors);
    Workload::with(&again, cart.credentials).await.subscribe("cart-0").await;
    let other = Plane::try_start(&fixture, FAST, &["--trust-domain", "other.example"]).await.err().unwrap();
    assert!(other.to_string().contains("weft.local, not for other.example"), "{other}");
}

async fn an_operator_may_bring_the_root(fixture: Fixture) {
    let directory = fixture.path().join("root");
    std::fs::create_dir_all(&directory).unwrap();
    let flags = ["--root", directory.to_str().unwrap()];
    let bring = |trust_domain: &str| {
        let root = Authority::generate(trust_domain).unwrap();
        let (certificate, key) = root.to_pem();
        std::fs::write(directory.join("tls.crt"), certificate).unwrap();
        std::fs::write(directory.join("tls.key"), key).unwrap();
        root.certificate().clone()
    };
    let refused = async || Plane::try_start(&fixture, FAST, &flags).await.err().unwrap().to_string();
    let missing = refused().await;
    assert!(missing.starts_with("--root: ") && missing.contains("tls.crt"), "{missing}");
    bring("other.example");
    let foreign = refused().await;
    assert!(foreign.contains("is for the trust domain other.example, not weft.local"), "{foreign}");
    let root = bring("weft.local");
    let plane = Plane::try_start(&fixture, FAST, &flags).await.unwrap();
    assert_eq!(plane.anchors().await, std::slice::from_ref(&root));
    plane.stop().await;
    bring("weft.local");
    let another = refused().await;
    assert!(another.contains("already has another root of trust"), "{another}");
    let without = Plane::start(&fixture).await;
    assert_eq!(without.anchors().await, [root]);
}
