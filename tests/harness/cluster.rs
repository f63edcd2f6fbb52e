//! Real Kubernetes components to test against: an API server with its etcd, in a network of their own.
//!
//! No pods run on an `Api`: tests write Pods with a status and EndpointSlices themselves, as a kubelet and the controllers would.
//! Comes up in a few seconds or fails with the end of the server's log. Invariant: when the value is dropped, on a
//! signal, or after a crash by the next test run, nothing of it is left.
//!
//! ```text
//! scripts/kubernetes -> binaries -> Api -> credentials (certificates, kubeconfigs, tokens)
//!                                       -> forward     (the same address from the test's own network)
//!                                       -> documents   (apply YAML), objects (what tests write again and again),
//!                                          rights
//!                                       -> kubelet     (forwards ports, as one would)
//!                               -> Node (an Api and all else of a cluster: pods run)
//! ```

mod binaries;
mod credentials;
mod documents;
mod forward;
mod kubelet;
mod node;
mod objects;
mod rights;

pub use binaries::missing;
pub use documents::parse;
pub use kubelet::Kubelet;
pub use node::{CHART, Images, NODE, Node, TAG, helm, missing_node};
pub use objects::{TestPod, slice};
pub use rights::discovery_rights;

use crate::suite::Stage;
use anyhow::{Context, anyhow};
use credentials::Credentials;
use forward::Forward;
use kube::config::{KubeConfigOptions, Kubeconfig};
use nix::sys::signal::Signal;
use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use weft_examples::etcd::EtcdCluster;
use weft_examples::pods::{Network, Pod, Process, Program, poll_until_async};

/// How long the API server may take until it is ready: four seconds on an idle machine.
const STARTUP: Duration = Duration::from_secs(60);

/// Addresses of Services, of both families; the API server prefers the first.
const SERVICE_ADDRESSES: &str = "10.96.0.0/16,fd00:10:96::/112";

const AUDIT_POLICY: &str = "audit.yaml";
const AUDIT_LOG: &str = "audit.log";
/// How service accounts read the cluster: whoever reads more than it needs is a burden to all.
const AUDITED: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n\
    - { level: Metadata, userGroups: [\"system:serviceaccounts\"], verbs: [list, watch] }\n- { level: None }\n";

/// Which of the Gateway API's definitions to install.
#[derive(Debug, Clone, Copy)]
pub enum Channel {
    Standard,
    /// Has fields such as `sessionPersistence` and `retry` of a route's rule.
    Experimental,
}

/// An API server that runs, and the etcd behind it.
pub struct Api {
    // In the order in which they have to go.
    _forward: Forward,
    server: Mutex<Option<Process>>,
    etcd: EtcdCluster,
    credentials: Credentials,
    program: Program,
    port: u16,
    node: Pod,
    _network: Network,
}

impl Api {
    /// On a network of its own. Blocks the thread.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_on(&Network::new()?)
    }

    /// On the node of `network`, beside what runs there: a webhook, or a mesh.
    pub fn start_on(network: &Network) -> anyhow::Result<Self> {
        let node = network.node().clone();
        let binary = binaries::program("kube-apiserver")?;
        let etcd = EtcdCluster::start_program_on(&binaries::program("etcd")?, &node, 1);
        let etcd = etcd.context("etcd for the API server")?;
        // The port is free out here, and in there nobody else comes and goes: one address holds on both sides.
        let forward = Forward::to(&node).context("lead to the API server")?;
        let port = forward.port();
        let dir = node.dir().join("kubernetes");
        let credentials = Credentials::make(&dir, port, &node).context("certificates of the API server")?;
        std::fs::write(credentials.file(AUDIT_POLICY), AUDITED).context("the audit policy")?;
        let program = server(binary, &credentials, &node, port, &etcd.endpoints().join(","));
        let (server, network) = (Mutex::new(None), network.clone());
        let api = Self { _forward: forward, server, etcd, credentials, program, port, node, _network: network };
        api.start_server()?;
        Ok(api)
    }

    /// Where it runs: programs that are started here reach it under the same address.
    pub fn node(&self) -> &Pod {
        &self.node
    }

    /// The same here and on the node. Pods of the network use the node's own address in place of this one.
    pub fn url(&self) -> String {
        self.credentials.url()
    }

    /// The port on the node's address and on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// An administrator's; it holds file names, and may be used here and on the node.
    pub fn kubeconfig(&self) -> &Path {
        self.credentials.kubeconfig()
    }

    /// The certificate of who signed the server's, PEM.
    pub fn authority(&self) -> &Path {
        self.credentials.authority()
    }

    /// The etcd behind it, to be paused or killed.
    pub fn etcd(&mut self) -> &mut EtcdCluster {
        &mut self.etcd
    }

    /// An administrator's client. Belongs to the runtime in which it is made.
    pub async fn client(&self) -> anyhow::Result<kube::Client> {
        client(self.kubeconfig()).await
    }

    /// A client with the rights of a service account.
    pub async fn client_as(&self, namespace: &str, account: &str) -> anyhow::Result<kube::Client> {
        client(&self.kubeconfig_as(namespace, account).await?).await
    }

    /// A kubeconfig with an hour's token of a service account, which has to exist.
    pub async fn kubeconfig_as(&self, namespace: &str, account: &str) -> anyhow::Result<PathBuf> {
        let token = self.token(namespace, account, &[]).await?;
        Ok(self.credentials.kubeconfig_with(&format!("{namespace}-{account}"), &token)?)
    }

    /// What `user`, a service account, has listed and watched so far, as the audit log has it.
    pub fn asked(&self, user: &str) -> anyhow::Result<Vec<serde_json::Value>> {
        let log = std::fs::read_to_string(self.credentials.file(AUDIT_LOG)).context("the audit log")?;
        let requests = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        Ok(requests.filter(|request| request["user"]["username"] == user).collect())
    }

    /// Sends a signal such as SIGSTOP to the API server.
    pub fn signal(&self, signal: Signal) {
        if let Some(server) = self.running().as_ref() {
            server.signal(signal);
        }
    }

    /// SIGKILL, and waits until it is gone. Its etcd keeps what it knew.
    pub fn stop_server(&self) {
        self.running().take();
    }

    /// Starts the API server if it does not run, and waits until it is ready. Blocks the thread.
    pub fn start_server(&self) -> anyhow::Result<()> {
        if self.running().is_none() {
            let process = self.node.spawn(self.program.clone())?;
            *self.running() = Some(process);
        }
        let waiting = || tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(self.ready());
        // On a thread of its own, because the caller's may already drive a runtime.
        std::thread::scope(|scope| scope.spawn(waiting).join()).map_err(|_| anyhow!("waiting panicked"))?
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let client = self.client().await?;
        let said = RefCell::new(String::new());
        let look = || async {
            if let Some(status) = self.running().as_ref().and_then(Process::status) {
                return Some(Err(anyhow!("it ended: {status}")));
            }
            let request = http::Request::get("/readyz").body(vec![]).expect("a path is a request");
            match client.request_text(request).await {
                Ok(text) if text == "ok" => return Some(Ok(())),
                Ok(text) => said.replace(text),
                Err(error) => said.replace(error.to_string()),
            };
            None
        };
        let outcome = poll_until_async(Instant::now() + STARTUP, "the API server", look).await;
        let outcome = outcome.map_err(anyhow::Error::from).and_then(|ready| ready);
        outcome.with_context(|| format!("{}\n{}", said.borrow(), self.testimony()))
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stage for Api {
    fn testimony(&self) -> String {
        self.running().as_ref().map(|server| server.log_tail(12)).unwrap_or_else(|| "no API server runs".to_owned())
    }
}

async fn client(kubeconfig: &Path) -> anyhow::Result<kube::Client> {
    let read = Kubeconfig::read_from(kubeconfig).with_context(|| kubeconfig.display().to_string())?;
    let config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    Ok(kube::Client::try_from(config)?)
}

/// The API server as a cluster's installer would start it, as far as there is something to decide.
fn server(binary: PathBuf, credentials: &Credentials, node: &Pod, port: u16, etcd: &str) -> Program {
    let file = |name: &str| credentials.file(name).display().to_string();
    let any = Ipv4Addr::UNSPECIFIED;
    Program::new(binary).args([
        format!("--etcd-servers={etcd}"),
        format!("--bind-address={any}"),
        format!("--advertise-address={}", node.ip()),
        format!("--secure-port={port}"),
        format!("--cert-dir={}", credentials.dir().display()),
        format!("--tls-cert-file={}", file("server.crt")),
        format!("--tls-private-key-file={}", file("server.key")),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--service-account-issuer={}", credentials::ISSUER),
        format!("--service-account-key-file={}", file("accounts.pub")),
        format!("--service-account-signing-key-file={}", file("accounts.key")),
        format!("--service-cluster-ip-range={SERVICE_ADDRESSES}"),
        format!("--audit-policy-file={}", file(AUDIT_POLICY)),
        format!("--audit-log-path={}", file(AUDIT_LOG)),
        "--authorization-mode=RBAC".to_owned(),
        "--allow-privileged=true".to_owned(),
        // The node's name means something to itself alone.
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
    ])
}
