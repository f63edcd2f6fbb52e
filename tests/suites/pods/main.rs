//! Pods that really run: on a whole node, first as on any cluster, then with the mesh that the chart installs there.
//!
//! The first half is about the test cluster itself; when it fails, the failures of the second half, and of other suites on a node,
//! follow from it. One node serves all cases, in order. Where none can run, each case is skipped with the reason.

mod annotations;
mod hooks;
mod mesh;
mod plain;

use anyhow::{Context, ensure};
use k8s_openapi::api::batch::v1::Job;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use weft_examples::pods::poll_until_async;
use weft_tests::cluster::{Images, Node, helm, missing_node};
use weft_tests::suite::Stage;
use weft_tests::world::SOON;
use weft_tests::{Outcome, Suite};

/// A pod starts in seconds; a machine that stands still may take its time.
const LIMIT: Duration = Duration::from_secs(600);

const IMAGES: [&str; 5] = ["weft-proxy", "weft-discovery", "weft-injector", "weft-etcd", "weft-test-server"];

/// The node, until the last case ends it.
struct Cluster(Mutex<Option<Arc<Node>>>);

impl Cluster {
    fn start() -> anyhow::Result<Self> {
        let images = Images::packed(&IMAGES)?;
        let node = Node::start(&images.and(Images::tools()?))?;
        Ok(Self(Mutex::new(Some(Arc::new(node)))))
    }

    fn node(&self) -> anyhow::Result<Arc<Node>> {
        self.0.lock().expect("nobody panics inside").clone().context("the node has been ended")
    }
}

impl Stage for Cluster {
    fn testimony(&self) -> String {
        self.node().map(|node| node.testimony()).unwrap_or_default()
    }
}

fn main() -> ExitCode {
    Suite::on("node", Cluster::start)
        .unless(missing_node())
        .limit(LIMIT)
        .case("two pods of a deployment answer by the service's name and address", plain::served)
        .case("a program runs in a pod, and what a pod says can be read", plain::exec)
        .case("a pod's port is forwarded", plain::forwarded)
        .case("a job ends", plain::job)
        .case("three pods of a stateful set have names and volumes of their own", plain::volumes)
        .unless(missing_node().or_else(|| helm().err()))
        .case("helm installs the mesh", mesh::installed)
        .case("pods of a labelled namespace get sidecars and find each other", mesh::injected)
        .case("they speak mTLS, and the server is told who asks", mesh::encrypted)
        .case("under strict mTLS probes work and clients without a sidecar are refused", mesh::strict)
        .case("a hook by HTTP is made under strict mTLS, and its pod waits for it", hooks::made)
        .case("a hook by HTTP that nobody answers fails as without a sidecar", hooks::failed)
        .case("resources, workers, log level and drain time are what annotations ask for", annotations::in_force)
        .case("with DNS capture off the cluster's DNS is asked, and the mesh reached", annotations::dns)
        .case("a job with a sidecar ends", mesh::job)
        .case("weftctl finds the mesh through the API server, and all is well", mesh::checked)
        .case("pods that go and come under load lose no request", mesh::undisturbed)
        .case("helm takes the mesh back", mesh::uninstalled)
        .unless(missing_node())
        .case("nothing is left of a node that ends", ended)
        .run()
}

/// What the container `tools` of a Job has printed, once the Job has ended well.
async fn told_by_job(node: &Node, namespace: &str, name: &str) -> anyhow::Result<String> {
    let jobs = kube::Api::<Job>::namespaced(node.client().await?, namespace);
    let done = || async { (jobs.get(name).await.ok()?.status?.succeeded? == 1).then_some(()) };
    poll_until_async(Instant::now() + SOON * 4, "the job to end", done).await?;
    node.kubectl(&["-n", namespace, "logs", &format!("job/{name}"), "-c", "tools"])
}

/// Processes, cgroups, namespaces, files: none has the name of the node's network any more.
async fn ended(cluster: &Cluster) -> Outcome {
    let node = cluster.0.lock().expect("nobody panics inside").take().context("no node")?;
    let dir = node.dir().parent().context("a network's directory")?.to_owned();
    let name = dir.file_name().context("a name")?.to_string_lossy().into_owned();
    drop(Arc::into_inner(node).context("somebody still has the node")?);
    ensure!(!dir.exists(), "{} is left", dir.display());
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup")?.filter_map(Result::ok) {
        let cgroup = hierarchy.path().join(&name);
        ensure!(!cgroup.exists(), "{} is left", cgroup.display());
    }
    let mounts = std::fs::read_to_string("/proc/mounts")?;
    ensure!(!mounts.contains(&name), "mounts are left: {mounts}");
    for process in std::fs::read_dir("/proc")?.filter_map(Result::ok) {
        let said = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        ensure!(!String::from_utf8_lossy(&said).contains(&name), "left: {}", String::from_utf8_lossy(&said));
    }
    ensure!(!Path::new("/run/netns").join(format!("{name}-node")).exists(), "the node's network is left");
    Ok(())
}
