//! A real etcd, of one or three members, on free loopback ports and in a temporary directory.
//!
//! Started by the demo (`STORE=etcd`) and by the store's tests, which also kill, pause and restart members. A member that
//! does not come up fails with the end of its own log. Invariant: when the cluster is dropped, nothing of it is left.

use crate::pods::Pod;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{self, Error, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// How long a member may take to answer that it is healthy: it waits for its peers, and disks can be slow.
const STARTUP: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
/// The machine's own, looked up in PATH.
const PROGRAM: &str = "etcd";

/// PEM files of a server that speaks TLS and wants a certificate from its clients.
#[derive(Debug, Clone)]
pub struct ServerTls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Authorities of clients' certificates.
    pub clients: PathBuf,
}

/// Members by number, from 0.
pub struct EtcdCluster {
    program: PathBuf,
    tls: Option<ServerTls>,
    members: Vec<Member>,
    directory: TempDir,
}

struct Member {
    name: String,
    client: u16,
    peer: u16,
    /// Answers whether it is well, without TLS.
    health: u16,
    process: Option<Child>,
}

impl EtcdCluster {
    /// Starts `size` members and waits until all of them serve. `NotFound`: there is no etcd on this machine.
    pub async fn start(size: usize) -> io::Result<Self> {
        Self::start_in(Path::new(PROGRAM), size, &std::env::temp_dir(), None).await
    }

    /// One member that serves nobody without a certificate.
    pub async fn start_secured(tls: ServerTls) -> io::Result<Self> {
        Self::start_in(Path::new(PROGRAM), 1, &std::env::temp_dir(), Some(tls)).await
    }

    /// The same on the loopback of `pod`, with all files in its network's directory. Blocks the thread. To restart a member,
    /// be [`within`](Pod::within) the pod too.
    pub fn start_on(pod: &Pod, size: usize) -> io::Result<Self> {
        Self::start_program_on(Path::new(PROGRAM), pod, size)
    }

    /// The same with another etcd than the machine's own.
    pub fn start_program_on(program: &Path, pod: &Pod, size: usize) -> io::Result<Self> {
        let start = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(Self::start_in(program, size, pod.dir(), None))
        };
        pod.within(start)?
    }

    async fn start_in(program: &Path, size: usize, directory: &Path, tls: Option<ServerTls>) -> io::Result<Self> {
        let ports = free_ports(3 * size)?;
        let members = ports
            .chunks(3)
            .enumerate()
            .map(|(i, own)| Member {
                name: format!("etcd-{i}"),
                client: own[0],
                peer: own[1],
                health: own[2],
                process: None,
            })
            .collect();
        let directory = tempfile::Builder::new().prefix("etcd-").tempdir_in(directory)?;
        let mut cluster = Self { program: program.to_owned(), tls, members, directory };
        for member in 0..size {
            cluster.spawn(member)?;
        }
        for member in 0..size {
            cluster.serving(member).await?;
        }
        Ok(cluster)
    }

    /// `http://127.0.0.1:port` of every member (`https` when it is secured), running or not.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|m| format!("{}://127.0.0.1:{}", self.scheme(), m.client)).collect()
    }

    fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The process of a running member.
    pub fn pid(&self, member: usize) -> Option<u32> {
        self.members[member].process.as_ref().map(Child::id)
    }

    /// Ends a member as a power cut would (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self, member: usize) -> io::Result<()> {
        match self.members[member].process.take() {
            Some(mut process) => process.kill().and_then(|()| process.wait()).map(drop),
            None => Ok(()),
        }
    }

    /// Stops a member's clock (SIGSTOP): its connections stay open and nothing answers.
    pub fn pause(&self, member: usize) -> io::Result<()> {
        self.signal(member, Signal::SIGSTOP)
    }

    /// Lets a paused member go on.
    pub fn resume(&self, member: usize) -> io::Result<()> {
        self.signal(member, Signal::SIGCONT)
    }

    /// Kills the member if it runs and starts it again on its old ports and data, until it serves.
    pub async fn restart(&mut self, member: usize) -> io::Result<()> {
        self.kill(member)?;
        self.spawn(member)?;
        self.serving(member).await
    }

    fn signal(&self, member: usize, signal: Signal) -> io::Result<()> {
        let pid = self.pid(member).ok_or_else(|| Error::other(format!("etcd member {member} does not run")))?;
        // A process id on Linux is below 2^22.
        kill(Pid::from_raw(pid as i32), signal).map_err(Error::from)
    }

    fn spawn(&mut self, member: usize) -> io::Result<()> {
        let peer = |m: &Member| format!("{}=http://127.0.0.1:{}", m.name, m.peer);
        let cluster = self.members.iter().map(peer).collect::<Vec<_>>().join(",");
        let log = File::options().create(true).append(true).open(self.log(member))?;
        let scheme = self.scheme();
        let m = &mut self.members[member];
        let (client, peer) = (format!("{scheme}://127.0.0.1:{}", m.client), format!("http://127.0.0.1:{}", m.peer));
        let mut command = Command::new(&self.program);
        if let Some(ServerTls { certificate, key, clients }) = &self.tls {
            command.arg("--cert-file").arg(certificate).arg("--key-file").arg(key);
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(clients);
        }
        let child = command
            .args(["--listen-metrics-urls", &format!("http://127.0.0.1:{}", m.health)])
            .args(["--name", &m.name, "--data-dir"])
            .arg(self.directory.path().join(&m.name))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args([
                "--initial-cluster",
                &cluster,
                "--initial-cluster-token",
                &format!("loopback-{}", std::process::id()),
            ])
            .args(["--logger", "zap", "--log-outputs", "stderr"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|e| match e.kind() {
                ErrorKind::NotFound => Error::new(ErrorKind::NotFound, "there is no etcd here: install etcd-server"),
                _ => e,
            })?;
        m.process = Some(child);
        Ok(())
    }

    async fn serving(&mut self, member: usize) -> io::Result<()> {
        let deadline = Instant::now() + STARTUP;
        let port = self.members[member].health;
        loop {
            if matches!(timeout(Duration::from_secs(1), healthy(port)).await, Ok(Ok(true))) {
                return Ok(());
            }
            let process = self.members[member].process.as_mut();
            let ended = process.map(|p| p.try_wait()).transpose()?.flatten();
            if ended.is_some() || Instant::now() > deadline {
                let what = ended.map_or_else(|| format!("no answer in {STARTUP:?}"), |status| status.to_string());
                return Err(Error::other(format!("etcd member {member}: {what}\n{}", tail(&self.log(member)))));
            }
            sleep(POLL).await;
        }
    }

    fn log(&self, member: usize) -> PathBuf {
        self.directory.path().join(format!("{}.log", self.members[member].name))
    }
}

impl Drop for EtcdCluster {
    fn drop(&mut self) {
        for member in 0..self.members.len() {
            // Already gone is as good; the directory goes with its own drop.
            let _ = self.kill(member);
        }
    }
}

/// Asks `/health`, which answers true only when the member has a leader and can commit.
async fn healthy(port: u16) -> io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.contains(r#""health":"true""#))
}

/// Ports nobody listens on now. They are held until all are known, so that no two are the same.
fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<io::Result<_>>()?;
    held.iter().map(|listener| listener.local_addr().map(|address| address.port())).collect()
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_else(|e| format!("{}: {e}", log.display()));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
