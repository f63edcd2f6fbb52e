//! A whole node beside the API server: pods run for real, by containerd, kubelet, kube-proxy, controllers and scheduler.
//!
//! It lives in namespaces and cgroups of its own. Comes up within half a minute, with names (CoreDNS), a default class of volumes
//! and the images it is given, or fails with what its programs say. Invariant: it goes with the value, and with this process however
//! that ends; what the kernel does not take back by itself (empty cgroups, a directory) the next run sweeps away.
//!
//! ```text
//! images (archives) -> Node::start -> Api          (etcd, API server)
//!                                  -> controllers, scheduler
//!                                  -> node.sh      (containerd, kubelet, kube-proxy in namespaces)
//!                                  -> addons       (CoreDNS, volumes)
//! ```

mod images;
mod kubectl;
mod pods;

pub use images::{Images, TAG};
pub use kubectl::{CHART, helm};

use super::{Api, binaries};
use crate::suite::Stage;
use anyhow::Context;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Node as NodeObject;
use serde_json::json;
use std::fs;
use std::future::Future;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use weft_examples::pods::{Network, Pod, Process, Program, poll_until, poll_until_async};

/// How long the node may take until it runs pods: half a minute on an idle machine.
const STARTUP: Duration = Duration::from_secs(300);
/// What the node is called.
pub const NODE: &str = "node-1";
/// Volumes that a test may claim.
const VOLUMES: usize = 8;

const SCRIPT: &str = include_str!("node/node.sh");
const ADDONS: &str = include_str!("node/addons.yaml");
/// Files that programs of the node read.
const SETTINGS: [(&str, &str); 4] = [
    ("containerd.toml", include_str!("node/containerd.toml")),
    ("kubelet.yaml", include_str!("node/kubelet.yaml")),
    ("proxy.yaml", include_str!("node/proxy.yaml")),
    ("var/lib/cni/net.d/pods.conflist", include_str!("node/network.conflist")),
];
/// What `scripts/kubernetes --node` builds, beside what an API server needs.
const PROGRAMS: [&str; 9] = [
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "coredns",
];

/// A cluster of one node. Everything that [`Api`] does goes for it, too.
pub struct Node {
    // In the order in which they have to go.
    node: Process,
    controllers: Process,
    scheduler: Process,
    api: Api,
    dir: PathBuf,
}

/// Why no node can run here, if so.
pub fn missing_node() -> Option<String> {
    let programs = PROGRAMS.iter().find_map(|name| binaries::program(name).err());
    let system = || {
        let there = |path: &str| Path::new(path).exists();
        let runtime = ["/usr/sbin/runc", "/usr/bin/runc"].into_iter().any(there);
        let parts = [
            (runtime, "runc is not installed"),
            (there("/usr/lib/cni/ptp"), "containernetworking-plugins is not installed"),
            (there("/sys/fs/cgroup/memory/cgroup.procs"), "no cgroup v1 with a memory controller is mounted here"),
        ];
        parts.into_iter().find_map(|(fine, lacking)| (!fine).then(|| lacking.to_owned())).or_else(no_namespaces)
    };
    super::missing().or_else(|| programs.map(|error| error.to_string())).or_else(system)
}

/// Why this system does not let anybody make the namespaces that a node lives in, if so.
fn no_namespaces() -> Option<String> {
    let line =
        "--mount --uts --ipc --cgroup --pid --fork --mount-proc --kill-child -- mount -t tmpfs cgroup /sys/fs/cgroup";
    let said = Command::new("unshare").args(line.split(' ')).output();
    let fault = match said {
        Ok(output) if output.status.success() => return None,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    Some(format!("no namespaces for a node: {fault}"))
}

impl Node {
    /// With these images, until it runs pods. Blocks the thread.
    pub fn start(images: &Images) -> anyhow::Result<Self> {
        let network = Network::new()?;
        let api = Api::start_on(&network)?;
        let dir = api.node().dir().join("whole");
        prepare(&dir, &api, images).context("prepare the node's files")?;
        let (machine, programs) = (api.node().clone(), binaries::directory()?);
        // Service addresses are rewritten on the way out, which takes a way out.
        machine.ip_batch("route add default dev weft0\n")?;
        let controllers = machine.spawn(controllers(&api)?)?;
        let scheduler = machine.spawn(scheduler(&api)?)?;
        let node = machine.spawn(node(&dir, &programs, &machine))?;
        let whole = Self { node, controllers, scheduler, api, dir };
        whole.apart(|| async { whole.ready().await })?;
        Ok(whole)
    }

    /// Whether all its programs run.
    pub fn is_running(&self) -> bool {
        [&self.node, &self.controllers, &self.scheduler].into_iter().all(Process::is_running)
    }

    /// Where its logs and all its state are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs `work` on a thread and runtime of its own, because the caller's may already drive one.
    fn apart<F: Future<Output = anyhow::Result<()>>>(&self, work: impl FnOnce() -> F + Send) -> anyhow::Result<()> {
        let run = || tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work());
        let done = std::thread::scope(|scope| scope.spawn(run).join());
        done.map_err(|_| anyhow::anyhow!("it panicked")).and_then(|done| done).with_context(|| self.testimony())
    }

    async fn ready(&self) -> anyhow::Result<()> {
        self.api.apply(ADDONS).await.context("what every cluster has")?;
        self.api.apply(&volumes()).await.context("volumes")?;
        let nodes = kube::Api::<NodeObject>::all(self.client().await?);
        let look = || async {
            if let Some(status) = self.node.status() {
                return Some(Err(anyhow::anyhow!("the node ended: {status}")));
            }
            let conditions = nodes.get(NODE).await.ok()?.status?.conditions?;
            conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True").then_some(Ok(()))
        };
        poll_until_async(Instant::now() + STARTUP, "the node to be ready", look).await??;
        self.wait_deployed("kube-system", "coredns").await
    }

    /// Waits until a Deployment has all the replicas that it wants, of its newest template, and no others.
    pub async fn wait_deployed(&self, namespace: &str, name: &str) -> anyhow::Result<()> {
        let deployments = kube::Api::<Deployment>::namespaced(self.client().await?, namespace);
        let look = || async {
            let deployment = deployments.get(name).await.ok()?;
            let (status, wanted) = (deployment.status?, deployment.spec?.replicas?);
            let seen = status.observed_generation >= deployment.metadata.generation;
            let counts = [status.replicas, status.updated_replicas, status.available_replicas];
            (seen && counts.iter().all(|count| count.unwrap_or(0) == wanted)).then_some(())
        };
        let what = format!("deployment {namespace}/{name}");
        let waited = poll_until_async(Instant::now() + STARTUP, &what, look).await;
        waited.map_err(|error| anyhow::anyhow!("{error}\n{}", self.story_of(namespace)))
    }
}

impl Deref for Node {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.node.kill();
        // Once its last process is gone the network's directory can be removed, which goes after this.
        let _ = poll_until(Instant::now() + Duration::from_secs(30), "the node to end", || self.node.status());
    }
}

impl Stage for Node {
    fn testimony(&self) -> String {
        let log = |name: &str| {
            let text = fs::read_to_string(self.dir.join("log").join(name)).unwrap_or_default();
            // The kubelet looks for a disk among mounts that it does not see, and says so every few seconds.
            let odd = |line: &str| line.starts_with('E') || line.starts_with('F') || line.contains("level=error");
            let notable = |line: &&str| odd(line) && !line.contains("filesystem info");
            let lines: Vec<_> = text.lines().filter(notable).map(|line| format!("  {name}: {line}")).collect();
            lines[lines.len().saturating_sub(6)..].join("\n")
        };
        let own =
            [&self.node, &self.controllers, &self.scheduler].map(|p| (p.name().to_owned(), p.status(), p.log_tail(2)));
        let own = own.map(|(name, status, tail)| format!("  {name} ({status:?}): {tail}")).join("\n");
        let logs = ["containerd", "kubelet", "kube-proxy"].map(log).join("\n");
        format!("{}\n{own}\n{logs}\n{}", self.api.testimony(), self.story())
    }
}

/// Everything that the node's programs read, in one directory.
fn prepare(dir: &Path, api: &Api, images: &Images) -> anyhow::Result<()> {
    for folder in ["log", "images", "var/lib/cni/net.d", "var/lib/volumes", "var/log", "opt"] {
        fs::create_dir_all(dir.join(folder))?;
    }
    for number in 0..VOLUMES {
        let path = dir.join("var/lib/volumes").join(number.to_string());
        fs::create_dir(&path)?;
        // Whoever claims it runs as a user of its own.
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    }
    for (name, text) in SETTINGS {
        fs::write(dir.join(name), text.replace("NODE_DIR", &dir.display().to_string()))?;
    }
    fs::write(dir.join("node.sh"), SCRIPT)?;
    fs::write(dir.join("hosts"), format!("127.0.0.1 localhost\n::1 localhost\n{} {NODE}\n", api.node().ip()))?;
    fs::copy(api.kubeconfig(), dir.join("kubeconfig"))?;
    let own = images::own(&dir.join("images"))?;
    for archive in own.archives().iter().chain(images.archives()) {
        let name = archive.file_name().context("an archive without a name")?;
        let link = dir.join("images").join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(archive, link)?;
        }
    }
    Ok(())
}

fn node(dir: &Path, programs: &Path, machine: &Pod) -> Program {
    let name = machine.dir().file_name().unwrap_or_default();
    Program::new("bash")
        .label("node")
        .arg(dir.join("node.sh"))
        .env("NODE_DIR", dir)
        .env("NODE_CGROUP", name)
        .env("NODE_PROGRAMS", programs)
        .env("NODE_IP", machine.ip().to_string())
}

fn controllers(api: &Api) -> anyhow::Result<Program> {
    let authority = api.authority().display().to_string();
    let keys = api.authority().with_file_name("accounts.key").display().to_string();
    Ok(Program::new(binaries::program("kube-controller-manager")?).args([
        format!("--kubeconfig={}", api.kubeconfig().display()),
        format!("--service-account-private-key-file={keys}"),
        format!("--root-ca-file={authority}"),
        format!("--cert-dir={}", api.node().dir().display()),
        "--leader-elect=false".to_owned(),
        "--use-service-account-credentials=false".to_owned(),
        // A pod that ends is gone from its services as soon as anybody can tell.
        "--endpointslice-updates-batch-period=0s".to_owned(),
    ]))
}

fn scheduler(api: &Api) -> anyhow::Result<Program> {
    Ok(Program::new(binaries::program("kube-scheduler")?).args([
        format!("--kubeconfig={}", api.kubeconfig().display()),
        format!("--cert-dir={}", api.node().dir().display()),
        "--leader-elect=false".to_owned(),
    ]))
}

/// Volumes of the default class, each a directory of the node.
fn volumes() -> String {
    let volume = |number: usize| {
        json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": { "name": format!("directory-{number}") },
            "spec": {
                "storageClassName": "directories",
                "capacity": { "storage": "10Gi" },
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": { "path": format!("/var/lib/volumes/{number}"), "type": "Directory" },
            },
        })
    };
    (0..VOLUMES).map(|number| format!("---\n{}\n", volume(number))).collect()
}
