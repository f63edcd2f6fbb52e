//! A proxy of another version than discovery's: nothing but its stream, as an old sidecar that a rollout left behind has it.
//!
//! Joins by token like any other. It answers no question, because it says that it knows none.

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};
use weft_examples::pods::Pod;
use weft_identity::certificate::{Credentials, Key, from_pem};
use weft_identity::tls::{Alpn, bootstrap_client_config, client_config};
use weft_model::SpiffeId;
use weft_proto::v1;
use weft_proto::v1::authority_client::AuthorityClient;
use weft_proto::v1::certify_request::Proof;
use weft_proto::v1::discovery_client::DiscoveryClient;
use weft_proto::v1::subscribe_request::Body;
use weft_tests::World;
use weft_tests::client::dial;

/// The version it says it is of.
pub const VERSION: &str = "0.0.1";

/// Its stream, for as long as this lasts.
pub struct Older(JoinHandle<()>);

impl Drop for Older {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How often it says that it is there.
const BEAT: Duration = Duration::from_secs(3);

/// Acknowledges what it is told, and is heard of.
async fn live(to: mpsc::Sender<v1::SubscribeRequest>, mut from: Streaming<v1::SubscribeResponse>) {
    loop {
        let said = match tokio::time::timeout(BEAT, from.message()).await {
            Ok(Ok(Some(message))) => Body::Ack(v1::Ack { revision: message.revision }),
            Ok(_) => return,
            Err(_) => Body::Beat(v1::Beat {}),
        };
        if to.send(v1::SubscribeRequest { body: Some(said) }).await.is_err() {
            return;
        }
    }
}

impl Older {
    /// Connects from the pod `client` as `test/name`.
    pub async fn join(world: &World, name: &str) -> anyhow::Result<Self> {
        let replica = &world.mesh().discovery()[0];
        let anchors = from_pem(&std::fs::read_to_string(replica.trust_anchors())?)?;
        let discovery = SpiffeId::new("weft.local", "weft", "weft-discovery").map_err(anyhow::Error::msg)?;
        let node = world.network().node();
        let key = Key::generate();
        let bootstrap = channel(node, replica.api(), bootstrap_client_config(&anchors, &discovery)?).await?;
        let proof = Some(Proof::JoinToken(world.mesh().token("test", name)?));
        let request = v1::CertifyRequest { csr: key.csr(), proof, proxy: name.to_owned(), ..Default::default() };
        let signed = AuthorityClient::new(bootstrap).certify(request).await?.into_inner();
        let der = |list: Vec<Vec<u8>>| list.into_iter().map(CertificateDer::from).collect();
        let credentials = Credentials::new(der(signed.chain), key.private(), der(signed.trust_anchors))?;
        let config = client_config(&credentials, &discovery, Alpn::Rpc);
        let mut client = DiscoveryClient::new(channel(node, replica.api(), config).await?);
        let (to, requests) = mpsc::channel(4);
        let (proxy, namespace, version) = (name.to_owned(), "test".to_owned(), VERSION.to_owned());
        let hello = v1::Hello { proxy, namespace, version, ..Default::default() };
        to.send(v1::SubscribeRequest { body: Some(Body::Hello(hello)) }).await?;
        let from = client.subscribe(ReceiverStream::new(requests)).await?.into_inner();
        Ok(Self(tokio::spawn(live(to, from))))
    }
}

async fn channel(pod: &Pod, address: SocketAddr, config: Arc<ClientConfig>) -> anyhow::Result<Channel> {
    let pod = pod.clone();
    let connector = tower::service_fn(move |_| {
        let (config, pod) = (config.clone(), pod.clone());
        async move {
            let tcp = dial(&pod, address).map_err(std::io::Error::other)?;
            TlsConnector::from(config).connect(ServerName::from(address.ip()), tcp).await.map(TokioIo::new)
        }
    });
    Ok(Endpoint::from_static("http://discovery").connect_with_connector(connector).await?)
}
