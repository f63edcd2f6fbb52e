//! A cluster's API server, two replicas of discovery with a controller's rights and no more, and sidecars beside real servers.
//!
//! No kubelet: the pods are the harness's own, and the suite tells the API server of them as a kubelet and its controllers would.
//! What a proxy knows is read from its own dump.

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Service;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use weft_examples::etcd::EtcdCluster;
use weft_examples::mesh::{Discovery, Options, PROXY_ADMIN_PORT, Workload, get};
use weft_examples::pods::{Network, Pod, Process, poll_until};
use weft_tests::cluster::{Api, Channel, TestPod, discovery_rights, slice};
use weft_tests::ports::{HTTP, service_document};
use weft_tests::suite::Stage;
use weft_tests::world::{NAMESPACE, server};
use weft_tests::{Plan, World};

/// How long a change may take to come about where nothing else is said.
pub const SOON: Duration = Duration::from_secs(30);
/// Pods with a sidecar, of the account `web`.
pub const WEB: [&str; 3] = ["web-0", "web-1", "web-2"];

/// Everything, in the order in which it has to go.
pub struct Kubernetes {
    _plain: Process,
    /// A pod without a sidecar, with a server.
    pub plain: Pod,
    pub world: World,
    pub api: Api,
    /// The mesh's own; the API server has another.
    pub etcd: EtcdCluster,
}

impl Stage for Kubernetes {
    fn testimony(&self) -> String {
        let logs = self.world.mesh().discovery().iter();
        let logs: Vec<_> = logs.map(|replica| tail(&replica.log(), 12)).collect();
        format!("{}\n{}\n{}", self.world.testimony(), logs.join("\n"), self.api.testimony())
    }
}

fn tail(log: &str, lines: usize) -> String {
    let all: Vec<&str> = log.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The repository's own files.
fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// On a thread of its own, so that it may be called from anywhere.
fn wait_for<T: Send>(work: impl Future<Output = anyhow::Result<T>> + Send) -> anyhow::Result<T> {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work);
    std::thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Definitions, rights and accounts; the kubeconfig of the controller's account.
async fn prepare(api: &Api) -> anyhow::Result<PathBuf> {
    api.install_gateway_api(Channel::Experimental).await?;
    api.namespace("weft-system", &[]).await?;
    api.account("weft-system", "weft-discovery").await?;
    let role = discovery_rights()?;
    api.apply(&role).await.context("the controller's role")?;
    api.namespace(NAMESPACE, &[]).await?;
    for account in ["web", "client"] {
        api.account(NAMESPACE, account).await?;
    }
    api.kubeconfig_as("weft-system", "weft-discovery").await
}

impl Kubernetes {
    pub fn start() -> anyhow::Result<Self> {
        let network = Network::new()?;
        let api = Api::start_on(&network)?;
        let kubeconfig = wait_for(prepare(&api))?;
        let etcd = EtcdCluster::start_on(network.node(), 1).context("etcd of the mesh")?;
        let store = Some(format!("etcd:{}", etcd.endpoints().join(",")));
        let flags = ["--kubernetes", "--kubeconfig", &kubeconfig.display().to_string()].map(str::to_owned);
        let options = Options { store, replicas: 2, discovery_args: flags.to_vec() };
        let web = |name: &&str| Workload::new(NAMESPACE, name, "web").application(server(name));
        let client =
            Workload::new(NAMESPACE, "client", "client").zone("zone-a").proxy_arg("--node").proxy_arg("node-0");
        // Somebody's own, for the controller to leave alone.
        let plan = Plan::new().options(options).documents(service_document(NAMESPACE, "applied")).workload(client);
        let world = WEB.iter().fold(plan, |plan, name| plan.workload(web(name))).start_on(network)?;
        let plain = world.mesh().bystander(NAMESPACE, "plain")?;
        let process = plain.spawn(server("plain"))?;
        process.wait_log("is ready", SOON)?;
        Ok(Self { _plain: process, plain, world, api, etcd })
    }

    /// The pod called `name` as the API server is to know it.
    pub fn pod(&self, name: &str) -> TestPod {
        let pod = self.world.pod(name);
        let mut known = TestPod::new(NAMESPACE, name, pod.ip()).account("web").label("app", "web").meshed();
        known.addresses.push(pod.ip6().into());
        known
    }

    /// Pods and a slice of each family, with the UIDs that the API server gave.
    pub async fn slices(&self, service: &str, port: u16, pods: &[TestPod]) -> anyhow::Result<()> {
        let families = if pods.iter().all(|pod| pod.addresses.len() > 1) { 2 } else { 1 };
        for family in 0..families {
            let turned = |pod: &TestPod| {
                let mut pod = pod.clone();
                pod.addresses.rotate_left(family);
                pod
            };
            let pods: Vec<_> = pods.iter().map(turned).collect();
            self.api.slice(&slice(service, &[("http", port)], &pods)?).await?;
        }
        Ok(())
    }

    /// The Service's addresses.
    pub async fn addresses(&self, name: &str) -> anyhow::Result<Vec<IpAddr>> {
        let services = kube::Api::<Service>::namespaced(self.api.client().await?, NAMESPACE);
        let ips = services.get(name).await?.spec.and_then(|spec| spec.cluster_ips).unwrap_or_default();
        Ok(ips.iter().map(|ip| ip.parse()).collect::<Result<_, _>>()?)
    }

    /// What the client's sidecar knows of a service.
    pub fn known(&self, service: &str) -> Option<Value> {
        let admin: SocketAddr = (Ipv4Addr::LOCALHOST, PROXY_ADMIN_PORT).into();
        let dump = get(self.world.client(), admin, "/dump").ok()?;
        let mut dump: Value = serde_json::from_str(&dump.body).ok()?;
        let services = dump["services"].as_array_mut()?;
        services.iter_mut().find(|known| known["service"]["name"]["name"] == service).map(Value::take)
    }

    /// `id=state` of each endpoint that the client's sidecar knows.
    pub fn states(&self, service: &str) -> Vec<String> {
        let known = self.known(service).unwrap_or_default();
        let endpoints = known["endpoints"].as_array().cloned().unwrap_or_default();
        let state = |e: &Value| format!("{}={}", e["id"].as_str().unwrap_or("?"), e["state"].as_str().unwrap_or("?"));
        endpoints.iter().map(state).collect()
    }

    /// Waits until the client's sidecar knows exactly these.
    pub fn wait_states(&self, service: &str, wanted: &[&str]) -> anyhow::Result<()> {
        let mut said = Vec::new();
        let look = || {
            said = self.states(service);
            (said == wanted).then_some(())
        };
        let found = poll_until(Instant::now() + SOON, &format!("{wanted:?}"), look);
        found.with_context(|| format!("the client's sidecar knows {said:?}"))
    }

    /// Asks `/name` at `to` until everybody in `wanted` has answered, and nobody else does.
    pub fn wait_answers(&self, to: SocketAddr, wanted: &[&str]) -> anyhow::Result<()> {
        let mut missing = wanted.to_vec();
        let mut said = String::new();
        let look = || {
            said = match get(self.world.client(), to, "/name") {
                Ok(reply) => format!("{} {}", reply.status, reply.body.trim()),
                Err(error) => error.to_string(),
            };
            missing.retain(|name| said != format!("200 {name}"));
            missing.is_empty().then_some(())
        };
        let heard = poll_until(Instant::now() + SOON, "everybody to answer", look);
        heard.with_context(|| format!("{to}: never heard of {missing:?}, last: {said}"))
    }

    /// What an application is told about who called it at `to`.
    pub fn caller(&self, to: SocketAddr) -> anyhow::Result<String> {
        let reply = get(self.world.client(), to, "/echo")?;
        ensure!(reply.status == 200, "{reply:?}");
        Ok(reply.body)
    }

    /// The replica that leads, once there is one other than `except`.
    pub fn wait_leader(&self, except: Option<&str>) -> anyhow::Result<&Discovery> {
        let leads = |replica: &&Discovery| {
            except != Some(replica.name())
                && replica.is_running()
                && replica.metrics().sum("weft_discovery_controller_leading", &[]) == 1.0
        };
        let look = || self.world.mesh().discovery().iter().find(leads);
        Ok(poll_until(Instant::now() + Duration::from_secs(40), "a leader", look)?)
    }

    /// The definitions of Weft's own kinds: the cluster does not know them before.
    pub async fn define(&self) -> anyhow::Result<()> {
        self.api.install(&file("charts/weft/crds")).await
    }

    /// A document as a user would apply it to the cluster.
    pub async fn apply(&self, yaml: &str) -> anyhow::Result<()> {
        self.api.apply(yaml).await.map(drop)
    }

    /// The Service `name` of the pods that are called `web`.
    pub async fn service(&self, name: &str, more: &str) -> anyhow::Result<()> {
        let port = format!("ports: [{{ name: http, port: 80, targetPort: {HTTP} }}]");
        let metadata = format!("metadata: {{ name: {name}, namespace: {NAMESPACE} }}");
        self.apply(&format!(
            "apiVersion: v1\nkind: Service\n{metadata}\nspec:\n  selector: {{ app: web }}\n  {port}\n{more}"
        ))
        .await
    }
}
