//! The catalog's stream against a discovery that does what a test tells it.
//!
//! Over real sockets and TLS: subscriptions, acknowledgements, replicas that go away, and starts from disk. Every wait is for
//! a condition with a deadline.

use super::*;
use crate::catalog::tests::{name, view};
use crate::catalog::{Answer, Catalog, channel};
use crate::discovery::fake::{Fake, Session, authority, credentials, discovery_id, identity, nowhere};
use std::net::SocketAddr;
use tokio::task::JoinHandle;
use weft_identity::certificate::{Authority, Credentials};
use weft_model::Binding;
use weft_proto::v1::subscribe_request::Body as Said;
use weft_telemetry::admin::Readiness;

const DEADLINE: Duration = Duration::from_secs(20);

/// A proxy's catalog that follows replicas at `addresses`.
struct Proxy {
    catalog: Catalog,
    metrics: CatalogMetrics,
    readiness: Readiness,
    task: JoinHandle<()>,
    dir: StateDir,
    _dir: tempfile::TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn proxy(authority: &Authority, addresses: &[SocketAddr]) -> Proxy {
    let dir = tempfile::tempdir().unwrap();
    proxy_in(authority, addresses, dir)
}

fn proxy_in(authority: &Authority, addresses: &[SocketAddr], dir: tempfile::TempDir) -> Proxy {
    let (catalog, feed) = channel(DEADLINE);
    let (metrics, readiness) = (CatalogMetrics::default(), Readiness::default());
    let urls = addresses.iter().map(|address| format!("https://{address}")).collect();
    let hello = v1::Hello { proxy: "cart-1".to_owned(), namespace: "shop".to_owned(), ..v1::Hello::default() };
    let stream = Stream {
        discovery: Discovery::at(urls, discovery_id()),
        identity: identity(authority),
        hello,
        registers: [name("shop/cart")].into(),
        describe: Arc::new(|| "{\"all\":1}".to_owned()),
        answers: Arc::new(|topic, json| Box::pin(async move { if topic == "echo" { Ok(json) } else { Err(topic) } })),
        taps: Taps::default(),
        trust: Trust::default(),
        metrics: metrics.clone(),
        ready: readiness.require("discovery", "nothing heard"),
    };
    let state = StateDir::open(dir.path()).unwrap();
    let task = tokio::spawn(stream.run(feed, state.clone()));
    Proxy { catalog, metrics, readiness, task, dir: state, _dir: dir }
}

fn shown(authority: &Authority) -> Credentials {
    credentials(authority, "weft", "weft-discovery")
}

async fn opened(replica: &mut Fake) -> Session {
    let mut session = replica.session().await;
    assert!(matches!(session.heard().await, Said::Hello(hello) if hello.proxy == "cart-1"));
    let Said::Subscribe(v1::Target { by: Some(v1::target::By::Workload(workload)), .. }) = session.heard().await else {
        panic!("the workload's own policies come first");
    };
    assert_eq!(workload.services, ["shop/cart"]);
    session
}

fn service(body: Said) -> String {
    match body {
        Said::Subscribe(v1::Target { by: Some(v1::target::By::Service(service)), .. }) => service,
        other => panic!("not a subscription to a service: {other:?}"),
    }
}

fn snapshot(service: &str, endpoints: &[(&str, u32)]) -> Body {
    Body::Snapshot(v1::ServiceSnapshot { view: Some((&view(service, endpoints)).into()) })
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Asks for shop/cart while the other side answers.
async fn cart(proxy: &Proxy) -> JoinHandle<Answer> {
    let catalog = proxy.catalog.clone();
    tokio::spawn(async move { catalog.lookup(&name("shop/cart")).await })
}

#[tokio::test]
async fn what_is_asked_for_is_subscribed_to_published_and_acknowledged() {
    let authority = authority();
    let mut replica = Fake::start(&shown(&authority), None).await;
    let proxy = proxy(&authority, &[replica.address]);
    let mut session = opened(&mut replica).await;
    until("connected", || proxy.catalog.connected() && proxy.readiness.unmet().is_empty()).await;

    let asking = cart(&proxy).await;
    assert_eq!(service(session.heard().await), "shop/cart");
    session.say(7, snapshot("shop/cart", &[("a", 1)])).await;
    assert!(matches!(asking.await.unwrap(), Answer::Known(known) if known.view.endpoints.len() == 1));
    assert!(matches!(session.heard().await, Said::Ack(v1::Ack { revision: 7 })));
    let vip = proxy.catalog.bind("198.18.0.1".parse().unwrap()).await;
    assert_eq!(vip, Some(Binding::Service(name("shop/cart"))));

    session.say(8, Body::Dump(v1::DumpRequest { id: 5 })).await;
    assert!(matches!(session.heard().await, Said::Dump(dump) if dump.id == 5 && dump.json == "{\"all\":1}"));

    use v1::answer::Said as answered;
    for (id, topic, expected) in
        [(6, "echo", answered::Json("?".to_owned())), (7, "no", answered::Refused("no".to_owned()))]
    {
        session.say(8, Body::Ask(v1::Ask { id, topic: topic.to_owned(), json: "?".to_owned() })).await;
        assert!(
            matches!(session.heard().await, Said::Answer(answer) if answer == v1::Answer { id, said: Some(expected) })
        );
    }
}

#[tokio::test]
async fn an_endpoint_that_is_gone_disappears_when_somebody_fails_to_reach_it() {
    let authority = authority();
    let mut replica = Fake::start(&shown(&authority), None).await;
    let proxy = proxy(&authority, &[replica.address]);
    let mut session = opened(&mut replica).await;
    let asking = cart(&proxy).await;
    assert_eq!(service(session.heard().await), "shop/cart");
    session.say(7, snapshot("shop/cart", &[("gone", 1), ("here", 1)])).await;
    asking.await.unwrap();
    assert!(matches!(session.heard().await, Said::Ack(_)));

    // The delta that took the endpoint out was lost; the proxy meets it again and again.
    for _ in 0..1000 {
        proxy.catalog.doubt(&name("shop/cart"));
    }
    proxy.catalog.doubt(&name("shop/unknown"));
    assert!(matches!(session.heard().await, Said::Unsubscribe(_)));
    let afresh = session.heard().await;
    assert!(matches!(afresh, Said::Subscribe(v1::Target { doubted: true, .. })), "the store is to be looked at, too");
    assert_eq!(service(afresh), "shop/cart");
    let kept = proxy.catalog.peek(&name("shop/cart")).unwrap();
    assert_eq!(kept.view.endpoints.len(), 2, "kept until the answer is there");
    session.say(8, snapshot("shop/cart", &[("here", 1)])).await;
    until("the endpoint is gone", || proxy.catalog.peek(&name("shop/cart")).unwrap().view.endpoints.len() == 1).await;
    assert!(matches!(session.heard().await, Said::Ack(v1::Ack { revision: 8 })));
    assert_eq!(proxy.metrics.renewed.get(), 1, "a thousand reports are one question");
}

#[tokio::test]
async fn a_broken_stream_comes_back_at_another_replica_with_all_subscriptions() {
    let authority = authority();
    let mut first = Fake::start(&shown(&authority), None).await;
    let mut second = Fake::start(&shown(&authority), None).await;
    let proxy = proxy(&authority, &[nowhere().await, first.address, second.address]);
    let mut session = opened(&mut first).await;
    let asking = cart(&proxy).await;
    assert_eq!(service(session.heard().await), "shop/cart");
    session.say(7, snapshot("shop/cart", &[("a", 1)])).await;
    asking.await.unwrap();

    first.stop().await;
    let mut session = opened(&mut second).await;
    assert_eq!(service(session.heard().await), "shop/cart");
    let kept = proxy.catalog.peek(&name("shop/cart")).unwrap();
    assert_eq!((kept.revision, kept.view.endpoints.len()), (7, 1), "kept until the answer is there");
    session.say(9, snapshot("shop/cart", &[("a", 1), ("b", 1)])).await;
    until("the new view is in force", || proxy.catalog.revision() == 9).await;
    assert_eq!(proxy.catalog.peek(&name("shop/cart")).unwrap().view.endpoints.len(), 2);
    assert!(proxy.metrics.broken.get() >= 2);
}

#[tokio::test]
async fn questions_asked_while_discovery_is_away_are_answered_when_it_is_back() {
    let authority = authority();
    let address = nowhere().await;
    let proxy = proxy(&authority, &[address]);
    let asking = cart(&proxy).await;
    until("the attempt failed", || proxy.metrics.broken.get() > 0).await;
    let mut replica = Fake::start(&shown(&authority), Some(address)).await;
    let mut session = opened(&mut replica).await;
    assert_eq!(service(session.heard().await), "shop/cart");
    session.say(1, Body::Gone(v1::ServiceGone { service: "shop/cart".to_owned() })).await;
    assert!(matches!(asking.await.unwrap(), Answer::Absent));
}

#[tokio::test]
async fn refused_messages_are_counted_and_change_nothing() {
    let authority = authority();
    let mut replica = Fake::start(&shown(&authority), None).await;
    let proxy = proxy(&authority, &[replica.address]);
    let mut session = opened(&mut replica).await;
    let asking = cart(&proxy).await;
    assert_eq!(service(session.heard().await), "shop/cart");
    session.say(1, snapshot("shop/cart", &[("a", 1)])).await;
    asking.await.unwrap();
    let mut bad: v1::ServiceView = (&view("shop/cart", &[])).into();
    bad.service.as_mut().unwrap().ports.clear();
    session.say(2, Body::Snapshot(v1::ServiceSnapshot { view: Some(bad) })).await;
    until("counted", || proxy.metrics.refused.get() == 1).await;
    assert_eq!(proxy.catalog.peek(&name("shop/cart")).unwrap().revision, 1);
    assert!(proxy.catalog.connected(), "one bad message does not end the stream");
}

#[tokio::test]
async fn a_restarted_proxy_starts_from_disk_without_discovery() {
    let authority = authority();
    let mut replica = Fake::start(&shown(&authority), None).await;
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().to_owned();
    let before = proxy_in(&authority, &[replica.address], dir);
    let keeper = tokio::spawn(disk::keep(before.catalog.clone(), before.dir.clone(), before.metrics.clone()));
    let mut session = opened(&mut replica).await;
    let asking = cart(&before).await;
    assert_eq!(service(session.heard().await), "shop/cart");
    session.say(4, snapshot("shop/cart", &[("a", 1)])).await;
    asking.await.unwrap();
    until("saved", || disk::load(&before.dir).unwrap().is_some_and(|saved| saved.services.len() == 1)).await;
    keeper.abort();
    replica.stop().await;

    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(kept.join(disk::FILE), copy.path().join(disk::FILE)).unwrap();
    let after = proxy_in(&authority, &[nowhere().await], copy);
    let Answer::Known(known) = cart(&after).await.await.unwrap() else { panic!("nothing is known") };
    assert_eq!(known.view, view("shop/cart", &[("a", 1)]));
    assert!(!after.catalog.connected() && after.readiness.unmet().is_empty());
}

#[tokio::test]
async fn a_damaged_file_is_ignored() {
    let authority = authority();
    let mut replica = Fake::start(&shown(&authority), None).await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(disk::FILE), b"{\"version\":1,\"sha256\":\"x\"}\n{\"revision\":1}\n").unwrap();
    let proxy = proxy_in(&authority, &[replica.address], dir);
    opened(&mut replica).await;
    until("connected", || proxy.catalog.connected()).await;
    assert!(proxy.catalog.snapshot().services.is_empty());
}

#[tokio::test]
async fn policies_are_put_into_force_acknowledged_and_kept_when_a_message_is_refused() {
    let authority = authority();
    let mut replica = Fake::start(&shown(&authority), None).await;
    let proxy = proxy(&authority, &[replica.address]);
    let mut session = opened(&mut replica).await;
    let deny = v1::WorkloadPolicies { default_action: v1::Action::Deny.into(), ..Default::default() };
    session.say(7, Body::Policies(deny)).await;
    let told = proxy.catalog.guard().await.unwrap();
    assert!(told.table.is_some() && told.revision == 7);
    assert!(matches!(session.heard().await, Said::Ack(v1::Ack { revision: 7 })));

    session.say(8, Body::Policies(v1::WorkloadPolicies { default_action: 9, ..Default::default() })).await;
    until("refused", || proxy.metrics.refused.get() == 1).await;
    assert!(proxy.catalog.guard().await.unwrap().table.is_some(), "the old ones stay");

    session.say(9, Body::Policies(v1::WorkloadPolicies::default())).await;
    until("open", || proxy.catalog.snapshot().guard.as_ref().is_some_and(|guard| guard.table.is_none())).await;
}

#[tokio::test]
async fn a_proxy_is_a_newcomer_until_it_has_been_told_its_policies() {
    let authority = authority();
    let mut replica = Fake::start(&shown(&authority), None).await;
    let proxy = proxy(&authority, &[replica.address]);
    for (newcomer, told) in [(true, false), (true, true), (false, false)] {
        let mut session = replica.session().await;
        assert!(matches!(session.heard().await, Said::Hello(hello) if hello.newcomer == newcomer));
        assert!(matches!(session.heard().await, Said::Subscribe(_)), "its policies are asked for");
        if told {
            session.say(7, Body::Policies(v1::WorkloadPolicies::default())).await;
            proxy.catalog.guard().await.unwrap();
        }
        session.refuse(Status::unavailable("going away")).await;
    }
}

#[tokio::test]
async fn an_older_discovery_that_knows_no_policies_is_followed_without_them() {
    let authority = authority();
    let mut replica = Fake::start(&shown(&authority), None).await;
    let proxy = proxy(&authority, &[replica.address]);
    opened(&mut replica).await.refuse(Status::invalid_argument("target: names neither a service nor an address")).await;
    let mut session = replica.session().await;
    assert!(matches!(session.heard().await, Said::Hello(_)));
    let asking = cart(&proxy).await;
    assert_eq!(service(session.heard().await), "shop/cart", "the question that was not understood is not asked again");
    session.say(7, snapshot("shop/cart", &[("a", 1)])).await;
    asking.await.unwrap();
    until("ready without policies", || proxy.readiness.unmet().is_empty()).await;
    // It may have been another replica's age: the next stream asks again.
    session.refuse(Status::unavailable("going away")).await;
    opened(&mut replica).await;
}
