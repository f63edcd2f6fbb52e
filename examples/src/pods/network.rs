//! A node with a bridge, and the pods plugged into it.
//!
//! The first thing that is made. The node is a namespace too, so two networks never meet, and every one may use the same
//! addresses: 10.77.0.1 and fd77::1 for the node, the following ones for the pods, never used twice.

use super::error::Error;
use super::ip::{finish, start_batch};
use super::place::Wires;
use super::pod::Pod;
use super::sweep;
use std::path::Path;
use std::sync::Arc;

/// The bridge's name in the node's namespace.
pub const BRIDGE: &str = "weft0";

/// The namespace a pod's short names are completed with unless it says otherwise.
const DEFAULT_SEARCH: &str = "default";

/// A network of pods. Cloning shares it; it goes with the last clone, pod and process.
#[derive(Debug, Clone)]
pub struct Network {
    wires: Arc<Wires>,
    node: Pod,
}

impl Network {
    /// The node, its bridge and a directory for logs; removes what crashed runs left behind first.
    pub fn new() -> Result<Self, Error> {
        sweep::sweep();
        let wires = Wires::new()?;
        let node = Pod::new(wires.reserve("node", DEFAULT_SEARCH)?);
        // Without an address of its own a bridge takes its ports' lowest one, and when that pod comes or goes all others
        // talk to nobody for some seconds.
        let batch = format!(
            "link set lo up\nlink add {BRIDGE} address 02:00:00:77:00:01 type bridge mcast_snooping 0\naddr add {}/16 dev {BRIDGE}\n\
             addr add {}/64 dev {BRIDGE} nodad\nlink set {BRIDGE} up\n",
            node.ip(),
            node.ip6()
        );
        finish(start_batch(node.namespace(), &batch)?)?;
        Ok(Self { wires, node })
    }

    /// The node, where discovery runs: reachable from every pod, and the resolver all of them name.
    pub fn node(&self) -> &Pod {
        &self.node
    }

    /// Where logs and state live until the network goes.
    pub fn dir(&self) -> &Path {
        self.wires.dir()
    }

    /// A pod that completes short names in the namespace `default`.
    pub fn pod(&self, name: &str) -> Result<Pod, Error> {
        self.pod_in(DEFAULT_SEARCH, name)
    }

    /// A pod that completes short names in `namespace`.
    pub fn pod_in(&self, namespace: &str, name: &str) -> Result<Pod, Error> {
        let mut pods = self.pods_in(namespace, &[name])?;
        Ok(pods.pop().expect("one name was asked for"))
    }

    /// Many pods at once, which is faster than one by one.
    pub fn pods_in(&self, namespace: &str, names: &[impl AsRef<str>]) -> Result<Vec<Pod>, Error> {
        let pods = names.iter().map(|name| self.wires.reserve(name.as_ref(), namespace).map(Pod::new));
        let pods = pods.collect::<Result<Vec<_>, _>>()?;
        let mut plugs = String::new();
        for pod in &pods {
            let port = pod.port();
            plugs += &format!("link add {port} type veth peer name eth0 netns {}\n", pod.namespace());
            plugs += &format!("link set {port} master {BRIDGE} up\n");
        }
        finish(start_batch(self.node.namespace(), &plugs)?)?;
        let started = pods.iter().map(|pod| {
            let (ip, ip6, gateway, gateway6) = (pod.ip(), pod.ip6(), self.node.ip(), self.node.ip6());
            let batch = format!(
                "link set lo up\nlink set eth0 up\naddr add {ip}/16 dev eth0\naddr add {ip6}/64 dev eth0 nodad\n\
                 route add default via {gateway}\nroute add ::/0 via {gateway6}\n"
            );
            start_batch(pod.namespace(), &batch)
        });
        let started: Vec<_> = started.collect();
        for child in started {
            finish(child?)?;
        }
        Ok(pods)
    }
}
