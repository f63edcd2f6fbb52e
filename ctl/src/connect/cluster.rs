//! The way to discovery in a Kubernetes cluster: its pods are listed, and a port of each is forwarded through the API server.
//!
//! Beside the unix socket of a machine. The cluster decides who may: the rights to list pods and to create `pods/portforward` in the
//! mesh's namespace. A pod's port is forwarded when it is first asked, and again after the connection broke. Every refusal is told
//! in the API server's words, with what to do.

use super::address::Address;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::de::DeserializeOwned;
use std::error::Error;
use std::fmt::{self, Debug};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::OnceCell;
use tonic::transport::{Channel, Endpoint};
use weft_model::names::label;

/// Where discovery answers weftctl in its pod, on loopback (`--admin-forward-port` in the chart).
const PORT: u16 = 15012;
/// The label of discovery's pods.
const SELECTOR: &str = "app.kubernetes.io/name=weft-discovery";
/// The mesh's own, unless another is named.
pub const NAMESPACE: &str = "weft-system";
/// So many objects are listed at a time.
const PAGE: u32 = 500;
/// Above the flags that say where discovery is, in every command's help.
pub const HEADING: &str = "Where discovery is";

/// Which cluster, and where in it.
#[derive(Debug, Clone, clap::Args)]
pub struct Flags {
    /// Kube config of the cluster [default: $KUBECONFIG or ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "discovery", help_heading = HEADING)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kube config [default: its current one]
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "discovery", help_heading = HEADING)]
    pub context: Option<String>,
    /// Namespace of the cluster that discovery runs in
    #[arg(long, global = true, value_name = "NS", default_value = NAMESPACE, value_parser = |text: &str| label(text), help_heading = HEADING)]
    pub mesh_namespace: String,
}

impl Default for Flags {
    fn default() -> Self {
        Self { kubeconfig: None, context: None, mesh_namespace: NAMESPACE.to_owned() }
    }
}

impl Flags {
    /// Whether it is said that a cluster is meant.
    pub fn is_asked_for(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some() || self.mesh_namespace != NAMESPACE
    }
}

/// Why there is nobody to ask.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(
        "nobody says where discovery is: there is no /run/weft/discovery.sock, and no kube config ({0}); name a socket with --discovery or a file \
             with --kubeconfig"
    )]
    NoConfig(String),
    #[error("there is no kube config ({0}); name one with --kubeconfig or $KUBECONFIG")]
    NoCluster(String),
    #[error("the kube config cannot be used: {0}; see --kubeconfig and --context")]
    Config(String),
    #[error(
        "cannot list pods in namespace {namespace}: {reason}; weftctl needs the rights to list pods and to create \
             pods/portforward there, or name a socket with --discovery"
    )]
    List { namespace: String, reason: String },
    #[error("no discovery pod runs in namespace {0}; is the mesh installed there? --mesh-namespace names another")]
    None(String),
}

/// A pod of discovery, and the connection to it once there is one.
pub struct Way {
    client: Client,
    pods: Api<Pod>,
    namespace: String,
    name: String,
    channel: OnceCell<Channel>,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address().fmt(f)
    }
}

/// The pods of discovery that run, those that are ready first.
pub async fn find(flags: &Flags, timeout: Duration) -> Result<Vec<Way>, ClusterError> {
    let client = client(flags, timeout).await?;
    let namespace = flags.mesh_namespace.clone();
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    let listed = pods.list(&ListParams::default().labels(SELECTOR)).await;
    let listed = listed.map_err(|error| ClusterError::List { namespace: namespace.clone(), reason: words(&error) })?;
    let mut running: Vec<Pod> = listed.items.into_iter().filter(runs).collect();
    running.sort_by_key(|pod| (!is_ready(pod), pod.metadata.name.clone()));
    let names = running.into_iter().filter_map(|pod| pod.metadata.name);
    let ways: Vec<Way> = names
        .map(|name| Way {
            client: client.clone(),
            pods: pods.clone(),
            namespace: namespace.clone(),
            name,
            channel: OnceCell::new(),
        })
        .collect();
    if ways.is_empty() { Err(ClusterError::None(namespace)) } else { Ok(ways) }
}

/// A client of the API server, which may take so long for one answer.
pub async fn client(flags: &Flags, timeout: Duration) -> Result<Client, ClusterError> {
    let mut config = config(flags).await?;
    config.connect_timeout = Some(timeout);
    config.read_timeout = Some(timeout);
    Client::try_from(config).map_err(|error| ClusterError::Config(error.to_string()))
}

/// Calls `see` with every object of `api`, which are listed page by page.
pub async fn each<K>(api: &Api<K>, mut see: impl FnMut(&K)) -> kube::Result<()>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = api.list(&page).await?;
        list.items.iter().for_each(&mut see);
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(()),
        }
    }
}

/// The same for what is done to a cluster, whether or not discovery is there.
pub async fn client_of_cluster(flags: &Flags, timeout: Duration) -> Result<Client, ClusterError> {
    client(flags, timeout).await.map_err(|error| match error {
        ClusterError::NoConfig(reason) => ClusterError::NoCluster(reason),
        other => other,
    })
}

async fn config(flags: &Flags) -> Result<Config, ClusterError> {
    let read = match &flags.kubeconfig {
        Some(file) => {
            Kubeconfig::read_from(file).map_err(|error| ClusterError::Config(format!("{}: {error}", file.display())))
        }
        None => Kubeconfig::read().map_err(|error| ClusterError::NoConfig(error.to_string())),
    };
    let options = KubeConfigOptions { context: flags.context.clone(), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(read?, &options).await;
    config.map_err(|error| ClusterError::Config(error.to_string()))
}

/// What the API server says, or why it says nothing.
pub fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => cause(other).to_string(),
    }
}

/// The system's own words, which are at the bottom of the chain.
pub fn cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause
}

fn runs(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

impl Way {
    pub fn address(&self) -> Address {
        Address::Pod { namespace: self.namespace.clone(), name: self.name.clone() }
    }

    /// A client of the cluster it is in.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The connection, made if there is none yet.
    pub async fn channel(&self) -> Result<Channel, String> {
        self.channel.get_or_try_init(async || self.connect().await).await.cloned()
    }

    async fn connect(&self) -> Result<Channel, String> {
        let (pods, name) = (self.pods.clone(), self.name.clone());
        let connector = tower::service_fn(move |_: http::Uri| {
            let (pods, name) = (pods.clone(), name.clone());
            async move {
                let refused = |error: kube::Error| io::Error::other(words(&error));
                let mut forwarder = pods.portforward(&name, &[PORT]).await.map_err(refused)?;
                let stream =
                    forwarder.take_stream(PORT).ok_or_else(|| io::Error::other("the port is not forwarded"))?;
                io::Result::Ok(TokioIo::new(stream))
            }
        });
        // The name is for the request's head alone: the connector knows where to go.
        let endpoint = Endpoint::from_static("http://weft-discovery");
        endpoint.connect_with_connector(connector).await.map_err(|error| cause(&error).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_kube_config_that_cannot_be_used_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let flags = |context: Option<&str>| Flags {
            kubeconfig: Some(file.path().to_owned()),
            context: context.map(str::to_owned),
            ..Flags::default()
        };
        let error = find(&flags(None), SOON).await.unwrap_err().to_string();
        assert!(error.contains("--kubeconfig"), "{error}");
        let none = "{kind: Config, apiVersion: v1, clusters: [], users: [], contexts: []}";
        std::fs::write(file.path(), none).unwrap();
        let error = find(&flags(Some("elsewhere")), SOON).await.unwrap_err().to_string();
        assert!(error.contains("elsewhere") && error.contains("--context"), "{error}");
        let missing = Flags { kubeconfig: Some("/nowhere/config".into()), ..Flags::default() };
        let error = find(&missing, SOON).await.unwrap_err().to_string();
        assert!(error.contains("/nowhere/config"), "{error}");
    }

    #[test]
    fn only_pods_that_run_are_asked() {
        let pod = |phase: &str, gone: Option<&str>| -> Pod {
            let metadata = serde_json::json!({ "name": "a", "deletionTimestamp": gone });
            serde_json::from_value(serde_json::json!({ "metadata": metadata, "status": { "phase": phase } })).unwrap()
        };
        assert!(runs(&pod("Running", None)) && !is_ready(&pod("Running", None)));
        assert!(!runs(&pod("Pending", None)) && !runs(&pod("Running", Some("2026-01-01T00:00:00Z"))));
    }
}
