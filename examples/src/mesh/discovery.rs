//! One replica of weft-discovery on the node.
//!
//! Started before any sidecar, and killed, hung or started again by whoever wants to see what happens then. Its state
//! is in the store, so a replica that is started again is the same one.

use super::binary::program;
use super::error::{Error, START_LIMIT};
use super::fetch;
use super::metrics::Metrics;
use crate::pods::{Network, Pod, Process, Program, poll_until};
use nix::sys::signal::Signal;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The API's port of the first replica, and the distance to the next one's.
const API_PORT: u16 = 15010;
/// The admin endpoint's port, likewise.
const ADMIN_PORT: u16 = 15014;
const NEXT: u16 = 100;

/// A replica, running or not.
#[derive(Debug)]
pub struct Discovery {
    node: Pod,
    name: String,
    index: u16,
    program: Program,
    process: Mutex<Option<Process>>,
}

/// The first replica that runs; the first of all when none does, whose error then tells.
pub(super) fn running(replicas: &[Discovery]) -> &Discovery {
    replicas.iter().find(|replica| replica.is_running()).unwrap_or(&replicas[0])
}

impl Discovery {
    /// Starts the `index`th replica on the network's node.
    pub(super) fn start(network: &Network, index: u16, store: &str, more: &[String]) -> Result<Self, Error> {
        let node = network.node().clone();
        let name = format!("discovery-{index}");
        let mut replica = Self { node, name, index, program: program("weft-discovery")?, process: Mutex::default() };
        replica.program = program("weft-discovery")?
            .label(&replica.name)
            .args(["--store", store, "--replica", &replica.name])
            .args(["--listen", &format!("0.0.0.0:{}", API_PORT + index * NEXT)])
            .args(["--admin-listen", &replica.admin().to_string()])
            .arg("--admin-socket")
            .arg(replica.socket())
            .arg("--trust-anchors-out")
            .arg(replica.trust_anchors())
            .args(more);
        replica.start_again()?;
        Ok(replica)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts the process if it is not running. Does not wait until it is ready.
    pub fn start_again(&self) -> Result<(), Error> {
        let mut process = self.process();
        if process.as_ref().is_none_or(|process| !process.is_running()) {
            *process = Some(self.node.spawn(self.program.clone())?);
        }
        Ok(())
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&self) {
        self.process().take();
    }

    /// SIGTERM, and waits until it is gone.
    pub fn terminate(&self) -> Option<std::process::ExitStatus> {
        let process = self.process().take()?;
        process.terminate();
        process.wait_exit(START_LIMIT)
    }

    /// Sends a signal such as SIGSTOP to the process, if there is one.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = self.process().as_ref() {
            process.signal(signal);
        }
    }

    pub fn pid(&self) -> Option<u32> {
        self.process().as_ref().map(Process::pid)
    }

    pub fn is_running(&self) -> bool {
        self.process().as_ref().is_some_and(Process::is_running)
    }

    /// The log of the present run.
    pub fn log(&self) -> String {
        self.process().as_ref().map(Process::log).unwrap_or_default()
    }

    /// Waits until `/readyz` says yes.
    pub fn wait_ready(&self, limit: Duration) -> Result<(), Error> {
        let mut said = String::new();
        let ready = || {
            if !self.is_running() {
                return Some(false);
            }
            let (ready, answer) = fetch::ready(&self.node, self.admin());
            said = answer;
            ready.then_some(true)
        };
        match poll_until(Instant::now() + limit, &self.name, ready) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.ended()),
            Err(_) => Err(Error::NotReady { what: self.name.clone(), waited: limit, said, log: self.log_tail() }),
        }
    }

    /// Where the admin endpoint (metrics, probes) listens, on the node.
    pub fn admin(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, ADMIN_PORT + self.index * NEXT).into()
    }

    /// Where proxies dial it.
    pub fn api(&self) -> SocketAddr {
        (IpAddr::from(self.node.ip()), API_PORT + self.index * NEXT).into()
    }

    /// [`Discovery::api`] as proxies' `--discovery` takes it.
    pub fn url(&self) -> String {
        format!("https://{}", self.api())
    }

    /// weftctl's way in.
    pub fn socket(&self) -> PathBuf {
        self.node.dir().join(format!("{}.sock", self.name))
    }

    /// The file with the trust anchors, PEM, written when discovery starts.
    pub fn trust_anchors(&self) -> PathBuf {
        self.node.dir().join(format!("{}.anchors.pem", self.name))
    }

    /// The admin endpoint's metrics.
    pub fn metrics(&self) -> Metrics {
        let text = fetch::get(&self.node, self.admin(), "/metrics").map(|reply| reply.body).unwrap_or_default();
        Metrics::parse(&text)
    }

    /// Runs `weftctl` against this replica; standard output.
    pub fn weftctl(&self, args: &[&str]) -> Result<String, Error> {
        Ok(self.node.run_ok(self.weftctl_program()?.args(args))?)
    }

    /// A join token for a service account.
    pub fn token(&self, namespace: &str, account: &str) -> Result<String, Error> {
        let args = ["token", "create", "--namespace", namespace, "--service-account", account, "--ttl", "1h"];
        let output = self.weftctl(&args)?;
        // The token is the last word, whatever explanation stands around it.
        match output.split_whitespace().last() {
            Some(token) => Ok(token.to_owned()),
            None => Err(Error::Answer { command: args.join(" "), output }),
        }
    }

    /// `weftctl` with the flag that leads it here, for callers who want the status too.
    pub fn weftctl_program(&self) -> Result<Program, Error> {
        Ok(program("weftctl")?.args(["--discovery", &format!("unix://{}", self.socket().display())]))
    }

    /// The directory all of the network's files are in.
    pub fn dir(&self) -> &Path {
        self.node.dir()
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log_tail(&self) -> String {
        self.process().as_ref().map(|process| process.log_tail(20)).unwrap_or_default()
    }

    fn ended(&self) -> Error {
        let status = self.process().as_ref().and_then(Process::status);
        let status = status.map_or_else(|| "it was never started".to_owned(), |status| status.to_string());
        Error::Ended { what: self.name.clone(), status, log: self.log_tail() }
    }
}
