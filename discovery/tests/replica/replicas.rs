//! Two replicas on one store are one control plane, and a replica that stops sends its proxies to another.
//!
//! Both replicas run in this process with an admin socket and a port each; what they share is the store alone.

use crate::both;
use crate::plane::Plane;
use crate::stores::Fixture;
use crate::workload::Workload;
use tonic::Code;
use weft_proto::v1;

const CART: &str =
    "{apiVersion: v1, kind: Service, metadata: {name: cart, namespace: shop}, spec: {ports: [{port: 80}]}}";

both! {
    two_replicas_give_the_same_answers
    a_stopping_replica_says_so
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
    let web = Workload::join(&one, "shop", "web").await;
    let mut stream = web.subscribe("web-0").await;
    one.shutdown.cancel();
    assert_eq!(stream.next().await.unwrap_err().code(), Code::Unavailable);
    one.stop().await;
    let web = Workload::with(&two, web.credentials).await;
    web.subscribe("web-0").await.service("shop/cart").await;
}
