//! A workload with its certificate, as the proxy beside it would speak for it.
//!
//! Joins by token, then registers and subscribes; a wait that is in vain fails the test with what was waited for.

use crate::PATIENCE;
use crate::plane::Plane;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use weft_identity::certificate::{Credentials, Key};
use weft_identity::tls::{Alpn, bootstrap_client_config, client_config};
use weft_model::SpiffeId;
use weft_proto::v1;
use weft_proto::v1::authority_client::AuthorityClient;
use weft_proto::v1::certify_request::Proof;
use weft_proto::v1::discovery_client::DiscoveryClient;
use weft_proto::v1::subscribe_request::Body;

pub fn discovery_id() -> SpiffeId {
    SpiffeId::new("weft.local", "weft", "weft-discovery").unwrap()
}

pub async fn channel(address: SocketAddr, config: Arc<ClientConfig>) -> Channel {
    let connector = tower::service_fn(move |_| {
        let config = config.clone();
        async move {
            let tcp = TcpStream::connect(address).await?;
            let name = ServerName::from(address.ip());
            TlsConnector::from(config).connect(name, tcp).await.map(TokioIo::new)
        }
    });
    Endpoint::from_static("http://discovery").connect_with_connector(connector).await.unwrap()
}

/// Asks for a certificate without having one.
pub async fn certify(plane: &Plane, key: &Key, proof: Option<Proof>) -> Result<v1::CertifyResponse, Status> {
    certify_at(plane.address, &plane.anchors().await, key, proof).await
}

async fn certify_at(
    address: SocketAddr,
    anchors: &[CertificateDer<'static>],
    key: &Key,
    proof: Option<Proof>,
) -> Result<v1::CertifyResponse, Status> {
    let config = bootstrap_client_config(anchors, &discovery_id()).unwrap();
    let request = v1::CertifyRequest { csr: key.csr(), proof, proxy: "cart-0".to_owned(), ..Default::default() };
    let mut client = AuthorityClient::new(channel(address, config).await);
    client.certify(request).await.map(tonic::Response::into_inner)
}

pub fn credentials(key: &Key, response: v1::CertifyResponse) -> Credentials {
    let der = |list: Vec<Vec<u8>>| list.into_iter().map(CertificateDer::from).collect();
    Credentials::new(der(response.chain), key.private(), der(response.trust_anchors)).unwrap()
}

pub struct Workload {
    pub credentials: Credentials,
    pub channel: Channel,
}

impl Workload {
    /// Joins with a fresh token.
    pub async fn join(plane: &Plane, namespace: &str, account: &str) -> Self {
        let token = plane.token(namespace, account, 60).await.unwrap();
        Self::join_at(plane.address, &plane.anchors().await, token).await
    }

    /// Joins with what it was given, knowing nothing else of the replica.
    pub async fn join_at(address: SocketAddr, anchors: &[CertificateDer<'static>], token: String) -> Self {
        let key = Key::generate();
        let response = certify_at(address, anchors, &key, Some(Proof::JoinToken(token))).await.unwrap();
        Self::at(address, credentials(&key, response)).await
    }

    /// The same workload, connected to another replica.
    pub async fn with(plane: &Plane, credentials: Credentials) -> Self {
        Self::at(plane.address, credentials).await
    }

    async fn at(address: SocketAddr, credentials: Credentials) -> Self {
        let channel = channel(address, client_config(&credentials, &discovery_id(), Alpn::Rpc)).await;
        Self { credentials, channel }
    }

    pub fn discovery(&self) -> DiscoveryClient<Channel> {
        DiscoveryClient::new(self.channel.clone())
    }

    /// An endpoint of `service` as this workload would register it.
    pub fn endpoint(&self, service: &str, id: &str, address: &str) -> v1::Endpoint {
        v1::Endpoint {
            id: id.to_owned(),
            service: format!("{}/{service}", self.credentials.id.namespace),
            addresses: vec![address.to_owned()],
            weight: 1,
            identity: self.credentials.id.to_string(),
            ..Default::default()
        }
    }

    pub async fn register(
        &self,
        endpoint: v1::Endpoint,
        lease: i64,
        ttl_seconds: u64,
    ) -> Result<v1::RegisterResponse, Status> {
        let request = v1::RegisterRequest { endpoint: Some(endpoint), lease, ttl_seconds };
        self.discovery().register(request).await.map(tonic::Response::into_inner)
    }

    pub async fn subscribe(&self, proxy: &str) -> Subscription {
        self.try_subscribe(proxy).await.unwrap()
    }

    pub async fn try_subscribe(&self, proxy: &str) -> Result<Subscription, Status> {
        let hello = v1::Hello {
            proxy: proxy.to_owned(),
            namespace: self.credentials.id.namespace.clone(),
            ..Default::default()
        };
        self.open(Body::Hello(hello)).await
    }

    pub async fn open(&self, first: Body) -> Result<Subscription, Status> {
        let (to, requests) = mpsc::channel(64);
        to.send(v1::SubscribeRequest { body: Some(first) }).await.unwrap();
        let from = self.discovery().subscribe(ReceiverStream::new(requests)).await?.into_inner();
        Ok(Subscription { to, from })
    }
}

/// An open stream.
pub struct Subscription {
    pub to: mpsc::Sender<v1::SubscribeRequest>,
    pub from: Streaming<v1::SubscribeResponse>,
}

impl Subscription {
    pub async fn say(&self, body: Body) {
        self.to.send(v1::SubscribeRequest { body: Some(body) }).await.unwrap();
    }

    pub async fn service(&self, name: &str) {
        self.say(Body::Subscribe(service(name))).await;
    }

    pub async fn address(&self, address: &str) {
        let by = v1::target::By::Address(address.to_owned());
        self.say(Body::Subscribe(v1::Target { by: Some(by), doubted: false })).await;
    }

    /// The next message that is neither a beat, session keys nor trust anchors; keeps the stream alive meanwhile. An error: how the stream ended.
    pub async fn next(&mut self) -> Result<v1::SubscribeResponse, Status> {
        let ended = || Status::unknown("ended without a status");
        loop {
            let message = timeout(PATIENCE, self.from.message()).await.expect("nothing comes")?.ok_or_else(ended)?;
            match message.body {
                Some(v1::subscribe_response::Body::Beat(_)) => {
                    let _ = self.to.try_send(v1::SubscribeRequest { body: Some(Body::Beat(v1::Beat {})) });
                }
                Some(v1::subscribe_response::Body::SessionKeys(_) | v1::subscribe_response::Body::TrustAnchors(_)) => {}
                _ => return Ok(message),
            }
        }
    }

    /// The next message as a short text: see [`told`].
    pub async fn told(&mut self) -> String {
        told(&self.next().await.unwrap())
    }
}

pub fn service(name: &str) -> v1::Target {
    v1::Target { by: Some(v1::target::By::Service(name.to_owned())), doubted: false }
}

/// A message in a few words: `snapshot shop/cart a b`, `delta shop/cart +a -b head`, `gone shop/cart`, `198.18.0.1 is ...`.
pub fn told(message: &v1::SubscribeResponse) -> String {
    use v1::address_binding::To;
    use v1::subscribe_response::Body as Told;
    match message.body.as_ref().unwrap() {
        Told::Snapshot(snapshot) => {
            let view = snapshot.view.as_ref().unwrap();
            let mut text = format!("snapshot {}", view.service.as_ref().unwrap().name);
            view.endpoints.iter().for_each(|endpoint| text.push_str(&format!(" {}", endpoint.id)));
            text
        }
        Told::Delta(delta) => {
            let mut text = format!("delta {}", delta.service);
            delta.upserted.iter().for_each(|endpoint| text.push_str(&format!(" +{}", endpoint.id)));
            delta.removed.iter().for_each(|id| text.push_str(&format!(" -{id}")));
            if delta.head.is_some() { text + " head" } else { text }
        }
        Told::Gone(gone) => format!("gone {}", gone.service),
        Told::Binding(binding) => match &binding.to {
            Some(To::Service(service)) => format!("{} is {service}", binding.address),
            Some(To::Endpoint(endpoint)) => format!("{} is {} of {}", binding.address, endpoint.id, endpoint.service),
            None => format!("{} is unknown", binding.address),
        },
        Told::Dump(dump) => format!("dump {}", dump.id),
        Told::Policies(told) => {
            format!("policies {:?}", told.policies.iter().map(|policy| &policy.name).collect::<Vec<_>>())
        }
        Told::Ask(ask) => format!("ask {} {} {}", ask.id, ask.topic, ask.json),
        Told::Tap(tap) => format!("tap {}", tap.id),
        Told::Untap(tap) => format!("untap {}", tap.id),
        Told::SessionKeys(keys) => format!("session keys {:?}", keys.keys.iter().map(|key| key.id).collect::<Vec<_>>()),
        Told::TrustAnchors(told) => format!("trust anchors {}", told.anchors.len()),
        Told::Beat(_) => "beat".to_owned(),
    }
}
