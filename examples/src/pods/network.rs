//! A node with a bridge, and the pods plugged into it.
//!
//! The first thing that is made. The node is a namespace too, so two networks never meet, and every one may use the same
//! addresses: 10.77.0.1 and fd77::1 for the node, the following ones for the pods, never used twice.

use super::namespace::Namespace;
use super::pod::{Inner, Pod};
use super::{Error, sweep};
use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The bridge's name in the node's namespace.
pub const BRIDGE: &str = "weft0";

/// The namespace a pod's short names are completed with unless it says otherwise.
const DEFAULT_SEARCH: &str = "default";

static NETWORKS: AtomicU32 = AtomicU32::new(0);

/// A network of pods. Cloning shares it; it goes with the last clone, pod and process.
#[derive(Debug, Clone)]
pub struct Network {
    wires: Arc<Wires>,
    node: Pod,
}

/// What pods share: the directory, and which names and numbers are in use.
#[derive(Debug)]
pub(super) struct Wires {
    prefix: String,
    dir: PathBuf,
    next: AtomicU32,
    taken: Mutex<HashSet<String>>,
}

impl Network {
    /// The node, its bridge and a directory for logs; removes what crashed runs left behind first.
    pub fn new() -> Result<Self, Error> {
        sweep::sweep();
        let prefix = sweep::prefix(NETWORKS.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&prefix);
        let failed = || Error::io(format!("make {}", dir.display()));
        fs::create_dir_all(dir.join("logs")).map_err(failed())?;
        // Proxies run with a user of their own and have to reach their files in here.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).map_err(failed())?;
        let wires = Wires { prefix, dir, next: AtomicU32::new(1), taken: Mutex::default() };
        let wires = Arc::new(wires);
        let node = wires.reserve("node", DEFAULT_SEARCH)?;
        let batch = format!(
            "link set lo up\nlink add {BRIDGE} type bridge mcast_snooping 0\naddr add {}/16 dev {BRIDGE}\n\
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
        &self.wires.dir
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
        let pods = names.iter().map(|name| self.wires.reserve(name.as_ref(), namespace));
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

impl Wires {
    /// A namespace with a name and addresses of its own, not yet plugged in.
    fn reserve(self: &Arc<Self>, name: &str, search: &str) -> Result<Pod, Error> {
        sweep::refuse_when_closing()?;
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 40 || !name.chars().all(letter) {
            return Err(Error::Name(name.to_owned()));
        }
        if !self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned()) {
            return Err(Error::Taken(name.to_owned()));
        }
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let node = address(1);
        let resolver = format!(
            "nameserver {node}\nsearch {search}.svc.cluster.local svc.cluster.local cluster.local\n\
             options ndots:5 timeout:2 attempts:2\n"
        );
        let namespace =
            Namespace::new(&format!("{}-{name}", self.prefix), &resolver).inspect_err(|_| self.release(name))?;
        Ok(Pod::new(Inner {
            name: name.to_owned(),
            namespace,
            ip: address(index),
            ip6: Ipv6Addr::from_bits(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0).to_bits() + u128::from(index)),
            port: format!("p{index}"),
            wires: Arc::clone(self),
        }))
    }

    pub(super) fn release(&self, name: &str) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The `index`th address of 10.77.0.0/16.
fn address(index: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 77, 0, 0).to_bits() + index)
}

/// Starts one `ip` that works through all of `lines` inside `namespace`.
pub(super) fn start_batch(namespace: &str, lines: &str) -> Result<Child, Error> {
    let mut command = Command::new("ip");
    command.args(["-n", namespace, "-batch", "-"]).env("PATH", system_path());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(Error::io("start `ip` (Debian package iproute2)"))?;
    let mut input = child.stdin.take().expect("stdin is piped");
    input.write_all(lines.as_bytes()).map_err(Error::io("talk to `ip`"))?;
    Ok(child)
}

/// Waits for [`start_batch`]'s `ip`.
pub(super) fn finish(child: Child) -> Result<(), Error> {
    let output = child.wait_with_output().map_err(Error::io("wait for `ip`"))?;
    if output.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Command { command: "ip -batch".to_owned(), output })
}

/// The caller's PATH and, since a login shell may lack them, the directories of administrators' programs.
pub(super) fn system_path() -> String {
    format!("{}:/usr/local/sbin:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}
