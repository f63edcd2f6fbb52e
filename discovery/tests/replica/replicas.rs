//! Two replicas on one store are one control plane, and a replica that stops sends its proxies to another.
//!
//! Both replicas run in this process with an admin socket and a port each; what they share is the store alone.

use crate::both;
use crate::plane::Plane;
use crate::stores::Fixture;
use crate::workload::Workload;
use std::collections::{BTreeMap, BTreeSet};
use tonic::Code;
use weft_discovery::serve::Settings;
use weft_discovery::store::Op;
use weft_proto::v1;
use weft_proto::v1::subscribe_request::Body;

const CART: &str =
    "{apiVersion: v1, kind: Service, metadata: {name: cart, namespace: shop}, spec: {ports: [{port: 80}]}}";

both! {
    two_replicas_give_the_same_answers
    a_stopping_replica_says_so
    virtual_addresses_are_given_once_and_for_good
}

async fn two_replicas_give_the_same_answers(fixture: Fixture) {
    let (one, two) = tokio::join!(Plane::start(&fixture), Plane::start(&fixture));
    assert_eq!(one.anchors().await, two.anchors().await, "both agree on one root, whoever made it");
    one.apply(CART).await;
    let cart = Workload::join(&one, "shop", "cart").await;
    let elsewhere = Workload::with(&two, cart.credentials.clone()).await;
    let mut streams = [cart.subscribe("web-0").await, elsewhere.subscribe("web-1").await];
    for stream in &mut streams {
        stream.service("shop/cart").await;
        while stream.told().await != "snapshot shop/cart" {}
    }
    let lease = cart.register(cart.endpoint("cart", "cart-0", "10.0.0.1"), 0, 0).await.unwrap().lease;
    for stream in &mut streams {
        assert_eq!(stream.told().await, "delta shop/cart +cart-0");
    }
    elsewhere.discovery().heartbeat(v1::HeartbeatRequest { lease }).await.unwrap();
    elsewhere.discovery().withdraw(v1::WithdrawRequest { lease }).await.unwrap();
    for stream in &mut streams {
        assert_eq!(stream.told().await, "delta shop/cart -cart-0");
    }
    assert_eq!(one.get("services").await, two.get("services").await);
    let token = one.token("shop", "web", 60).await.unwrap();
    let proof = Some(v1::certify_request::Proof::JoinToken(token));
    let key = weft_identity::certificate::Key::generate();
    crate::workload::certify(&two, &key, proof).await.unwrap();
}

async fn a_stopping_replica_says_so(fixture: Fixture) {
    let (one, two) = (Plane::start(&fixture).await, Plane::start(&fixture).await);
    let told = one.apply(CART).await.revision;
    let cart = Workload::join(&one, "shop", "cart").await;
    let mut stream = cart.subscribe("web-0").await;
    stream.service("shop/cart").await;
    assert_eq!(stream.told().await, "snapshot shop/cart");
    one.shutdown.cancel();
    assert_eq!(stream.next().await.unwrap_err().code(), Code::Unavailable);
    one.stop().await;
    let cart = Workload::with(&two, cart.credentials).await;
    let lease = cart.register(cart.endpoint("cart", "cart-0", "10.0.0.1"), 0, 0).await.unwrap().lease;
    crate::eventually("the other replica knows of it", async || {
        let status = two.admin.clone().status(v1::StatusRequest {}).await.unwrap();
        status.into_inner().endpoints == 1
    })
    .await;
    let mut stream = cart.subscribe("web-0").await;
    stream.service("shop/cart").await;
    let snapshot = stream.next().await.unwrap();
    assert_eq!(crate::workload::told(&snapshot), "snapshot shop/cart cart-0", "with what it has missed");
    assert!(snapshot.revision > told);
    cart.discovery().withdraw(v1::WithdrawRequest { lease }).await.unwrap();
    assert_eq!(stream.told().await, "delta shop/cart -cart-0");
}

/// Every service's virtual address, as `plane` shows it.
async fn addresses(plane: &Plane) -> BTreeMap<String, String> {
    let address = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap()["virtual_addresses"][0].clone();
    let objects = plane.get("services").await.into_iter();
    objects.map(|object| (object.name, address(&object.model_json).as_str().unwrap().to_owned())).collect()
}

async fn virtual_addresses_are_given_once_and_for_good(fixture: Fixture) {
    // 62 addresses for 62 services, so that the replicas come to want the same ones.
    let start =
        async || Plane::try_start(&fixture, Settings::default(), &["--virtual-range", "198.18.7.0/26"]).await.unwrap();
    let (one, two) = tokio::join!(start(), start());
    let cart = |name: &str| CART.replace("name: cart", &format!("name: {name}"));
    let apply_all = async |plane: &Plane, own: &str| {
        for n in 0..26 {
            plane.apply(&cart(&format!("{own}-{n}"))).await;
            if n < 10 {
                plane.apply(&cart(&format!("shared-{n}"))).await;
            }
        }
    };
    tokio::join!(apply_all(&one, "one"), apply_all(&two, "two"));
    let given = addresses(&one).await;
    assert_eq!((given.len(), given.values().collect::<BTreeSet<_>>().len()), (62, 62), "{given:?}");
    let full = two.try_apply(CART).await.unwrap_err();
    assert_eq!(full.code(), Code::ResourceExhausted);
    assert!(full.message().starts_with("--virtual-range: "), "{full}");

    tokio::join!(one.stop(), two.stop());
    let plane = start().await;
    assert_eq!(addresses(&plane).await, given, "a restart changes nothing");
    plane.delete("service", "shop", "one-0").await.unwrap();
    plane.apply(CART).await;
    assert_eq!(addresses(&plane).await["cart"], given["one-0"], "what is given back can be given again");
    fixture
        .store
        .commit(vec![], vec![Op::put("services/shop/two-0", "{"), Op::put("services/shop/two-1", "{")])
        .await
        .unwrap();
    plane.apply(&cart("two-0")).await;
    assert_eq!(addresses(&plane).await["two-0"], given["two-0"], "an unreadable record does not cost the address");
    plane.delete("service", "shop", "two-1").await.unwrap();
    plane.apply(&cart("one-0")).await;
    assert_eq!(addresses(&plane).await["one-0"], given["two-1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_etcd_is_away_streams_go_on_with_what_is_known() {
    let (fixture, mut cluster) = crate::stores::etcd_alone().await;
    let plane = Plane::start(&fixture).await;
    plane.apply(CART).await;
    let cart = Workload::join(&plane, "shop", "cart").await;
    let lease = cart.register(cart.endpoint("cart", "cart-0", "10.0.0.1"), 0, 60).await.unwrap().lease;
    let mut stream = cart.subscribe("web-0").await;
    stream.service("shop/cart").await;
    while stream.told().await != "snapshot shop/cart cart-0" {}
    cluster.kill(0).unwrap();
    assert_eq!(plane.try_apply(CART).await.unwrap_err().code(), Code::Unavailable);
    let status = async || plane.admin.clone().status(v1::StatusRequest {}).await.unwrap().into_inner();
    crate::eventually("status says that the store is away", async || !status().await.notes.is_empty()).await;
    let hello =
        |newcomer| v1::Hello { proxy: "web-1".into(), namespace: "shop".into(), newcomer, ..Default::default() };
    // It may have been registered by another replica, and what was known last would say that it is of no service.
    let refused = cart.open(Body::Hello(hello(true))).await.err().unwrap();
    assert!(refused.code() == Code::Unavailable && refused.message().contains("another"), "{refused}");
    let mut late = cart.open(Body::Hello(hello(false))).await.unwrap();
    late.service("shop/cart").await;
    assert_eq!(late.told().await, "snapshot shop/cart cart-0", "who comes back is told what was known last");
    cluster.restart(0).await.unwrap();
    crate::eventually("a heartbeat gets through again", async || {
        late.say(Body::Beat(v1::Beat {})).await;
        cart.discovery().heartbeat(v1::HeartbeatRequest { lease }).await.is_ok()
    })
    .await;
    cart.discovery().withdraw(v1::WithdrawRequest { lease }).await.unwrap();
    assert_eq!(late.told().await, "delta shop/cart -cart-0");
}
