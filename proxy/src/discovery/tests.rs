//! Which replica of discovery is spoken to: those that are down, impostors, and connections that died.
//!
//! Against replicas that do what a test tells them, over real sockets and TLS.

use super::fake::{Fake, authority, credentials, discovery_id, identity, nowhere};
use super::*;
use tokio::net::TcpListener;
use weft_proto::v1::discovery_client::DiscoveryClient;
use weft_proto::v1::{HeartbeatRequest, WithdrawRequest};

async fn heartbeat(channel: Channel, lease: i64) -> Result<(), Status> {
    DiscoveryClient::new(channel).heartbeat(HeartbeatRequest { lease }).await.map(|_| ())
}

#[tokio::test]
async fn a_replica_that_is_down_is_passed_over_and_the_next_one_is_remembered() {
    let authority = authority();
    let up = Fake::start(&credentials(&authority, "weft", "weft-discovery"), None).await;
    let discovery = Discovery::at(vec![format!("https://{}", nowhere().await), up.url()], discovery_id());
    let tls = discovery.client(&identity(&authority));
    discovery.ask(&tls, |channel| heartbeat(channel, 1)).await.unwrap();
    assert_eq!(discovery.current(), 1);
    let refused = discovery.ask(&tls, |channel| heartbeat(channel, 2)).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::NotFound));
    assert_eq!(discovery.current(), 1, "what every replica would say is final");
}

#[tokio::test]
async fn when_no_replica_serves_the_last_reason_is_told() {
    let authority = authority();
    let up = Fake::start(&credentials(&authority, "weft", "weft-discovery"), None).await;
    let discovery = Discovery::at(vec![up.url(), format!("https://{}", nowhere().await)], discovery_id());
    let withdraw =
        |channel| async { DiscoveryClient::new(channel).withdraw(WithdrawRequest { lease: 1 }).await.map(|_| ()) };
    let error = discovery.ask(&discovery.client(&identity(&authority)), withdraw).await.unwrap_err().to_string();
    assert!(error.contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn nobody_but_discovery_itself_is_spoken_to() {
    let authority = authority();
    let impostor = Fake::start(&credentials(&authority, "shop", "cart"), None).await;
    let discovery = Discovery::at(vec![impostor.url()], discovery_id());
    let asked = discovery.ask(&discovery.client(&identity(&authority)), |channel| heartbeat(channel, 1)).await;
    let error = asked.unwrap_err().to_string();
    assert!(error.contains("spiffe://weft.local/ns/shop/sa/cart"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_hangs_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let discovery = Discovery::at(vec![format!("https://{address}")], discovery_id());
    let asked = discovery.ask(&discovery.client(&identity(&authority())), |channel| heartbeat(channel, 1)).await;
    assert!(asked.unwrap_err().to_string().contains(&address.to_string()));
}

#[tokio::test]
async fn a_kept_connection_that_died_is_made_again() {
    let authority = authority();
    let shown = credentials(&authority, "weft", "weft-discovery");
    let first = Fake::start(&shown, None).await;
    let address = first.address;
    let mut caller = Caller::new(Discovery::at(vec![first.url()], discovery_id()), identity(&authority));
    caller.ask(|channel| heartbeat(channel, 1)).await.unwrap();
    first.stop().await;
    let _second = Fake::start(&shown, Some(address)).await;
    caller.ask(|channel| heartbeat(channel, 1)).await.unwrap();
    assert_eq!(caller.ask(|channel| heartbeat(channel, 7)).await.unwrap_err().code(), Some(Code::NotFound));
}
