//! Who makes the changes: registers an endpoint in each of some services, and then says of one after the other that it has changed.
//!
//! Through discovery's own API, at a fixed rate whatever the answers do. A change that is refused fails the run.

use super::arrivals::{Arrivals, UNCHANGED};
use super::membership::{Membership, Wire};
use super::names::{NAMESPACE, service};
use anyhow::Context;
use futures::{StreamExt, TryStreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use weft_proto::v1;
use weft_proto::v1::discovery_client::DiscoveryClient;

/// The longest lease that discovery grants: longer than any run, so that nothing has to keep the leases.
const LEASE: Duration = Duration::from_secs(300);
/// Registrations under way at the same time.
const AT_ONCE: usize = 32;

/// Registered endpoints, one for each of the first services.
pub struct Writer {
    client: DiscoveryClient<Channel>,
    identity: String,
    leases: Vec<i64>,
}

impl Writer {
    /// Registers in the first `services` services.
    pub async fn start(membership: &Membership, services: usize) -> anyhow::Result<Self> {
        let client = DiscoveryClient::new(membership.connect(&Arc::<Wire>::default()).await?);
        let mut writer = Self { client, identity: membership.identity().to_string(), leases: vec![] };
        let register = |n| writer.put(n, UNCHANGED, 0);
        let registered = futures::stream::iter(0..services).map(register).buffered(AT_ONCE);
        let leases = registered.try_collect().await.context("register")?;
        writer.leases = leases;
        Ok(writer)
    }

    /// Makes all changes that `arrivals` has room for, so many each second, one service after the other.
    pub async fn change(&self, arrivals: &Arc<Arrivals>, rate: u32) -> anyhow::Result<()> {
        let mut due = tokio::time::interval(Duration::from_secs(1) / rate);
        let mut calls = JoinSet::new();
        for n in 0..arrivals.progress().1 {
            due.tick().await;
            let at = n % self.leases.len();
            let (arrivals, call) = (Arc::clone(arrivals), self.put(at, Arrivals::weight(n), self.leases[at]));
            calls.spawn(async move {
                arrivals.made(n);
                call.await
            });
        }
        while let Some(done) = calls.join_next().await {
            done??;
        }
        Ok(())
    }

    fn put(&self, n: usize, weight: u32, lease: i64) -> impl Future<Output = anyhow::Result<i64>> + Send + use<> {
        let endpoint = v1::Endpoint {
            id: format!("changing-{n}"),
            service: format!("{NAMESPACE}/{}", service(n)),
            addresses: vec![format!("172.16.{}.{}", n / 250, n % 250 + 1)],
            weight,
            identity: self.identity.clone(),
            ..v1::Endpoint::default()
        };
        let mut client = self.client.clone();
        let request = v1::RegisterRequest { endpoint: Some(endpoint), lease, ttl_seconds: LEASE.as_secs() };
        async move {
            let answer = client.register(request).await.with_context(|| format!("endpoint {n}, weight {weight}"))?;
            Ok(answer.into_inner().lease)
        }
    }
}
