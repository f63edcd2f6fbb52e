//! A workload in the mesh: a pod, its sidecar and its application.
//!
//! Made by [`Mesh::join`](super::Mesh::join) in the order an init container and a sidecar would follow: redirect, proxy,
//! then the application. Sidecar and application are ended and started again independently.

use super::binary::program;
use super::discovery::{Discovery, running};
use super::error::{Error, START_LIMIT};
use super::fetch;
use super::metrics::Metrics;
use crate::pods::{self, Pod, Process, Program, poll_until};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The user that proxies run as, and whose traffic the redirect leaves alone.
pub const PROXY_UID: u32 = 1337;

/// Where a proxy's admin endpoint listens in its pod.
pub const PROXY_ADMIN_PORT: u16 = 15020;

/// What is to join the mesh.
#[derive(Debug, Clone)]
pub struct Workload {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) account: String,
    zone: Option<String>,
    registers: Vec<String>,
    health_check: Option<String>,
    proxy_args: Vec<String>,
    redirect_args: Vec<String>,
    proxy_envs: Vec<(String, String)>,
    application: Option<Program>,
}

impl Workload {
    /// A workload with the service account `account`; it only calls others unless it registers.
    pub fn new(namespace: &str, name: &str, account: &str) -> Self {
        Self {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            account: account.to_owned(),
            zone: None,
            registers: Vec::new(),
            health_check: None,
            proxy_args: Vec::new(),
            redirect_args: Vec::new(),
            proxy_envs: Vec::new(),
            application: None,
        }
    }

    pub fn zone(mut self, zone: &str) -> Self {
        self.zone = Some(zone.to_owned());
        self
    }

    /// Registers the pod as an endpoint: `service=portname:port`.
    pub fn registers(mut self, registration: impl Into<String>) -> Self {
        self.registers.push(registration.into());
        self
    }

    /// `tcp:PORT` or `http:PORT/path`.
    pub fn health_check(mut self, check: impl Into<String>) -> Self {
        self.health_check = Some(check.into());
        self
    }

    /// One more flag for `weft-proxy run`.
    pub fn proxy_arg(mut self, arg: impl Into<String>) -> Self {
        self.proxy_args.push(arg.into());
        self
    }

    /// One more flag for `weft-proxy redirect apply`.
    pub fn redirect_arg(mut self, arg: impl Into<String>) -> Self {
        self.redirect_args.push(arg.into());
        self
    }

    pub fn proxy_env(mut self, name: &str, value: &str) -> Self {
        self.proxy_envs.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What runs in the pod beside the sidecar, started when the sidecar is ready.
    pub fn application(mut self, program: Program) -> Self {
        self.application = Some(program);
        self
    }
}

/// A workload that has joined.
#[derive(Debug)]
pub struct Member {
    workload: Workload,
    pod: Pod,
    proxy_program: Program,
    application: Mutex<Option<Process>>,
    proxy: Mutex<Option<Process>>,
}

impl Member {
    pub(super) fn join(discovery: &[Discovery], pod: Pod, workload: Workload) -> Result<Self, Error> {
        let redirect = program("weft-proxy")?.args(["redirect", "apply", "--proxy-uid", &PROXY_UID.to_string()]);
        pod.run_ok(redirect.args(&workload.redirect_args))?;
        let proxy_program = proxy_program(discovery, &pod, &workload)?;
        let member = Self { workload, pod, proxy_program, application: Mutex::default(), proxy: Mutex::default() };
        member.start_proxy()?;
        member.wait_ready(START_LIMIT)?;
        member.start_application()?;
        Ok(member)
    }

    pub fn pod(&self) -> &Pod {
        &self.pod
    }

    pub fn name(&self) -> &str {
        &self.workload.name
    }

    pub fn namespace(&self) -> &str {
        &self.workload.namespace
    }

    /// Whether the sidecar registers an application of its own.
    pub fn is_registered(&self) -> bool {
        !self.workload.registers.is_empty()
    }

    pub fn account(&self) -> &str {
        &self.workload.account
    }

    /// Starts the sidecar if it is not running. Does not wait until it is ready.
    pub fn start_proxy(&self) -> Result<(), Error> {
        let mut proxy = locked(&self.proxy);
        if proxy.as_ref().is_none_or(|proxy| !proxy.is_running()) {
            *proxy = Some(self.pod.spawn(self.proxy_program.clone())?);
        }
        Ok(())
    }

    /// Starts the application if it is not running.
    pub fn start_application(&self) -> Result<(), Error> {
        let Some(program) = self.workload.application.clone() else { return Ok(()) };
        self.start_application_as(program)
    }

    /// Starts `program` as the application if none is running.
    pub fn start_application_as(&self, program: Program) -> Result<(), Error> {
        let mut application = locked(&self.application);
        if application.as_ref().is_none_or(|application| !application.is_running()) {
            *application = Some(self.pod.spawn(program)?);
        }
        Ok(())
    }

    /// SIGKILL to the sidecar, and waits until it is gone.
    pub fn kill_proxy(&self) {
        locked(&self.proxy).take();
    }

    /// SIGTERM to the sidecar, and waits until it is gone.
    pub fn terminate_proxy(&self) -> Option<std::process::ExitStatus> {
        end(locked(&self.proxy).take()?)
    }

    /// SIGKILL to the application, and waits until it is gone.
    pub fn kill_application(&self) {
        locked(&self.application).take();
    }

    /// SIGTERM to the application, and waits until it is gone.
    pub fn terminate_application(&self) -> Option<std::process::ExitStatus> {
        end(locked(&self.application).take()?)
    }

    /// SIGKILL to both at the same moment: what a pod's sudden death looks like.
    pub fn kill(&self) {
        let (proxy, application) = (locked(&self.proxy).take(), locked(&self.application).take());
        for process in [&proxy, &application].into_iter().flatten() {
            process.kill();
        }
    }

    /// Does `work` with the sidecar's process, if it runs: signals, its pid, its log.
    pub fn with_proxy<T>(&self, work: impl FnOnce(&Process) -> T) -> Option<T> {
        locked(&self.proxy).as_ref().map(work)
    }

    /// Does `work` with the application's process, if it runs.
    pub fn with_application<T>(&self, work: impl FnOnce(&Process) -> T) -> Option<T> {
        locked(&self.application).as_ref().map(work)
    }

    /// Waits until the sidecar's `/readyz` says yes.
    pub fn wait_ready(&self, limit: Duration) -> Result<(), Error> {
        let what = || format!("weft-proxy of {}", self.workload.name);
        let log = || self.with_proxy(|proxy| proxy.log_tail(20)).unwrap_or_default();
        let mut said = String::new();
        let ready = || {
            let status = self.with_proxy(Process::status)?;
            if let Some(status) = status {
                return Some(Err(Error::Ended { what: what(), status: status.to_string(), log: log() }));
            }
            let (ready, answer) = fetch::ready(&self.pod, self.admin());
            said = answer;
            ready.then_some(Ok(()))
        };
        let found = poll_until(Instant::now() + limit, "readiness", ready);
        found.unwrap_or_else(|_| Err(Error::NotReady { what: what(), waited: limit, said, log: log() }))
    }

    /// The sidecar's admin endpoint, inside the pod.
    pub fn admin(&self) -> SocketAddr {
        (self.pod.ip(), PROXY_ADMIN_PORT).into()
    }

    /// What the sidecar counts; empty when it does not answer.
    pub fn metrics(&self) -> Metrics {
        let text = fetch::get(&self.pod, self.admin(), "/metrics").map(|reply| reply.body).unwrap_or_default();
        Metrics::parse(&text)
    }

    /// Where the sidecar keeps its key, certificate and snapshot.
    pub fn state_dir(&self) -> PathBuf {
        state_dir(&self.pod)
    }
}

fn state_dir(pod: &Pod) -> PathBuf {
    pod.dir().join("state").join(pod.name())
}

/// `weft-proxy run` with all its files in place, as its own user.
fn proxy_program(discovery: &[Discovery], pod: &Pod, workload: &Workload) -> Result<Program, Error> {
    let state = state_dir(pod);
    let token = state.join("join-token");
    let secret = running(discovery).token(&workload.namespace, &workload.account)?;
    place(&state, &token, &secret).map_err(pods::Error::io(format!("write {}", token.display())))?;
    let urls: Vec<_> = discovery.iter().map(Discovery::url).collect();
    let mut program = program("weft-proxy")?
        .user(PROXY_UID)
        .arg("run")
        .args(["--name", &workload.name, "--namespace", &workload.namespace, "--service-account", &workload.account])
        .args(["--discovery", &urls.join(",")])
        .arg("--trust-anchors")
        .arg(discovery[0].trust_anchors())
        .arg("--join-token-file")
        .arg(token)
        .arg("--state-dir")
        .arg(state)
        .args(["--admin-listen", &format!("0.0.0.0:{PROXY_ADMIN_PORT}")]);
    for (flag, value) in [("--zone", &workload.zone), ("--health-check", &workload.health_check)] {
        if let Some(value) = value {
            program = program.args([flag, value]);
        }
    }
    for registration in &workload.registers {
        program = program.args(["--register", registration]);
    }
    program = program.args(&workload.proxy_args);
    Ok(workload.proxy_envs.iter().fold(program, |program, (name, value)| program.env(name, value)))
}

/// The state directory and the token in it, for the proxy's eyes only.
fn place(state: &Path, token: &Path, secret: &str) -> std::io::Result<()> {
    fs::create_dir_all(state)?;
    fs::set_permissions(state, fs::Permissions::from_mode(0o700))?;
    fs::write(token, secret)?;
    fs::set_permissions(token, fs::Permissions::from_mode(0o600))?;
    chown(state, Some(PROXY_UID), Some(PROXY_UID))?;
    chown(token, Some(PROXY_UID), Some(PROXY_UID))
}

fn end(process: Process) -> Option<std::process::ExitStatus> {
    process.terminate();
    process.wait_exit(START_LIMIT)
}

fn locked(process: &Mutex<Option<Process>>) -> MutexGuard<'_, Option<Process>> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}
