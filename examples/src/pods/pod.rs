//! A pod: a namespace with two addresses, in which programs run.
//!
//! Handed out by the network. Programs started here see the pod's network and resolver and nothing else of it; they
//! are ended when their [`Process`] is dropped. The pod goes with its last clone and process.

use super::namespace::Namespace;
use super::network::{self, Wires};
use super::process::{Process, Sink};
use super::{Error, Fault, Program, fault};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

/// How long [`Pod::run`] lets a program run.
const RUN_LIMIT: Duration = Duration::from_secs(30);

/// A pod. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Pod {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) name: String,
    pub(super) namespace: Namespace,
    pub(super) ip: Ipv4Addr,
    pub(super) ip6: Ipv6Addr,
    pub(super) port: String,
    pub(super) wires: Arc<Wires>,
}

/// What a program that ran to its end left.
#[derive(Debug, Clone)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Pod {
    pub(super) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The namespace's name, as `ip netns exec` wants it.
    pub fn namespace(&self) -> &str {
        self.inner.namespace.name()
    }

    pub fn ip(&self) -> Ipv4Addr {
        self.inner.ip
    }

    pub fn ip6(&self) -> Ipv6Addr {
        self.inner.ip6
    }

    /// The pod's end of the wire on the node: what a capture listens on. The node itself has none.
    pub fn port(&self) -> &str {
        &self.inner.port
    }

    /// The network's directory.
    pub fn dir(&self) -> &Path {
        self.inner.wires.dir()
    }

    /// Starts `program`; its output goes to a log file.
    pub fn spawn(&self, program: Program) -> Result<Process, Error> {
        Process::start(self, program, Sink::Log)
    }

    /// Runs `program` to its end, which has to come within 30 s. A failing status is not an error here.
    pub fn run(&self, program: Program) -> Result<Output, Error> {
        let what = program.to_string();
        let process = Process::start(self, program, Sink::Output)?;
        let status = process.wait_exit(RUN_LIMIT).ok_or(Error::Deadline { what, waited: RUN_LIMIT })?;
        let (stdout, stderr) = process.take_output();
        Ok(Output { status, stdout, stderr })
    }

    /// Like [`Pod::run`], and a failing status is an error. Returns standard output.
    pub fn run_ok(&self, program: Program) -> Result<String, Error> {
        let command = program.to_string();
        let output = self.run(program)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = format!("{} {}{}", output.status, output.stdout, output.stderr);
        Err(Error::Command { command, output: said.trim().to_owned() })
    }

    /// Runs `work` on a thread inside the pod, typically to open a socket there. The socket stays in the pod's network
    /// and may be used from any thread. Names are resolved outside: dial addresses.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        self.inner.namespace.within(work)
    }

    /// Loses all packets between this pod and `peer`, both ways, silently, until the fault is dropped.
    pub fn drop_traffic(&self, peer: IpAddr) -> Result<Fault, Error> {
        fault::drop_traffic(self, &[peer])
    }

    /// Loses all packets between two pods, in both address families.
    pub fn drop_traffic_to(&self, peer: &Pod) -> Result<Fault, Error> {
        fault::drop_traffic(self, &[peer.ip().into(), peer.ip6().into()])
    }

    /// Pulls the pod's plug until the fault is dropped: it is cut off from everybody.
    pub fn unplug(&self, node: &Pod) -> Result<Fault, Error> {
        fault::unplug(node, self)
    }

    /// Takes `batch` lines for `ip` into force inside the pod.
    pub fn ip_batch(&self, batch: &str) -> Result<(), Error> {
        network::finish(network::start_batch(self.namespace(), batch)?)
    }

    pub(super) fn own_namespace(&self) -> &Namespace {
        &self.inner.namespace
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.wires.release(&self.name);
    }
}

impl Output {
    /// Both streams, for messages.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}
