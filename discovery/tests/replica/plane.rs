//! A control plane of one replica on a given store.
//!
//! Started as the program starts it, but for the signals and the probes; it ends with the test.

use crate::stores::Fixture;
use clap::Parser;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use weft_discovery::config::{Config, Flags};
use weft_discovery::metrics::Metrics;
use weft_discovery::registry::{BrakeSettings, Registry};
use weft_discovery::replica::{Ground, Replica, ReplicaError};
use weft_discovery::serve::Settings;
use weft_discovery::store::Store;
use weft_identity::certificate::from_pem;
use weft_proto::v1;
use weft_proto::v1::admin_client::AdminClient;

/// Beats as fast as a test can wait for.
pub const FAST: Settings =
    Settings { beat: Duration::from_millis(100), silence: Duration::from_millis(1500), subscriptions: 3 };

pub struct Plane {
    pub admin: AdminClient<Channel>,
    pub address: SocketAddr,
    pub metrics: Metrics,
    pub shutdown: CancellationToken,
    replica: Replica,
}

impl Plane {
    pub async fn start(fixture: &Fixture) -> Self {
        Self::start_with(fixture, Settings::default()).await
    }

    pub async fn start_with(fixture: &Fixture, streams: Settings) -> Self {
        Self::try_start(fixture, streams, &[]).await.unwrap()
    }

    pub async fn try_start(fixture: &Fixture, streams: Settings, flags: &[&str]) -> Result<Self, ReplicaError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("replica-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let socket = fixture.path().join(format!("{name}.sock"));
        let config = config(&name, &socket, flags);
        let metrics = Metrics::default();
        let shutdown = CancellationToken::new();
        let store: Arc<dyn Store> = fixture.store.clone();
        let registry = Registry::start(store.clone(), BrakeSettings::default());
        let ground =
            Ground { store, registry, metrics: metrics.clone(), streams, kubernetes: None, shutdown: shutdown.clone() };
        let replica = Replica::start(&config, ground).await?;
        let channel = Endpoint::from_static("http://admin")
            .connect_with_connector(tower::service_fn(move |_| {
                let socket = socket.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            }))
            .await
            .unwrap();
        let address = replica.address;
        Ok(Self { admin: AdminClient::new(channel), address, metrics, shutdown, replica })
    }

    /// Applies documents that are good.
    pub async fn apply(&self, yaml: &str) -> v1::ApplyResponse {
        self.try_apply(yaml).await.unwrap()
    }

    pub async fn try_apply(&self, yaml: &str) -> Result<v1::ApplyResponse, tonic::Status> {
        let request = v1::ApplyRequest { yaml: yaml.to_owned(), dry_run: false };
        self.admin.clone().apply(request).await.map(tonic::Response::into_inner)
    }

    pub async fn get(&self, kind: &str) -> Vec<v1::Object> {
        let request = v1::GetRequest { kind: kind.to_owned(), ..Default::default() };
        self.admin.clone().get(request).await.unwrap().into_inner().objects
    }

    pub async fn delete(&self, kind: &str, namespace: &str, name: &str) -> Result<u64, tonic::Status> {
        let (kind, namespace, name) = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        let deleted = self.admin.clone().delete(v1::DeleteRequest { kind, namespace, name }).await?;
        Ok(deleted.into_inner().revision)
    }

    pub async fn token(&self, namespace: &str, account: &str, ttl_seconds: u64) -> Result<String, tonic::Status> {
        let (namespace, service_account) = (namespace.to_owned(), account.to_owned());
        let request = v1::CreateJoinTokenRequest { namespace, service_account, ttl_seconds };
        Ok(self.admin.clone().create_join_token(request).await?.into_inner().token)
    }

    pub async fn anchors(&self) -> Vec<rustls::pki_types::CertificateDer<'static>> {
        let anchors = self.admin.clone().get_trust_anchors(v1::GetTrustAnchorsRequest {}).await.unwrap();
        from_pem(&anchors.into_inner().pem).unwrap()
    }

    /// Ends the replica in order.
    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(crate::PATIENCE, self.replica.ended()).await.expect("the replica does not end");
    }
}

pub fn config(name: &str, socket: &Path, flags: &[&str]) -> Config {
    let own = ["weft-discovery", "--replica", name, "--listen", "127.0.0.1:0"];
    let args = own.iter().map(ToString::to_string).chain(["--admin-socket".to_owned(), socket.display().to_string()]);
    let flags = Flags::parse_from(args.chain(flags.iter().map(ToString::to_string)));
    Config::check(flags).map_err(|faults| faults.join("\n")).ok().unwrap()
}
