//! Taps as discovery serves them: who is asked, what is passed on, and that nothing is left of a watcher.
//!
//! The proxies are played by the tests; real ones are in the suite `tap`.

use crate::PATIENCE;
use crate::plane::Plane;
use crate::workload::{Subscription, Workload};
use tokio::time::timeout;
use tonic::{Code, Streaming};
use weft_proto::v1;
use weft_proto::v1::subscribe_request::Body;

const CART: &str =
    "{apiVersion: v1, kind: Service, metadata: {name: cart, namespace: shop}, spec: {ports: [{port: 80}]}}";

async fn open(workload: &Workload, proxy: &str, answers: &[&str]) -> Subscription {
    let answers = answers.iter().map(|topic| (*topic).to_owned()).collect();
    let (proxy, namespace) = (proxy.to_owned(), "shop".to_owned());
    let hello = v1::Hello { proxy, namespace, version: "0.1".to_owned(), answers, ..Default::default() };
    workload.open(Body::Hello(hello)).await.unwrap()
}

async fn tap(plane: &Plane, request: v1::TapRequest) -> Streaming<v1::TapResponse> {
    let request = v1::TapRequest { tap: Some(v1::Tap { path: "/a".to_owned(), ..Default::default() }), ..request };
    plane.admin.clone().tap(request).await.unwrap().into_inner()
}

async fn next(said: &mut Streaming<v1::TapResponse>) -> v1::TapResponse {
    timeout(PATIENCE, said.message()).await.expect("nothing comes").unwrap().expect("it has ended")
}

fn shop() -> v1::TapRequest {
    v1::TapRequest { namespace: "shop".to_owned(), ..Default::default() }
}

#[tokio::test]
async fn old_proxies_are_named_and_new_ones_tapped() {
    let fixture = crate::stores::embedded();
    let plane = Plane::start(&fixture).await;
    let web = Workload::join(&plane, "shop", "web").await;
    let (mut first, mut old) = (open(&web, "web-0", &["tap"]).await, open(&web, "web-1", &["explain"]).await);
    let mut said = tap(&plane, shop()).await;
    assert_eq!(next(&mut said).await.begun, Some(2));
    let left = next(&mut said).await;
    assert_eq!((&*left.proxy, &*left.left), ("shop/web-1", "its version (0.1) cannot be tapped: upgrade it"));
    assert_eq!(first.told().await, "tap 1");
    // What it has seen is passed on, and so is what is missing.
    let events = vec![v1::TapEvent { status: 503, ..Default::default() }];
    first.say(Body::Tapped(v1::Tapped { id: 1, events, dropped: 7, ended: String::new() })).await;
    let told = next(&mut said).await;
    assert_eq!((&*told.proxy, told.events[0].status, told.dropped, &*told.left), ("shop/web-0", 503, 7, ""));
    // One that comes later is tapped as well, and one that leaves is named.
    let mut late = open(&web, "web-2", &["tap"]).await;
    let Some(v1::subscribe_response::Body::Tap(start)) = late.next().await.unwrap().body else { panic!("no tap") };
    let asked = start.tap.unwrap();
    assert!(asked.path == "/a" && asked.seconds > 3000, "{asked:?}");
    drop(late);
    let left = next(&mut said).await;
    assert!(left.proxy == "shop/web-2" && left.left.contains("has ended"), "{left:?}");
    // Nobody has asked the old one anything.
    drop(said);
    assert_eq!(first.told().await, "untap 1");
    crate::eventually("nobody watches", async || plane.metrics.taps.get() == 0).await;
    old.service("shop/none").await;
    assert_eq!(old.told().await, "gone shop/none");
}

#[tokio::test]
async fn the_proxies_of_a_service_are_its_endpoints() {
    let fixture = crate::stores::embedded();
    let plane = Plane::start(&fixture).await;
    plane.apply(CART).await;
    let cart = Workload::join(&plane, "shop", "cart").await;
    cart.register(cart.endpoint("cart", "cart-0", "10.0.0.1"), 0, 0).await.unwrap();
    let (mut behind, _beside) = (open(&cart, "cart-0", &["tap"]).await, open(&cart, "other-0", &["tap"]).await);
    let of = |service: &str, proxy: &str| {
        let request = v1::TapRequest { service: service.to_owned(), proxy: proxy.to_owned(), ..shop() };
        let plane = &plane;
        async move { next(&mut tap(plane, request).await).await.begun }
    };
    crate::eventually("the endpoint is known", async || of("cart", "").await == Some(1)).await;
    for (service, proxy, count) in
        [("cart", "", 1), ("none", "", 0), ("", "other-0", 1), ("cart", "other-0", 0), ("", "", 2)]
    {
        assert_eq!(of(service, proxy).await, Some(count), "{service:?} {proxy:?}");
    }
    assert_eq!(behind.told().await, "tap 1");
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused() {
    let fixture = crate::stores::embedded();
    let plane = Plane::start(&fixture).await;
    let tap = || Some(v1::Tap::default());
    let long = "x".repeat(2000);
    for (request, field) in [
        (shop(), "tap: missing"),
        (v1::TapRequest { service: "cart".to_owned(), tap: tap(), ..Default::default() }, "namespace: missing"),
        (v1::TapRequest { proxy: long.clone(), tap: tap(), ..shop() }, "proxy: longer"),
        (v1::TapRequest { tap: Some(v1::Tap { path: long, ..Default::default() }), ..shop() }, "tap.path: longer"),
    ] {
        let refused = plane.admin.clone().tap(request).await.err().unwrap();
        assert!(refused.code() == Code::InvalidArgument && refused.message().starts_with(field), "{refused}");
    }
    // A time that is over ends it, though nobody has left.
    let request = v1::TapRequest { tap: Some(v1::Tap { seconds: 1, ..Default::default() }), ..shop() };
    let mut said = plane.admin.clone().tap(request).await.unwrap().into_inner();
    assert_eq!(next(&mut said).await.begun, Some(0));
    assert!(timeout(PATIENCE, said.message()).await.expect("it goes on").unwrap().is_none());
}
