//! A whole mesh on one machine: discovery on the node, a sidecar beside every workload.
//!
//! Stands on [`pods`](crate::pods) and starts the real binaries as an operator would: tokens by weftctl, the redirect as
//! root, the proxy as a user without privileges. A part that does not come up fails with the tail of its log.

mod discovery;
mod member;
mod binary;
mod fetch;
mod metrics;
mod error;

pub use binary::binary;
pub use discovery::Discovery;
pub use error::{Error, START_LIMIT};
pub use fetch::{Reply, fetch, get};
pub use member::{Member, PROXY_ADMIN_PORT, PROXY_UID, Workload};
pub use metrics::{Metrics, Sample};

use crate::pods::{Network, Pod, poll_until};
use discovery::running;
use std::time::{Duration, Instant};

/// What a mesh is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// As weft-discovery's `--store` takes it; `None`: embedded, in the network's directory.
    pub store: Option<String>,
    /// How many replicas of discovery; more than one needs a store they can share.
    pub replicas: u16,
    /// More flags for every replica.
    pub discovery_args: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { store: None, replicas: 1, discovery_args: Vec::new() }
    }
}

/// A running mesh. Everything in it ends when it is dropped.
#[derive(Debug)]
pub struct Mesh {
    // Before the network, so that processes end before their namespaces go.
    discovery: Vec<Discovery>,
    network: Network,
}

impl Mesh {
    /// A network of its own with ready discovery replicas.
    pub fn start(options: &Options) -> Result<Self, Error> {
        Self::start_on(Network::new()?, options)
    }

    /// The same on a network that exists.
    pub fn start_on(network: Network, options: &Options) -> Result<Self, Error> {
        let store = options.store.clone();
        let store = store.unwrap_or_else(|| format!("embedded:{}", network.dir().join("store").display()));
        let replicas = (0..options.replicas.max(1))
            .map(|index| Discovery::start(&network, index, &store, &options.discovery_args));
        let discovery = replicas.collect::<Result<Vec<_>, _>>()?;
        discovery.iter().try_for_each(|replica| replica.wait_ready(START_LIMIT))?;
        Ok(Self { discovery, network })
    }

    pub fn network(&self) -> &Network {
        &self.network
    }

    pub fn node(&self) -> &Pod {
        self.network.node()
    }

    /// The replicas of discovery, running or not.
    pub fn discovery(&self) -> &[Discovery] {
        &self.discovery
    }

    /// Runs `weftctl` against a replica that runs; standard output. A failing status is an error with what it said.
    pub fn weftctl(&self, args: &[&str]) -> Result<String, Error> {
        running(&self.discovery).weftctl(args)
    }

    /// Puts YAML documents into force.
    pub fn apply(&self, yaml: &str) -> Result<String, Error> {
        let weftctl = running(&self.discovery).weftctl_program()?.args(["apply", "-f", "-"]).input(yaml);
        Ok(self.node().run_ok(weftctl)?)
    }

    /// A join token for a service account.
    pub fn token(&self, namespace: &str, account: &str) -> Result<String, Error> {
        running(&self.discovery).token(namespace, account)
    }

    /// Where a proxy finds discovery: one URL per replica.
    pub fn discovery_urls(&self) -> Vec<String> {
        self.discovery.iter().map(Discovery::url).collect()
    }

    /// A pod with a running, ready sidecar.
    pub fn join(&self, workload: Workload) -> Result<Member, Error> {
        let mut members = self.join_all(vec![workload])?;
        Ok(members.pop().expect("one workload was asked for"))
    }

    /// Pods with running, ready sidecars, all at once.
    pub fn join_all(&self, workloads: Vec<Workload>) -> Result<Vec<Member>, Error> {
        let pods = workloads.iter().map(|workload| self.network.pods_in(&workload.namespace, &[&workload.name]));
        let pods = pods.collect::<Result<Vec<_>, _>>()?.into_iter().flatten();
        std::thread::scope(|scope| {
            let started = workloads
                .into_iter()
                .zip(pods)
                .map(|(workload, pod)| scope.spawn(|| Member::join(&self.discovery, pod, workload)));
            let started: Vec<_> = started.collect();
            let joined = started
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            joined.collect()
        })
    }

    /// Waits until discovery tells of all these endpoints, and that they are ready.
    pub fn wait_endpoints(&self, namespace: &str, names: &[&str], limit: Duration) -> Result<(), Error> {
        let mut said = String::new();
        let all = || {
            said = self.weftctl(&["get", "endpoints", "-n", namespace]).unwrap_or_else(|error| error.to_string());
            names.iter().all(|name| said.lines().any(|line| tells_ready(line, name))).then_some(())
        };
        let what = || format!("one of {}", names.join(", "));
        poll_until(Instant::now() + limit, "endpoints", all).map_err(|_| Error::NotReady {
            what: what(),
            waited: limit,
            said,
            log: String::new(),
        })
    }

    /// A pod without a sidecar.
    pub fn bystander(&self, namespace: &str, name: &str) -> Result<Pod, Error> {
        Ok(self.network.pod_in(namespace, name)?)
    }
}

/// Whether a row of `weftctl get endpoints` is about the endpoint `name`, and says that it is ready.
fn tells_ready(line: &str, name: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.first() == Some(&name) && words.contains(&"ready")
}
