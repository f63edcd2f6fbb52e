//! What annotations of a pod do to its sidecar, seen where it shows: in cgroups, threads, logs and who answers its DNS queries.
//!
//! One pod has them all; the client beside it has none.

use super::Cluster;
use super::mesh::weft_metrics;
use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;
use weft_examples::pods::poll_until;
use weft_tests::Outcome;
use weft_tests::cluster::Node;
use weft_tests::world::SOON;

const POD: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: annotated
  namespace: mesh
  labels: { app: annotated }
  annotations:
    weft.dev/dns-capture: disabled
    weft.dev/workers: '2'
    weft.dev/log-level: debug
    weft.dev/drain-timeout: 7s
    weft.dev/cpu-request: 20m
    weft.dev/cpu-limit: '2'
    weft.dev/memory-request: 40Mi
    weft.dev/memory-limit: 200Mi
spec:
  serviceAccountName: client
  terminationGracePeriodSeconds: 8
  containers:
    - { name: tools, image: 'localhost/tools:test', imagePullPolicy: Never, command: [sleep, infinity] }
";

/// What is asked for, as cgroup v1 has it: the controllers' directory by either of its names, file and value.
const RESOURCES: [(&[&str], &str, &str); 3] = [
    (&["memory"], "memory.limit_in_bytes", "209715200"),
    (&["cpu", "cpu,cpuacct"], "cpu.cfs_quota_us", "200000"),
    (&["cpu", "cpu,cpuacct"], "cpu.shares", "20"),
];

async fn annotated(node: &Node) -> anyhow::Result<Pod> {
    node.apply(POD).await?;
    let [name] = &node.wait_pods("mesh", "app=annotated", 1).await?[..] else { anyhow::bail!("not one pod") };
    Ok(kube::Api::<Pod>::namespaced(node.client().await?, "mesh").get(name).await?)
}

/// The cgroups of the pod's sidecar, by the names that the controllers' directory may have.
fn cgroup(node: &Node, pod: &Pod, controllers: &[&str]) -> anyhow::Result<PathBuf> {
    let statuses = pod.status.as_ref().and_then(|status| status.init_container_statuses.as_ref());
    let sidecar = statuses.into_iter().flatten().find(|status| status.name == "weft-proxy").context("no sidecar")?;
    let id = sidecar.container_id.as_deref().and_then(|id| id.rsplit('/').next()).context("no container")?;
    let network = node.dir().parent().and_then(Path::file_name).context("a network's directory")?;
    let roots = controllers.iter().map(|name| Path::new("/sys/fs/cgroup").join(name).join(network));
    let found = roots.filter(|root| root.exists()).find_map(|root| below(&root, id));
    found.with_context(|| format!("no cgroup of {id} among {controllers:?}"))
}

/// The directory at or below `directory` whose name has `id` in it.
fn below(directory: &Path, id: &str) -> Option<PathBuf> {
    if directory.file_name()?.to_string_lossy().contains(id) {
        return Some(directory.to_owned());
    }
    let entries = std::fs::read_dir(directory).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    entries.filter(|path| path.is_dir()).find_map(|path| below(&path, id))
}

/// What is asked for is what the kernel gives, and what the sidecar does.
pub async fn in_force(cluster: &Cluster) -> Outcome {
    let node = cluster.node()?;
    let pod = annotated(&node).await?;
    for (controllers, file, wanted) in RESOURCES {
        let given = std::fs::read_to_string(cgroup(&node, &pod, controllers)?.join(file))?;
        ensure!(given.trim() == wanted, "{file} is {} instead of {wanted}", given.trim());
    }
    let processes = std::fs::read_to_string(cgroup(&node, &pod, &["memory"])?.join("cgroup.procs"))?;
    let process = Path::new("/proc").join(processes.lines().next().context("no process")?);
    let threads = std::fs::read_dir(process.join("task"))?.filter_map(Result::ok);
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    let workers: BTreeSet<String> = names.filter(|name| name.starts_with("weft-data-")).collect();
    let cores = std::thread::available_parallelism()?.get();
    ensure!(workers.len() == cores.min(2), "{workers:?} with {cores} cores");
    let environment = std::fs::read(process.join("environ"))?;
    let drains = environment.split(|byte| *byte == 0).any(|variable| variable == b"WEFT_DRAIN_TIMEOUT=7s");
    ensure!(drains, "{}", String::from_utf8_lossy(&environment));
    let log = node.kubectl(&["-n", "mesh", "logs", "annotated", "-c", "weft-proxy"])?;
    ensure!(log.contains(" DEBUG "), "{log}");
    Ok(())
}

/// Without the capture the cluster's DNS is asked; what is dialled goes through the sidecar all the same.
pub async fn dns(cluster: &Cluster) -> Outcome {
    let node = cluster.node()?;
    annotated(&node).await?;
    let client = node.wait_pods("mesh", "app=client", 1).await?.remove(0);
    for (pod, is_captured) in [(client.as_str(), true), ("annotated", false)] {
        let answered = || weft_metrics(&node, pod).map(|metrics| metrics.sum("weft_dns_queries_total", &[]));
        let before = answered()?;
        let tools =
            |command: &[&str]| node.kubectl(&[&["-n", "mesh", "exec", pod, "-c", "tools", "--"], command].concat());
        let look = || tools(&["dig", "+short", "echo.mesh.svc.cluster.local"]).ok().filter(|said| !said.is_empty());
        poll_until(Instant::now() + SOON, "an address", look).context(pod.to_owned())?;
        ensure!((answered()? > before) == is_captured, "{pod}: {before}, then {} queries", answered()?);
        let said = tools(&["curl", "-sS", "--max-time", "20", "http://echo/headers"])?;
        ensure!(said.contains("URI=spiffe://weft.local/ns/mesh/sa/client"), "{pod}: {said}");
    }
    node.kubectl(&["-n", "mesh", "delete", "pod", "annotated", "--wait=false"]).map(drop)
}
