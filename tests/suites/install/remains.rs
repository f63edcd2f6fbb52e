//! What a cluster has, to see what an installation leaves behind.
//!
//! Lists every object of every kind that can be listed. Events, leases of the node and the like come and go by themselves and are
//! left out, by kind.

use crate::commands::Shell;
use anyhow::ensure;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Nobody installs these: they come and go by themselves, or exist only when asked about.
const PASSING: [&str; 8] = [
    "events",
    "events.events.k8s.io",
    "leases.coordination.k8s.io",
    "componentstatuses",
    "endpoints",
    "ipaddresses.networking.k8s.io",
    "controllerrevisions.apps",
    "apiservices.apiregistration.k8s.io",
];
const GATEWAY_API: &str = ".gateway.networking.k8s.io";
/// How long the garbage collector may take.
const SOON: Duration = Duration::from_secs(180);

/// Kind, namespace and name of each object.
pub fn everything(shell: &Shell) -> anyhow::Result<Vec<String>> {
    let kinds = shell.run("kubectl api-resources --verbs=list -o name")?;
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !PASSING.contains(kind)).collect();
    let format = "{range .items[*]}{.kind}{\" \"}{.metadata.namespace}{\"/\"}{.metadata.name}{\"\\n\"}{end}";
    let listed = shell.run(&format!("kubectl get {} -A --ignore-not-found -o jsonpath='{format}'", kinds.join(",")))?;
    Ok(listed.lines().map(str::to_owned).collect())
}

/// Fails unless all that is not in `before` goes.
pub async fn none(shell: &Shell, before: &[String]) -> anyhow::Result<()> {
    let before: BTreeSet<&String> = before.iter().collect();
    let deadline = Instant::now() + SOON;
    loop {
        let now = everything(shell)?;
        // Pods of the system may have been replaced, and the Gateway API is another installation.
        let others = |object: &&String| object.contains(" kube-system/") || object.ends_with(GATEWAY_API);
        let new: Vec<&String> = now.iter().filter(|object| !before.contains(object) && !others(object)).collect();
        if new.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "left behind: {new:#?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
