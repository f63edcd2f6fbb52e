//! Pods that really run: waiting for them, and what may explain one that does not.
//!
//! Waits poll the API server and are generous; one that ends in vain says what the pods of the namespace are up to.

use super::{Node, STARTUP};
use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use std::time::Instant;
use weft_examples::pods::poll_until_async;

impl Node {
    /// Waits until `count` pods with `labels` (as `kubectl -l` takes them) are ready and no other is left; their names.
    pub async fn wait_pods(&self, namespace: &str, labels: &str, count: usize) -> anyhow::Result<Vec<String>> {
        let pods = kube::Api::<Pod>::namespaced(self.client().await?, namespace);
        let params = ListParams::default().labels(labels);
        let look = || async {
            let listed = pods.list(&params).await.ok()?.items;
            (listed.len() == count && listed.iter().all(is_ready)).then_some(listed)
        };
        let what = format!("{count} ready pods {labels} in {namespace}");
        let waited = poll_until_async(Instant::now() + STARTUP, &what, look).await;
        let listed = waited.map_err(|error| anyhow::anyhow!("{error}\n{}", self.story_of(namespace)))?;
        Ok(listed.into_iter().filter_map(|pod| pod.metadata.name).collect())
    }

    /// Waits until `finished` holds for the pod, and returns it.
    pub async fn wait_pod(
        &self,
        namespace: &str,
        name: &str,
        what: &str,
        finished: impl Fn(&Pod) -> bool,
    ) -> anyhow::Result<Pod> {
        let pods = kube::Api::<Pod>::namespaced(self.client().await?, namespace);
        let look = || async { pods.get(name).await.ok().filter(&finished) };
        let waited = poll_until_async(Instant::now() + STARTUP, what, look).await;
        waited.with_context(|| format!("pod {namespace}/{name}\n{}", self.story_of(namespace)))
    }

    /// What the pods of a namespace are up to, for messages.
    pub(super) fn story_of(&self, namespace: &str) -> String {
        let pods = self.kubectl(&["-n", namespace, "get", "pods", "-o", "wide"]);
        let events = self.kubectl(&["-n", namespace, "get", "events", "--sort-by=.lastTimestamp"]);
        let events = events.unwrap_or_else(|error| error.to_string());
        let from = events.lines().count().saturating_sub(12);
        let events: Vec<&str> = events.lines().skip(from).collect();
        format!("{}{}", pods.unwrap_or_else(|error| error.to_string()), events.join("\n"))
    }

    /// The same of all namespaces, without what is as it should be.
    pub(super) fn story(&self) -> String {
        let Ok(pods) = self.kubectl(&["get", "pods", "-A", "--no-headers"]) else { return String::new() };
        let odd = |line: &&str| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let ready = columns.get(2).and_then(|ready| ready.split_once('/')).is_some_and(|(have, want)| have == want);
            !ready && columns.get(3) != Some(&"Completed")
        };
        pods.lines().filter(odd).collect::<Vec<_>>().join("\n")
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"));
    ready && pod.metadata.deletion_timestamp.is_none()
}
