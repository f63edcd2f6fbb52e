//! A pod: a namespace with two addresses, in which programs run.
//!
//! Handed out by the network. Programs started here see the pod's network and resolver and nothing else of it; they
//! are ended when their [`Process`] is dropped. The pod goes with its last clone and process.

use super::error::Error;
use super::fault::{self, Fault};
use super::ip;
use super::place::Place;
use super::process::{self, Output, Process};
use super::program::Program;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

/// A pod. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Pod {
    place: Arc<Place>,
}

impl Pod {
    pub(super) fn new(place: Arc<Place>) -> Self {
        Self { place }
    }

    pub fn name(&self) -> &str {
        self.place.name()
    }

    /// The namespace's name, as `ip netns exec` wants it.
    pub fn namespace(&self) -> &str {
        self.place.namespace.name()
    }

    pub fn ip(&self) -> Ipv4Addr {
        self.place.ip
    }

    pub fn ip6(&self) -> Ipv6Addr {
        self.place.ip6
    }

    /// The pod's end of the wire on the node: what a capture listens on. The node itself has none.
    pub fn port(&self) -> &str {
        &self.place.port
    }

    /// The network's directory.
    pub fn dir(&self) -> &Path {
        self.place.dir()
    }

    /// Starts `program`; its output goes to a log file.
    pub fn spawn(&self, program: Program) -> Result<Process, Error> {
        Process::start(&self.place, program)
    }

    /// Runs `program` to its end, which has to come within 30 s. A failing status is not an error here.
    pub fn run(&self, program: Program) -> Result<Output, Error> {
        process::run(&self.place, program)
    }

    /// Like [`Pod::run`], and a failing status is an error. Returns standard output.
    pub fn run_ok(&self, program: Program) -> Result<String, Error> {
        process::run_ok(&self.place, program)
    }

    /// Runs `work` on a thread inside the pod, typically to open a socket there. The socket stays in the pod's network
    /// and may be used from any thread. Names are resolved outside: dial addresses.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        self.place.namespace.within(work)
    }

    /// Loses all packets between this pod and `peer`, both ways, silently, until the fault is dropped.
    pub fn drop_traffic(&self, peer: IpAddr) -> Result<Fault, Error> {
        fault::drop_traffic(&self.place, &[peer])
    }

    /// Loses all packets between two pods, in both address families.
    pub fn drop_traffic_to(&self, peer: &Pod) -> Result<Fault, Error> {
        fault::drop_traffic(&self.place, &[peer.ip().into(), peer.ip6().into()])
    }

    /// Pulls the pod's plug until the fault is dropped: it is cut off from everybody.
    pub fn unplug(&self, node: &Pod) -> Result<Fault, Error> {
        fault::unplug(&node.place, &self.place)
    }

    /// Takes `batch` lines for `ip` into force inside the pod.
    pub fn ip_batch(&self, batch: &str) -> Result<(), Error> {
        ip::finish(ip::start_batch(self.namespace(), batch)?)
    }
}
