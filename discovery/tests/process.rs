//! weft-discovery as a process: its exit status, its socket, its file, and how it stops.
//!
//! Runs the real binary on free ports of loopback, with its files in a temporary folder.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

struct Process {
    child: Child,
    probes: u16,
}

impl Process {
    fn start(folder: &Path, flags: &[&str]) -> Self {
        let probes = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft-discovery"));
        command.env_clear().stderr(Stdio::piped());
        command.args(["--replica", "one", "--listen", "127.0.0.1:0", "--admin-listen", &format!("127.0.0.1:{probes}")]);
        command.arg("--admin-socket").arg(folder.join("admin.sock"));
        command.arg("--trust-anchors-out").arg(folder.join("anchors.pem"));
        command.args(["--store", &format!("embedded:{}", folder.join("store").display())]).args(flags);
        Self { child: command.spawn().unwrap(), probes }
    }

    fn ready(folder: &Path) -> Self {
        let process = Self::start(folder, &[]);
        let deadline = Instant::now() + PATIENCE;
        while !process.get("/readyz").is_some_and(|answer| answer.contains("200 OK")) {
            assert!(Instant::now() < deadline, "it does not become ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        process
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.probes)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Its status and what it wrote.
    fn end(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (self.child.wait().unwrap(), text)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn sigterm_ends_it_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::ready(folder.path());
    assert!(std::fs::read_to_string(folder.path().join("anchors.pem")).unwrap().starts_with("-----BEGIN CERTIFICATE"));
    let metrics = process.get("/metrics").unwrap();
    for name in ["weft_discovery_registry_revision", "weft_discovery_subscribers", "weft_discovery_store_connected 1"] {
        assert!(metrics.contains(name), "{name} is missing in {metrics}");
    }
    let began = Instant::now();
    process.signal(Signal::SIGTERM);
    let (status, log) = process.end();
    assert!(status.success(), "{log}");
    assert!(began.elapsed() < Duration::from_secs(5), "nobody was connected, so there was nothing to wait for");
    assert!(!folder.path().join("admin.sock").exists());
}

#[test]
fn a_crash_leaves_nothing_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::ready(folder.path());
    let anchors = std::fs::read(folder.path().join("anchors.pem")).unwrap();
    process.signal(Signal::SIGKILL);
    process.end();
    assert!(folder.path().join("admin.sock").exists());
    let process = Process::ready(folder.path());
    UnixStream::connect(folder.path().join("admin.sock")).unwrap();
    assert_eq!(std::fs::read(folder.path().join("anchors.pem")).unwrap(), anchors, "the root of trust was kept");
    process.signal(Signal::SIGINT);
    assert!(process.end().0.success());
}

#[test]
fn a_second_process_does_not_take_the_first_ones_place() {
    let folder = tempfile::tempdir().unwrap();
    let first = Process::ready(folder.path());
    let (status, log) = Process::start(folder.path(), &[]).end();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("store"), "{log}");
    UnixStream::connect(folder.path().join("admin.sock")).unwrap();
    drop(first);
}

#[test]
fn wrong_configuration_is_status_2_and_a_line_for_each_fault() {
    let folder = tempfile::tempdir().unwrap();
    let (status, log) = Process::start(folder.path(), &["--trust-domain", "Weft", "--virtual-range", "x"]).end();
    assert_eq!(status.code(), Some(2));
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines[0].starts_with("weft-discovery: --trust-domain: "), "{log}");
    assert!(lines[1].starts_with("weft-discovery: --virtual-range: "), "{log}");
    let (status, log) = Process::start(folder.path(), &["--log-level", "info,=,"]).end();
    assert_eq!(status.code(), Some(2), "{log}");
}

#[test]
fn while_etcd_is_away_it_waits_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("etcd:http://127.0.0.1:{}", free_port());
    let probes = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft-discovery"));
    command.env_clear().stderr(Stdio::piped()).args(["--replica", "one", "--listen", "127.0.0.1:0", "--store", &store]);
    command.args(["--admin-listen", &format!("127.0.0.1:{probes}")]);
    command.arg("--admin-socket").arg(folder.path().join("admin.sock"));
    let process = Process { child: command.spawn().unwrap(), probes };
    let deadline = Instant::now() + PATIENCE;
    while !process.get("/readyz").is_some_and(|answer| answer.contains("503")) {
        assert!(Instant::now() < deadline, "its probes do not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(process.get("/livez").unwrap().contains("200 OK"));
    process.signal(Signal::SIGTERM);
    assert!(process.end().0.success());
}
