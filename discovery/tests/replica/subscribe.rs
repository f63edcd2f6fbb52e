//! Streams: what a subscriber is told, and when its stream ends.
//!
//! Messages are compared as short texts (`workload::told`); streams are kept with short times where their end is tested.

use crate::plane::{FAST, Plane};
use crate::stores::Fixture;
use crate::workload::{Workload, service, told};
use crate::{PATIENCE, both};
use tonic::Code;
use weft_discovery::serve::Settings;
use weft_proto::v1;
use weft_proto::v1::subscribe_request::Body;

const CART: &str =
    "{apiVersion: v1, kind: Service, metadata: {name: cart, namespace: shop}, spec: {ports: [{port: 80}]}}";
const ROUTE: &str = "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r, namespace: shop}, spec: \
    {parentRefs: [{group: '', kind: Service, name: cart}], rules: [{backendRefs: [{name: cart, port: 80}]}]}}";

both! {
    a_snapshot_and_then_what_changes
    a_service_that_vanishes_comes_back_as_a_snapshot
    a_lease_that_runs_out_is_told
    addresses_are_told_by_what_they_stand_for
    status_shows_streams_and_dumps
    questions_reach_the_proxy_that_is_meant
}

async fn a_snapshot_and_then_what_changes(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    plane.apply(CART).await;
    let cart = Workload::join(&plane, "shop", "cart").await;
    let mut stream = cart.subscribe("web-0").await;
    stream.service("shop/cart").await;
    assert_eq!(stream.told().await, "snapshot shop/cart");
    let lease = cart.register(cart.endpoint("cart", "cart-0", "10.0.0.1"), 0, 0).await.unwrap().lease;
    assert_eq!(stream.told().await, "delta shop/cart +cart-0");
    let applied = plane.apply(ROUTE).await;
    let message = stream.next().await.unwrap();
    assert_eq!(told(&message), "delta shop/cart head");
    assert!(message.revision >= applied.revision);
    cart.discovery().withdraw(v1::WithdrawRequest { lease }).await.unwrap();
    assert_eq!(stream.told().await, "delta shop/cart -cart-0");
    stream.say(Body::Unsubscribe(service("shop/cart"))).await;
    stream.service("shop/cart").await;
    assert_eq!(stream.told().await, "snapshot shop/cart");
}

async fn a_service_that_vanishes_comes_back_as_a_snapshot(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    let web = Workload::join(&plane, "shop", "web").await;
    let mut stream = web.subscribe("web-0").await;
    stream.service("shop/cart").await;
    assert_eq!(stream.told().await, "gone shop/cart");
    web.register(web.endpoint("cart", "cart-0", "10.0.0.1"), 0, 0).await.unwrap();
    plane.apply(CART).await;
    assert_eq!(stream.told().await, "snapshot shop/cart cart-0");
    plane.delete("service", "shop", "cart").await.unwrap();
    assert_eq!(stream.told().await, "gone shop/cart");
    plane.apply(CART).await;
    assert_eq!(stream.told().await, "snapshot shop/cart cart-0");
}

async fn a_lease_that_runs_out_is_told(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    plane.apply(CART).await;
    let cart = Workload::join(&plane, "shop", "cart").await;
    cart.register(cart.endpoint("cart", "cart-0", "10.0.0.1"), 0, 5).await.unwrap();
    let mut stream = cart.subscribe("web-0").await;
    stream.service("shop/cart").await;
    let first = stream.told().await;
    if first == "snapshot shop/cart" {
        assert_eq!(stream.told().await, "delta shop/cart +cart-0");
    }
    assert_eq!(stream.told().await, "delta shop/cart -cart-0");
}

async fn addresses_are_told_by_what_they_stand_for(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    plane.apply(CART).await;
    let view: serde_json::Value = serde_json::from_str(&plane.get("services").await[0].model_json).unwrap();
    let address = view["virtual_addresses"][0].as_str().unwrap();
    let cart = Workload::join(&plane, "shop", "cart").await;
    let mut stream = cart.subscribe("web-0").await;
    stream.address(address).await;
    let bound = format!("{address} is shop/cart");
    while stream.told().await != bound {}
    stream.address("10.0.0.1").await;
    assert_eq!(stream.told().await, "10.0.0.1 is unknown");
    let lease = cart.register(cart.endpoint("cart", "cart-0", "10.0.0.1"), 0, 0).await.unwrap().lease;
    assert_eq!(stream.told().await, "10.0.0.1 is cart-0 of shop/cart");
    cart.discovery().withdraw(v1::WithdrawRequest { lease }).await.unwrap();
    assert_eq!(stream.told().await, "10.0.0.1 is unknown");
}

async fn status_shows_streams_and_dumps(fixture: Fixture) {
    let plane = Plane::start_with(&fixture, FAST).await;
    let applied = plane.apply(CART).await;
    let web = Workload::join(&plane, "shop", "web").await;
    let mut stream = web.subscribe("web-0").await;
    stream.service("shop/cart").await;
    assert_eq!(stream.told().await, "snapshot shop/cart");
    stream.say(Body::Ack(v1::Ack { revision: applied.revision })).await;
    let list = async || {
        let answer = plane.admin.clone().list_proxies(v1::ListProxiesRequest {}).await.unwrap().into_inner();
        answer.proxies.into_iter().next()
    };
    crate::eventually("the ack is shown", async || {
        list().await.is_some_and(|proxy| proxy.acked_revision == applied.revision && proxy.subscriptions == 1)
    })
    .await;
    let proxy = list().await.unwrap();
    assert_eq!((proxy.name.as_str(), proxy.identity.as_str()), ("web-0", "spiffe://weft.local/ns/shop/sa/web"));
    assert!(proxy.sent_revision >= applied.revision);
    let ask = |name: &str| {
        let request = v1::DumpProxyRequest { namespace: "shop".to_owned(), name: name.to_owned() };
        let mut admin = plane.admin.clone();
        async move { admin.dump_proxy(request).await.map(tonic::Response::into_inner) }
    };
    assert_eq!(ask("nobody").await.unwrap_err().code(), Code::NotFound);
    let answer = async {
        assert_eq!(stream.told().await, "dump 1");
        stream.say(Body::Dump(v1::DumpResponse { id: 1, json: "{}".to_owned() })).await;
    };
    let (dump, ()) = tokio::join!(ask("web-0"), answer);
    assert_eq!(dump.unwrap().json, "{}");
    drop(stream);
    crate::eventually("the stream is taken out", async || list().await.is_none()).await;
}

async fn questions_reach_the_proxy_that_is_meant(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    plane.apply(CART).await;
    let cart = Workload::join(&plane, "shop", "cart").await;
    cart.register(cart.endpoint("cart", "cart-0", "10.0.0.1"), 0, 0).await.unwrap();
    let hello = |proxy: &str, answers: &[&str]| {
        let answers = answers.iter().map(|topic| (*topic).to_owned()).collect();
        let (proxy, namespace) = (proxy.to_owned(), "shop".to_owned());
        Body::Hello(v1::Hello { proxy, namespace, version: "0.1".to_owned(), answers, ..Default::default() })
    };
    let mut stream = cart.open(hello("cart-0", &["explain"])).await.unwrap();
    let _old = cart.open(hello("old-0", &[])).await.unwrap();
    let ask = |proxy: &str| {
        let (topic, json) = ("explain".to_owned(), "?".to_owned());
        let request = v1::AskProxyRequest { proxy: proxy.to_owned(), topic, json };
        let mut admin = plane.admin.clone();
        async move { admin.ask_proxy(request).await.map(|answer| answer.into_inner().json) }
    };
    // By its name, by its service's, with and without the namespace.
    let proxies = ["cart-0", "shop/cart-0", "cart", "shop/cart"];
    for (number, proxy) in proxies.into_iter().enumerate() {
        let id = number as u64 + 1;
        let answer = async {
            assert_eq!(stream.told().await, format!("ask {id} explain ?"));
            let said = match proxy {
                "cart" => v1::answer::Said::Refused("not today".to_owned()),
                _ => v1::answer::Said::Json("!".to_owned()),
            };
            stream.say(Body::Answer(v1::Answer { id, said: Some(said) })).await;
        };
        match tokio::join!(ask(proxy), answer).0 {
            Ok(json) => assert!(json == "!" && proxy != "cart"),
            Err(status) => assert_eq!(status.message(), "shop/cart-0: not today"),
        }
    }
    let old = ask("old-0").await.unwrap_err();
    assert_eq!(old.code(), Code::FailedPrecondition);
    assert!(old.message().contains("shop/old-0 (version 0.1) does not know"), "{old}");
    for nobody in ["nobody", "other/cart-0", "other/cart"] {
        assert_eq!(ask(nobody).await.unwrap_err().code(), Code::NotFound, "{nobody}");
    }
    drop(stream);
    crate::eventually("the stream is gone", async || ask("cart-0").await.unwrap_err().code() == Code::NotFound).await;
}

async fn refused(workload: &Workload, first: Body) -> tonic::Status {
    workload.open(first).await.err().unwrap()
}

#[tokio::test]
async fn the_first_message_is_a_truthful_hello() {
    let fixture = crate::stores::embedded();
    let plane = Plane::start(&fixture).await;
    let web = Workload::join(&plane, "shop", "web").await;
    assert_eq!(refused(&web, Body::Beat(v1::Beat {})).await.code(), Code::InvalidArgument);
    let hello = |proxy: &str, namespace: &str| v1::Hello {
        proxy: proxy.to_owned(),
        namespace: namespace.to_owned(),
        ..Default::default()
    };
    assert_eq!(refused(&web, Body::Hello(hello("web-0", "bank"))).await.code(), Code::PermissionDenied);
    assert_eq!(refused(&web, Body::Hello(hello("", "shop"))).await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_kind_of_subscription_that_is_not_known_costs_nothing_else() {
    let fixture = crate::stores::embedded();
    let plane = Plane::start_with(&fixture, FAST).await;
    let web = Workload::join(&plane, "shop", "web").await;
    let mut stream = web.subscribe("web-0").await;
    // As a newer proxy's looks to this discovery.
    stream.say(Body::Subscribe(v1::Target { by: None, doubted: false })).await;
    stream.service("shop/cart").await;
    assert_eq!(stream.told().await, "gone shop/cart");
}

#[tokio::test]
async fn misuse_ends_the_stream_and_says_why() {
    let fixture = crate::stores::embedded();
    let plane = Plane::start_with(&fixture, FAST).await;
    let web = Workload::join(&plane, "shop", "web").await;
    let target = |by| Body::Subscribe(v1::Target { by, doubted: false });
    let table = [
        (Body::Hello(v1::Hello::default()), "Hello is only for the first message"),
        (target(Some(v1::target::By::Address("cart".to_owned()))), "target.address: "),
        (target(Some(v1::target::By::Service("cart".to_owned()))), "target.service: "),
    ];
    for (body, reason) in table {
        let mut stream = web.subscribe("web-0").await;
        stream.say(body).await;
        let status = stream.next().await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(reason), "{status}");
    }
    let mut stream = web.subscribe("web-0").await;
    for n in 0..=FAST.subscriptions {
        stream.service(&format!("shop/s{n}")).await;
    }
    let status = loop {
        if let Err(status) = stream.next().await {
            break status;
        }
    };
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
}

#[tokio::test]
async fn beats_go_both_ways_and_silence_ends_the_stream() {
    let fixture = crate::stores::embedded();
    let plane = Plane::start_with(&fixture, FAST).await;
    let web = Workload::join(&plane, "shop", "web").await;
    let mut stream = web.subscribe("web-0").await;
    let mut unasked = Vec::new();
    while unasked.len() < 2 {
        let message = told(&stream.from.message().await.unwrap().unwrap());
        unasked.extend((message != "beat").then_some(message));
    }
    unasked.sort();
    assert_eq!(unasked, ["session keys [1]", "trust anchors 1"], "what every proxy is told, unasked");
    for _ in 0..3 {
        let beat = stream.from.message().await.unwrap().unwrap();
        assert_eq!(told(&beat), "beat");
    }
    let status = loop {
        match stream.from.message().await {
            Ok(message) => assert_eq!(told(&message.unwrap()), "beat"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
}

#[tokio::test]
async fn a_slow_reader_delays_nobody_and_gets_the_latest_only() {
    let fixture = crate::stores::embedded();
    let plane = Plane::start_with(&fixture, Settings { silence: 4 * PATIENCE, ..Settings::default() }).await;
    plane.apply(CART).await;
    let web = Workload::join(&plane, "shop", "web").await;
    let (mut slow, mut quick) = (web.subscribe("slow-0").await, web.subscribe("quick-0").await);
    for stream in [&mut slow, &mut quick] {
        stream.service("shop/cart").await;
        assert_eq!(stream.told().await, "snapshot shop/cart");
    }
    // Each view is about 64 KiB. Windows and buffers hold some 40 of them; the rest has to wait, as one change.
    let long = "x".repeat(1000);
    let rules: Vec<String> = (0..16)
        .map(|n| {
            let matches: Vec<String> = (0..4).map(|m| format!("{{path: {{value: /{n}/{m}/{long}}}}}")).collect();
            format!("{{matches: [{}], backendRefs: [{{name: cart, port: 80}}]}}", matches.join(", "))
        })
        .collect();
    let rounds = 160;
    for round in 1..=rounds {
        let head =
            "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r, namespace: shop}, spec:";
        let parents = "parentRefs: [{group: '', kind: Service, name: cart}]";
        let rules = rules.join(", ").replace("/0/0/", &format!("/{round}/"));
        let revision = plane.apply(&format!("{head} {{{parents}, rules: [{rules}]}}}}")).await.revision;
        while quick.next().await.unwrap().revision < revision {}
    }
    let mut messages = 0;
    let last = plane.apply(&CART.replace("80", "81")).await.revision;
    while slow.next().await.unwrap().revision < last {
        messages += 1;
    }
    assert!(messages < rounds / 2, "{messages} of {rounds} changes were told one by one");
}
