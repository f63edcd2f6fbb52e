//! A registration's life: made, kept, made again when its lease is gone, and taken out at the end.
//!
//! Against a discovery that does what a test tells it; the application whose health is checked is a socket of the test's own.

use super::*;
use crate::config::tests::example;
use crate::config::{HealthCheck, Registration};
use crate::discovery::fake::{Fake, authority, credentials, discovery_id, identity, nowhere};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use weft_model::{Port, ServiceName};
use weft_proto::v1;
use weft_proto::v1::discovery_server::{Discovery as Service, DiscoveryServer};

const DEADLINE: Duration = Duration::from_secs(20);

/// What a proxy said, in the order it said it.
#[derive(Debug, PartialEq)]
enum Said {
    Registered { id: String, lease: i64, ready: bool },
    Kept(i64),
    Withdrawn(i64),
}

/// Grants leases 7, 8, and so on; a lease is gone once it has been kept twice.
struct Replica {
    said: mpsc::Sender<Said>,
    granted: std::sync::atomic::AtomicI64,
    kept: std::sync::atomic::AtomicU32,
}

#[tonic::async_trait]
impl Service for Replica {
    type SubscribeStream = ReceiverStream<Result<v1::SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        _: Request<Streaming<v1::SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn register(&self, request: Request<v1::RegisterRequest>) -> Result<Response<v1::RegisterResponse>, Status> {
        let v1::RegisterRequest { endpoint, lease, .. } = request.into_inner();
        let endpoint = Endpoint::try_from(endpoint.unwrap()).unwrap();
        let ready = endpoint.state == EndpointState::Ready;
        self.said.send(Said::Registered { id: endpoint.id, lease, ready }).await.unwrap();
        let new = || self.granted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let lease = if lease == 0 { new() } else { lease };
        Ok(Response::new(v1::RegisterResponse { lease, ttl_seconds: 1, revision: 1 }))
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::HeartbeatResponse>, Status> {
        let lease = request.into_inner().lease;
        if self.kept.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 2 {
            return Err(Status::not_found("gone"));
        }
        self.said.send(Said::Kept(lease)).await.unwrap();
        Ok(Response::new(v1::HeartbeatResponse {}))
    }

    async fn withdraw(&self, request: Request<v1::WithdrawRequest>) -> Result<Response<v1::WithdrawResponse>, Status> {
        self.said.send(Said::Withdrawn(request.into_inner().lease)).await.unwrap();
        Ok(Response::new(v1::WithdrawResponse {}))
    }
}

async fn replica(authority: &weft_identity::certificate::Authority) -> (Fake, mpsc::Receiver<Said>) {
    let (said, heard) = mpsc::channel(64);
    let replica = Replica { said, granted: 7.into(), kept: 0.into() };
    let shown = credentials(authority, "weft", "weft-discovery");
    (Fake::serving(&shown, None, Routes::new(DiscoveryServer::new(replica))).await, heard)
}

fn config(health_check: Option<HealthCheck>) -> Config {
    let ports = BTreeMap::from([("http".to_owned(), Port::new(8080).unwrap())]);
    let service = ServiceName::parse("shop/cart").unwrap();
    Config {
        register: vec![Registration { service, ports }],
        address: vec!["10.0.0.7".parse().unwrap()],
        service_account: "cart".to_owned(),
        health_check,
        ..example()
    }
}

fn start(config: Config, addresses: &[SocketAddr], identity: &Identity) -> Registrations {
    let urls = addresses.iter().map(|address| format!("https://{address}")).collect();
    let mut registry = Registry::new("weft-proxy", "1.2.3");
    Registrar::new(Arc::new(config), Discovery::at(urls, discovery_id()), &mut registry).start(identity)
}

async fn next(heard: &mut mpsc::Receiver<Said>) -> Said {
    tokio::time::timeout(DEADLINE, heard.recv()).await.expect("nothing was said").unwrap()
}

fn registered(lease: i64, ready: bool) -> Said {
    Said::Registered { id: "cart-1".to_owned(), lease, ready }
}

#[tokio::test]
async fn an_endpoint_is_kept_registered_again_when_its_lease_is_gone_and_withdrawn() {
    let authority = authority();
    let (replica, mut heard) = replica(&authority).await;
    // The first replica is down: the second serves.
    let addresses = [nowhere().await, replica.address];
    let registrations = start(config(None), &addresses, &identity(&authority));
    assert_eq!(next(&mut heard).await, registered(0, true));
    assert_eq!(next(&mut heard).await, Said::Kept(7));
    assert_eq!(next(&mut heard).await, Said::Kept(7));
    assert_eq!(next(&mut heard).await, registered(0, true));
    assert_eq!(next(&mut heard).await, Said::Kept(8));
    registrations.withdraw().await;
    while let Ok(said) = heard.try_recv() {
        assert!(matches!(said, Said::Kept(8) | Said::Withdrawn(8)), "{said:?}");
        if said == Said::Withdrawn(8) {
            return;
        }
    }
    panic!("nothing was withdrawn");
}

#[tokio::test]
async fn an_endpoint_is_ready_when_its_application_is() {
    let authority = authority();
    let (replica, mut heard) = replica(&authority).await;
    let port = nowhere().await;
    let check = HealthCheck::Tcp(Port::new(port.port()).unwrap());
    let registrations = start(config(Some(check)), &[replica.address], &identity(&authority));
    assert_eq!(next(&mut heard).await, registered(0, false));
    let _application = TcpListener::bind(port).await.unwrap();
    loop {
        match next(&mut heard).await {
            Said::Registered { ready: true, .. } => break,
            said => assert!(!matches!(said, Said::Withdrawn(_)), "{said:?}"),
        }
    }
    registrations.withdraw().await;
}

#[tokio::test]
async fn a_discovery_that_is_away_does_not_hold_up_the_end() {
    let authority = authority();
    let registrations = start(config(None), &[nowhere().await], &identity(&authority));
    tokio::time::timeout(DEADLINE, registrations.withdraw()).await.unwrap();
}
