//! Which pods a cluster has: a certificate whose pod is gone is needed by nobody.
//!
//! Asked when a rotation of the root asks who still needs an anchor. Names alone, in pages; whoever only looks is shown the last list for a
//! while, so that looking often costs the API server nothing. While the API server does not answer every pod
//! counts as there: then a rotation waits, which harms nobody.

use super::ledger::{Ledger, OWN_ACCOUNT, Proven};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// For all pages together.
const PATIENCE: Duration = Duration::from_secs(5);
const PAGE: u32 = 500;

/// How long a list is good enough for whoever only looks.
pub const LATELY: Duration = Duration::from_secs(10);

/// Lists of a cluster's pods, and the last of them.
pub struct PodLists {
    client: Client,
    last: Mutex<Option<(Instant, Arc<Pods>)>>,
}

impl PodLists {
    pub fn new(client: Client) -> Self {
        Self { client, last: Mutex::new(None) }
    }

    /// The pods that there are, or were at most `age` ago. `None`: nobody can say. Those who ask at the same time wait for one list.
    pub async fn within(&self, age: Duration) -> Option<Arc<Pods>> {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some((begun, pods)) = &*last
            && (*begun >= asked || begun.elapsed() < age)
        {
            return Some(pods.clone());
        }
        let begun = Instant::now();
        *last = Pods::now(self.client.clone()).await.map(|pods| (begun, Arc::new(pods)));
        last.as_ref().map(|(_, pods)| pods.clone())
    }
}

/// The pods of a cluster, as namespace and name.
pub struct Pods(HashSet<(String, String)>);

impl Pods {
    /// `None`: nobody can say.
    async fn now(client: Client) -> Option<Self> {
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
