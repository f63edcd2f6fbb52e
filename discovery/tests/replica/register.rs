//! Registrations: what a workload may say, and how long it lasts.
//!
//! Each call is a proxy's own, over mTLS; what became of it is read back through the admin socket.

use crate::both;
use crate::plane::Plane;
use crate::stores::Fixture;
use crate::workload::Workload;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tonic::Code;
use weft_identity::certificate::{from_pem, to_pem};
use weft_proto::v1;

both! {
    a_registration_lasts_while_it_is_kept_alive
    a_workload_speaks_for_itself_only
    a_lease_belongs_to_its_holder
    registering_again_replaces
    a_restarted_workload_takes_over
    a_workload_that_is_killed_is_out_when_its_lease_is
}

async fn ids(plane: &Plane) -> Vec<String> {
    plane.get("endpoints").await.into_iter().map(|endpoint| endpoint.name).collect()
}

async fn a_registration_lasts_while_it_is_kept_alive(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    let cart = Workload::join(&plane, "shop", "cart").await;
    let kept = cart.register(cart.endpoint("cart", "cart-0", "10.0.0.1"), 0, 5).await.unwrap();
    assert_eq!(kept.ttl_seconds, 5);
    let lost = cart.register(cart.endpoint("cart", "cart-1", "10.0.0.2"), 0, 5).await.unwrap();
    assert_eq!(ids(&plane).await, ["cart-0", "cart-1"]);
    crate::eventually("the lease that is not kept alive runs out", async || {
        let mut client = cart.discovery();
        client.heartbeat(v1::HeartbeatRequest { lease: kept.lease }).await.unwrap();
        ids(&plane).await == ["cart-0"]
    })
    .await;
    let gone = cart.discovery().heartbeat(v1::HeartbeatRequest { lease: lost.lease }).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    let gone = cart.register(cart.endpoint("cart", "cart-1", "10.0.0.2"), lost.lease, 0).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    cart.discovery().withdraw(v1::WithdrawRequest { lease: kept.lease }).await.unwrap();
    assert!(ids(&plane).await.is_empty());
    assert!(fixture.store.range("leases/").await.unwrap().entries.is_empty());
}

async fn a_workload_speaks_for_itself_only(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    let cart = Workload::join(&plane, "shop", "cart").await;
    let good = || cart.endpoint("cart", "cart-0", "10.0.0.1");
    let table = [
        (v1::Endpoint { service: "bank/vault".to_owned(), ..good() }, Code::PermissionDenied, "endpoint.service: "),
        (
            v1::Endpoint { identity: "spiffe://weft.local/ns/shop/sa/other".to_owned(), ..good() },
            Code::PermissionDenied,
            "endpoint.identity: ",
        ),
        (v1::Endpoint { identity: String::new(), ..good() }, Code::InvalidArgument, "endpoint.identity: "),
        (v1::Endpoint { addresses: vec![], ..good() }, Code::InvalidArgument, "endpoint.addresses: "),
        (
            v1::Endpoint { addresses: vec!["0.0.0.0".to_owned()], ..good() },
            Code::InvalidArgument,
            "endpoint.addresses: ",
        ),
        (v1::Endpoint { id: "a/b".to_owned(), ..good() }, Code::InvalidArgument, "endpoint.id: "),
        (v1::Endpoint { service: "cart".to_owned(), ..good() }, Code::InvalidArgument, "endpoint.service: "),
        (
            v1::Endpoint { ports: [("http".to_owned(), 0)].into(), ..good() },
            Code::InvalidArgument,
            "endpoint.ports[\"http\"]: ",
        ),
    ];
    for (endpoint, code, field) in table {
        let refused = cart.register(endpoint, 0, 0).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().starts_with(field), "{refused}");
    }
    for ttl in [1, 4, 301, u64::MAX] {
        let refused = cart.register(good(), 0, ttl).await.unwrap_err();
        assert!(refused.message().starts_with("ttl_seconds: "), "{refused}");
    }
    assert!(ids(&plane).await.is_empty());
    let missing = v1::RegisterRequest { endpoint: None, lease: 0, ttl_seconds: 0 };
    assert_eq!(cart.discovery().register(missing).await.unwrap_err().code(), Code::InvalidArgument);
}

async fn a_lease_belongs_to_its_holder(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    let cart = Workload::join(&plane, "shop", "cart").await;
    let thief = Workload::join(&plane, "shop", "thief").await;
    let lease = cart.register(cart.endpoint("cart", "cart-0", "10.0.0.1"), 0, 0).await.unwrap().lease;
    let withdraw = thief.discovery().withdraw(v1::WithdrawRequest { lease }).await.unwrap_err();
    let heartbeat = thief.discovery().heartbeat(v1::HeartbeatRequest { lease }).await.unwrap_err();
    let replace = thief.register(thief.endpoint("cart", "cart-0", "6.6.6.6"), lease, 0).await.unwrap_err();
    assert_eq!([withdraw.code(), heartbeat.code(), replace.code()], [Code::NotFound; 3]);
    let name = thief.register(thief.endpoint("cart", "cart-0", "6.6.6.6"), 0, 0).await.unwrap_err();
    assert_eq!(name.code(), Code::AlreadyExists, "{name}");
    assert!(plane.get("endpoints").await[0].model_json.contains("10.0.0.1"));
}

async fn registering_again_replaces(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    let cart = Workload::join(&plane, "shop", "cart").await;
    let lease = cart.register(cart.endpoint("cart", "cart-0", "10.0.0.1"), 0, 0).await.unwrap().lease;
    let mut draining = cart.endpoint("cart", "cart-0", "10.0.0.1");
    draining.state = v1::EndpointState::Terminating.into();
    assert_eq!(cart.register(draining, lease, 0).await.unwrap().lease, lease);
    assert!(plane.get("endpoints").await[0].model_json.contains("terminating"));
    cart.register(cart.endpoint("checkout", "cart-0", "10.0.0.1"), lease, 0).await.unwrap();
    let [moved] = &plane.get("endpoints").await[..] else { panic!("the same lease holds one endpoint") };
    assert!(moved.model_json.contains("checkout"));
}

async fn a_restarted_workload_takes_over(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    let cart = Workload::join(&plane, "shop", "cart").await;
    let before = cart.register(cart.endpoint("cart", "cart-0", "10.0.0.1"), 0, 0).await.unwrap().lease;
    let after = cart.register(cart.endpoint("cart", "cart-0", "10.0.0.2"), 0, 0).await.unwrap().lease;
    assert_ne!(before, after);
    cart.discovery().withdraw(v1::WithdrawRequest { lease: before }).await.unwrap();
    assert!(plane.get("endpoints").await[0].model_json.contains("10.0.0.2"), "the late withdrawal is not for it");
}

/// A folder with what the workload that is to be killed has to know.
const KILLED: &str = "WEFT_TEST_KILLED_WORKLOAD";

/// Not a test of its own: the process that the test below kills. It registers, keeps its lease alive and says so.
#[tokio::test]
async fn killed_workload() {
    let Some(folder) = std::env::var_os(KILLED) else { return };
    let read = |file: &str| std::fs::read_to_string(Path::new(&folder).join(file)).unwrap();
    let anchors = from_pem(&read("anchors.pem")).unwrap();
    let cart = Workload::join_at(read("address").parse().unwrap(), &anchors, read("token")).await;
    let registered = cart.register(cart.endpoint("cart", "cart-0", "10.0.0.1"), 0, 5).await.unwrap();
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    loop {
        ticks.tick().await;
        cart.discovery().heartbeat(v1::HeartbeatRequest { lease: registered.lease }).await.unwrap();
        println!("alive");
    }
}

async fn a_workload_that_is_killed_is_out_when_its_lease_is(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    plane
        .apply("{apiVersion: v1, kind: Service, metadata: {name: cart, namespace: shop}, spec: {ports: [{port: 80}]}}")
        .await;
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, text: String| std::fs::write(folder.path().join(file), text).unwrap();
    write("address", plane.address.to_string());
    write("anchors.pem", to_pem(&plane.anchors().await));
    write("token", plane.token("shop", "cart", 60).await.unwrap());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "register::killed_workload", "--nocapture"])
        .env(KILLED, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut alive = lines.filter(|line| line.contains("alive"));
    let heard = tokio::task::spawn_blocking(move || (alive.nth(20), alive)).await.unwrap();
    assert!(heard.0.is_some(), "the workload keeps its lease alive");
    let web = Workload::join(&plane, "shop", "web").await;
    let mut stream = web.subscribe("web-0").await;
    stream.service("shop/cart").await;
    assert_eq!(stream.told().await, "snapshot shop/cart cart-0");
    child.kill().unwrap();
    let killed = Instant::now();
    assert_eq!(child.wait().unwrap().signal(), Some(9), "it lived until now");
    assert_eq!(stream.told().await, "delta shop/cart -cart-0");
    // Its last heartbeat was a moment ago.
    assert!(killed.elapsed() > Duration::from_secs(3), "{:?}: its lease was not over", killed.elapsed());
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
}
