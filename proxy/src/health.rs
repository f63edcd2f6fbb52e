//! Active health checks: asks the endpoints of the services that this proxy uses how they are, where policies want it.
//!
//! Beside the path, on the control runtime, once for all workers. Follows the catalog: what it forgets is no longer asked.
//! What is found goes into flags that belong to the catalog's snapshot, which every pick reads without a lock. A check that
//! fails is a finding, never an error.

mod ask;
mod meter;
mod streak;
mod subject;

pub use meter::HealthMetrics;

use crate::balance::subset::Client;
use crate::catalog::{Catalog, Snapshot};
use ask::Asker;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use streak::{Streak, pause};
use subject::{Subject, subjects};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use weft_identity::rotate::Identity;

/// Checks that may be under way at once; the others wait their turn, which does not count as their time.
const AT_ONCE: usize = 64;

/// Checks of one endpoint, until dropped.
#[derive(Debug)]
struct Watch {
    subject: Subject,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All checks of this process.
#[derive(Debug)]
pub struct Checker {
    catalog: Catalog,
    client: Client,
    metrics: HealthMetrics,
    asker: Asker,
    places: Arc<Semaphore>,
}

impl Checker {
    /// `client`: which endpoints of big services are this proxy's. `own`: this pod's addresses.
    pub fn new(
        catalog: Catalog,
        identity: Identity,
        own: Arc<[IpAddr]>,
        client: Client,
        metrics: HealthMetrics,
    ) -> Self {
        Self { catalog, client, metrics, asker: Asker { identity, own }, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Follows the catalog for as long as the process lives.
    pub async fn run(self) {
        let mut watches = HashMap::new();
        loop {
            // Before looking, so that a publication in between is not missed.
            let published = self.catalog.published();
            watches = self.follow(&self.catalog.snapshot(), watches);
            published.await;
        }
    }

    /// The checks that `snapshot` wants: those that go on, and new ones. The others end.
    fn follow(&self, snapshot: &Snapshot, mut before: HashMap<String, Watch>) -> HashMap<String, Watch> {
        let wanted = snapshot.services.values().flat_map(|known| subjects(known, self.client));
        let watch = |subject: Subject| {
            let key = format!("{}/{}", subject.endpoint.service, subject.endpoint.id);
            let watch = before.remove(&key).filter(|watch| watch.subject == subject);
            (key, watch.unwrap_or_else(|| self.watch(subject)))
        };
        wanted.map(watch).collect()
    }

    fn watch(&self, subject: Subject) -> Watch {
        let (asker, places) = (self.asker.clone(), Arc::clone(&self.places));
        let meter = self.metrics.of(&subject.endpoint.service.to_string());
        let of = subject.clone();
        let task = tokio::spawn(async move {
            let Subject { endpoint, check, health, .. } = &of;
            let mut streak = Streak::new(check, health.is_good());
            let mut _out = (!health.is_good()).then(|| meter.out());
            // Proxies that hear of a service together do not all ask at once.
            tokio::time::sleep(pause(check, fastrand::f64()) - check.interval).await;
            loop {
                let asked = {
                    let _place = places.acquire().await;
                    asker.ask(&of).await
                };
                meter.count(&asked);
                if let Some(good) = streak.observe(asked.is_ok()) {
                    health.set(good);
                    _out = (!good).then(|| meter.out());
                    let why = asked.as_ref().err().map(ToString::to_string).unwrap_or_default();
                    tracing::info!(service = %endpoint.service, endpoint = endpoint.id, healthy = good, why, "health changed");
                }
                tokio::time::sleep(pause(check, fastrand::f64())).await;
            }
        });
        Watch { subject, task }
    }
}
