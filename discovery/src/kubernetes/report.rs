//! Writes statuses back to the API server, beside everything else: endpoints never wait for it.
//!
//! Takes one lot of patches at a time; what comes while it is busy is made anew later, from what is so then. A document that
//! somebody changed meanwhile is left for the next time.

use super::document;
use super::status::Patch;
use crate::metrics::{Metrics, Outcome};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch as Change, PatchParams};
use serde_json::json;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Who says so, in managed fields.
const MANAGER: &str = "weft-discovery";
/// After a lot of which something could not be written, with a random part.
const PAUSE: Duration = Duration::from_secs(5);

/// The writer; dropping it ends it.
pub struct Reporter {
    patches: Sender<Vec<Patch>>,
    _task: JoinSet<()>,
}

impl Reporter {
    pub fn start(client: Client, metrics: Metrics) -> Self {
        let (patches, lots) = channel(1);
        let mut task = JoinSet::new();
        task.spawn(write(client, lots, metrics));
        Self { patches, _task: task }
    }

    /// Whether it has room for the next lot.
    pub fn is_idle(&self) -> bool {
        self.patches.capacity() > 0
    }

    pub fn write(&self, patches: Vec<Patch>) {
        // Full: they are made again.
        let _ = self.patches.try_send(patches);
    }
}

async fn write(client: Client, mut lots: Receiver<Vec<Patch>>, metrics: Metrics) {
    while let Some(lot) = lots.recv().await {
        let mut failed = false;
        for patch in lot {
            let outcome = one(&client, &patch).await;
            metrics.controller_statuses.get_or_create(&Outcome::of(outcome)).inc();
            failed |= outcome == "failed";
        }
        if failed {
            sleep(PAUSE.mul_f64(0.5 + fastrand::f64())).await;
        }
    }
}

async fn one(client: &Client, patch: &Patch) -> &'static str {
    let (namespace, name) = &patch.name;
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &document::resource(patch.kind));
    let change = json!({ "metadata": { "resourceVersion": patch.version }, "status": patch.status });
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    match api.patch_status(name, &parameters, &Change::Merge(&change)).await {
        Ok(_) => "written",
        // Changed or deleted meanwhile: the watch tells of it.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => "outdated",
        Err(error) => {
            tracing::warn!(%error, kind = patch.kind.name(), namespace, name, "the status was not written; trying again");
            "failed"
        }
    }
}
