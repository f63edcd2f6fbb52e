//! The replacement of the root of trust, as discovery allows it: no step before everybody has done the one before.
//!
//! Proxies are played here: what they say of their certificates, and when, is what decides.

use crate::plane::Plane;
use crate::stores::Fixture;
use crate::workload::{Subscription, Workload, certify, credentials};
use crate::{both, eventually};
use tonic::{Code, Status};
use weft_identity::certificate::{Authority, Credentials, Key, fingerprint};
use weft_proto::v1;
use weft_proto::v1::authority_client::AuthorityClient;
use weft_proto::v1::certify_request::Proof;
use weft_proto::v1::rotate_trust_request::Step;
use weft_proto::v1::subscribe_request::Body;
use weft_proto::v1::subscribe_response::Body as Told;

both! {
    a_rotation_waits_for_everybody_and_cuts_off_nobody
    what_somebody_says_of_anothers_certificate_counts_nothing
    steps_out_of_order_and_bad_authorities_are_refused
    a_rotation_is_taken_back_before_and_after_the_new_anchor_signs
    who_is_gone_for_good_is_not_waited_for_until_it_comes_back
}

async fn step(plane: &Plane, step: Step) -> Result<v1::TrustState, Status> {
    let request = v1::RotateTrustRequest { step: Some(step) };
    plane.admin.clone().rotate_trust(request).await.map(tonic::Response::into_inner)
}

async fn state(plane: &Plane) -> v1::TrustState {
    plane.admin.clone().get_trust(v1::GetTrustRequest {}).await.unwrap().into_inner()
}

fn waiting(state: &v1::TrustState) -> Vec<&str> {
    state.waiting.iter().map(|certificate| certificate.proxy.as_str()).collect()
}

fn add(authority: &Authority) -> Step {
    let (certificates, key) = authority.to_pem();
    Step::Add(v1::NewIssuer { certificates, key, anchors: String::new() })
}

fn issue() -> Step {
    Step::Issue(v1::Empty {})
}

fn back() -> Step {
    Step::TakeBack(v1::Empty {})
}

fn forget(namespace: &str, name: &str) -> Step {
    Step::Forget(v1::ProxyName { namespace: namespace.to_owned(), name: name.to_owned() })
}

fn remove() -> Step {
    Step::Remove(v1::Empty {})
}

/// What a proxy says that uses these credentials and trusts these anchors.
fn confirmed(credentials: &Credentials, anchors: &[&Authority]) -> Body {
    let anchors = anchors.iter().map(|authority| fingerprint(authority.certificate())).collect();
    Body::Trusting(v1::Trusting { serial: credentials.serial(), anchors })
}

/// Says so on a stream of its own, which lasts as long as the answer is kept.
async fn say(workload: &Workload, body: Body) -> Subscription {
    let stream = workload.subscribe("cart-0").await;
    stream.say(body).await;
    stream
}

async fn renewed(workload: &Workload) -> Credentials {
    let key = Key::generate();
    let (proof, replaces) = (Some(Proof::Renewal(true)), workload.credentials.serial());
    let request = v1::CertifyRequest { csr: key.csr(), proof, proxy: "cart-0".to_owned(), replaces };
    let answer = AuthorityClient::new(workload.channel.clone()).certify(request).await.unwrap().into_inner();
    credentials(&key, answer)
}

/// Waits until the next step waits for exactly these.
async fn until_waiting_for(plane: &Plane, names: &[&str]) {
    eventually(&format!("only {names:?} are waited for"), async || waiting(&state(plane).await) == names).await;
}

async fn a_rotation_waits_for_everybody_and_cuts_off_nobody(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    let old = plane.anchors().await;
    let cart = Workload::join(&plane, "shop", "cart").await;
    let (old_root, next) = (old[0].clone(), Authority::generate("weft.local").unwrap());
    let coming = fingerprint(next.certificate());

    let begun = step(&plane, add(&next)).await.unwrap();
    assert_eq!(begun.stage(), v1::TrustStage::Adding);
    assert_eq!(plane.anchors().await, [old_root.clone(), next.certificate().clone()]);
    // Discovery itself takes a moment to trust the new one.
    until_waiting_for(&plane, &["cart-0"]).await;
    let refused = step(&plane, issue()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("waiting for shop/cart-0 (until "), "{refused}");

    let both = vec![fingerprint(&old_root), coming.clone()];
    let body = Body::Trusting(v1::Trusting { serial: cart.credentials.serial(), anchors: both });
    let stream = say(&cart, body).await;
    until_waiting_for(&plane, &[]).await;
    drop(stream);
    assert_eq!(step(&plane, issue()).await.unwrap().stage(), v1::TrustStage::Issuing);

    // The old certificate still serves, and is what the old anchor is needed for.
    until_waiting_for(&plane, &["cart-0"]).await;
    let refused = step(&plane, remove()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("cannot be removed") && refused.message().contains("shop/cart-0"), "{refused}");
    let both = vec![old_root.clone(), next.certificate().clone()];
    let cart = Workload::with(&plane, cart.credentials.trusting(both).unwrap()).await;
    let anew = renewed(&cart).await;
    assert!(anew.rests_on(next.certificate()) && !anew.rests_on(&old_root));
    assert!(step(&plane, remove()).await.is_err(), "it may have got lost on the way");
    let stream = say(&cart, confirmed(&anew, &[&next])).await;
    until_waiting_for(&plane, &[]).await;
    let done = step(&plane, remove()).await.unwrap();
    assert_eq!((done.stage(), done.anchors.len()), (v1::TrustStage::Rest, 1));
    assert_eq!(done.anchors[0].fingerprint, coming);
    assert_eq!(plane.anchors().await, [next.certificate().clone()]);

    let listed = plane.admin.clone().list_certificates(v1::ListCertificatesRequest {}).await.unwrap().into_inner();
    let mut carts: Vec<_> = listed.certificates.iter().filter(|c| c.proxy == "cart-0").collect();
    carts.sort_by_key(|certificate| certificate.replaced);
    assert_eq!(carts.iter().map(|c| (c.renewals, c.replaced)).collect::<Vec<_>>(), [(1, false), (0, true)]);
    assert_eq!(carts[0].anchor, coming);
    // Whoever comes now is served under the new root alone, and a replica that starts anew reads it.
    eventually("discovery shows a certificate under the new root", async || {
        let token = plane.token("shop", "late", 60).await.unwrap();
        certify(&plane, &Key::generate(), Some(Proof::JoinToken(token))).await.is_ok()
    })
    .await;
    drop(stream);
    plane.stop().await;
    let again = Plane::start(&fixture).await;
    assert_eq!(again.anchors().await, [next.certificate().clone()]);
}

async fn what_somebody_says_of_anothers_certificate_counts_nothing(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    let old = plane.anchors().await;
    let cart = Workload::join(&plane, "shop", "cart").await;
    let thief = Workload::join(&plane, "shop", "thief").await;
    let mut stream = thief.subscribe("cart-0").await;
    let next = Authority::generate("weft.local").unwrap();
    step(&plane, add(&next)).await.unwrap();
    let both = vec![fingerprint(&old[0]), fingerprint(next.certificate())];
    for serial in [cart.credentials.serial(), "../authority/root".to_owned(), String::new(), "f".repeat(65)] {
        stream.say(Body::Trusting(v1::Trusting { serial, anchors: both.clone() })).await;
    }
    // The stream goes on, and what is heard after all of that is heard.
    stream.say(Body::Trusting(v1::Trusting { serial: thief.credentials.serial(), anchors: both })).await;
    stream.service("shop/nothing").await;
    assert_eq!(stream.told().await, "gone shop/nothing");
    // Both proxies have the same name, so the thief's word is about the name's newest certificate.
    until_waiting_for(&plane, &[]).await;
    let listed = plane.admin.clone().list_certificates(v1::ListCertificatesRequest {}).await.unwrap().into_inner();
    let of_cart = listed.certificates.iter().find(|c| c.serial == cart.credentials.serial()).unwrap();
    assert!(!of_cart.confirmed);
}

async fn steps_out_of_order_and_bad_authorities_are_refused(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    let refused = async |wanted: Step| step(&plane, wanted).await.unwrap_err();
    for early in [issue(), remove(), back()] {
        assert_eq!(refused(early).await.code(), Code::FailedPrecondition);
    }
    let foreign = refused(add(&Authority::generate("other.example").unwrap())).await;
    assert_eq!(foreign.code(), Code::InvalidArgument);
    assert!(foreign.message().contains("is for the trust domain other.example, not weft.local"), "{foreign}");
    let (certificates, _) = Authority::generate("weft.local").unwrap().to_pem();
    let key = Key::generate().to_pem();
    let mismatch = refused(Step::Add(v1::NewIssuer { certificates, key, anchors: String::new() })).await;
    assert!(mismatch.message().contains("authority key: it does not belong to"), "{mismatch}");
    let nothing = refused(Step::Add(v1::NewIssuer::default())).await;
    assert_eq!(nothing.code(), Code::InvalidArgument);
    let none = plane.admin.clone().rotate_trust(v1::RotateTrustRequest { step: None }).await.unwrap_err();
    assert_eq!(none.code(), Code::InvalidArgument);
    let next = Authority::generate("weft.local").unwrap();
    step(&plane, add(&next)).await.unwrap();
    let again = refused(add(&next)).await;
    assert!(again.message().contains("a rotation is under way already"), "{again}");
    let cart = Workload::join(&plane, "shop", "cart").await;
    let mut stream = cart.subscribe("cart-0").await;
    // Beside everything else, the stream says whom to trust.
    let told = loop {
        if let Some(Told::TrustAnchors(told)) = stream.from.message().await.unwrap().unwrap().body {
            break told;
        }
    };
    assert_eq!(told.anchors.len(), 2);
    assert_ne!(told.issuing, next.certificate().to_vec(), "nothing is signed under it yet");
}

async fn a_rotation_is_taken_back_before_and_after_the_new_anchor_signs(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    let old = plane.anchors().await;
    let cart = Workload::join(&plane, "shop", "cart").await;
    let next = Authority::generate("weft.local").unwrap();
    step(&plane, add(&next)).await.unwrap();
    assert_eq!(step(&plane, back()).await.unwrap().stage(), v1::TrustStage::Rest);
    assert_eq!(plane.anchors().await, old, "nothing leads to the new one");

    step(&plane, add(&next)).await.unwrap();
    let both = vec![fingerprint(&old[0]), fingerprint(next.certificate())];
    let stream = say(&cart, Body::Trusting(v1::Trusting { serial: cart.credentials.serial(), anchors: both })).await;
    until_waiting_for(&plane, &[]).await;
    step(&plane, issue()).await.unwrap();
    until_waiting_for(&plane, &["cart-0"]).await;
    // A certificate of the time between, and a replica that has not been there all along.
    let trusting = vec![old[0].clone(), next.certificate().clone()];
    let late = Workload::with(&plane, cart.credentials.trusting(trusting).unwrap()).await;
    let between = renewed(&late).await;
    assert!(between.rests_on(next.certificate()));
    drop((stream, late, cart));
    let listed = plane.admin.clone().list_certificates(v1::ListCertificatesRequest {}).await.unwrap().into_inner();
    let replica = listed.certificates.into_iter().map(|c| c.proxy).find(|name| name.starts_with("replica-")).unwrap();
    plane.stop().await;
    let plane = Plane::start(&fixture).await;
    let taken_back = step(&plane, back()).await.unwrap();
    assert!(taken_back.taken_back && taken_back.stage() == v1::TrustStage::Issuing);
    assert_eq!(plane.anchors().await, [old[0].clone(), next.certificate().clone()], "both, the old one first");
    assert!(step(&plane, back()).await.unwrap().taken_back, "asked for again, it does not turn round");
    // The replica of before does not come back.
    step(&plane, forget("weft", &replica)).await.unwrap();
    until_waiting_for(&plane, &["cart-0"]).await;
    let refused = step(&plane, remove()).await.unwrap_err();
    assert!(refused.message().contains("shop/cart-0"), "the new one is needed by who has been told: {refused}");
    let again = Workload::with(&plane, between).await;
    let anew = renewed(&again).await;
    assert!(anew.rests_on(&old[0]));
    let _said = say(&again, confirmed(&anew, &[&next])).await;
    until_waiting_for(&plane, &[]).await;
    assert_eq!(step(&plane, remove()).await.unwrap().stage(), v1::TrustStage::Rest);
    assert_eq!(plane.anchors().await, old);
}

async fn who_is_gone_for_good_is_not_waited_for_until_it_comes_back(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    let cart = Workload::join(&plane, "shop", "cart").await;
    step(&plane, add(&Authority::generate("weft.local").unwrap())).await.unwrap();
    until_waiting_for(&plane, &["cart-0"]).await;
    let stranger = step(&plane, forget("shop", "nobody")).await.unwrap_err();
    assert_eq!(stranger.code(), Code::NotFound);
    let stream = cart.subscribe("cart-0").await;
    eventually("it is connected", async || {
        let listed = plane.admin.clone().list_proxies(v1::ListProxiesRequest {}).await.unwrap().into_inner();
        listed.proxies.iter().any(|proxy| proxy.name == "cart-0")
    })
    .await;
    let there = step(&plane, forget("shop", "cart-0")).await.unwrap_err();
    assert!(there.message().contains("shop/cart-0 is connected"), "{there}");
    drop(stream);
    eventually("it has left", async || step(&plane, forget("shop", "cart-0")).await.is_ok()).await;
    until_waiting_for(&plane, &[]).await;
    let listed = plane.admin.clone().list_certificates(v1::ListCertificatesRequest {}).await.unwrap().into_inner();
    let of_cart = listed.certificates.iter().find(|c| c.serial == cart.credentials.serial()).unwrap();
    assert!(of_cart.forgotten && !of_cart.replaced);
    let _back = say(&cart, confirmed(&cart.credentials, &[])).await;
    until_waiting_for(&plane, &["cart-0"]).await;
}
