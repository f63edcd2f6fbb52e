//! Which pods a cluster has: a certificate whose pod is gone is needed by nobody.
//!
//! Asked when a rotation of the root asks who still needs an anchor. Names alone, in pages. While the API server does not answer every pod
//! counts as there: then a rotation waits, which harms nobody.

use super::ledger::{Ledger, OWN_ACCOUNT, Proven};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::timeout;

/// For all pages together.
const PATIENCE: Duration = Duration::from_secs(5);
const PAGE: u32 = 500;

/// The pods of a cluster, as namespace and name.
pub struct Pods(HashSet<(String, String)>);

impl Pods {
    /// `None`: nobody can say.
    pub async fn now(client: Client) -> Option<Self> {
        match timeout(PATIENCE, list(client)).await {
            Ok(Ok(pods)) => Some(Self(pods)),
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot list pods; those that are gone count as there");
                None
            }
            Err(_) => {
                tracing::warn!("the API server does not list pods in time; those that are gone count as there");
                None
            }
        }
    }

    /// Whether the owner may still be there. Workloads that proved themselves otherwise need not be pods.
    pub fn may_have(&self, ledger: &Ledger) -> bool {
        let (namespace, name) = ledger.owner();
        match ledger.proof {
            Proven::Account => self.0.contains(&(namespace.to_owned(), name.to_owned())),
            Proven::Joined if ledger.identity.service_account == OWN_ACCOUNT => {
                self.0.iter().any(|(_, pod)| pod == name)
            }
            Proven::Joined => true,
        }
    }
}

async fn list(client: Client) -> Result<HashSet<(String, String)>, kube::Error> {
    let api: Api<Pod> = Api::all(client);
    let mut pods = HashSet::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let listed = api.list_metadata(&page).await?;
        pods.extend(listed.items.into_iter().filter_map(|pod| Some((pod.metadata.namespace?, pod.metadata.name?))));
        match listed.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => page = page.continue_token(&next),
            None => return Ok(pods),
        }
    }
}
