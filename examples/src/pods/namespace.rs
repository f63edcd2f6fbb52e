//! One named network namespace: made, entered, emptied, removed.
//!
//! The name appears in /run/netns, so that `ip netns exec` works on it; `/etc/netns/NAME/resolv.conf` gives it a resolver.
//! Removal never fails loudly: what is already gone is fine.

use super::error::Error;
use nix::mount::{MntFlags, MsFlags};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const RUN: &str = "/run/netns";
const ETC: &str = "/etc/netns";

/// Settings of a fresh namespace: addresses usable at once (no duplicate address detection), nobody advertises routes, and the
/// node may pass packets on.
const SETTINGS: [(&str, &str); 6] = [
    ("ipv6/conf/all/disable_ipv6", "0"),
    ("ipv6/conf/default/disable_ipv6", "0"),
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv4/ip_forward", "0"),
];

/// A namespace that exists as long as this does.
#[derive(Debug)]
pub(super) struct Namespace {
    name: String,
    handle: File,
}

impl Namespace {
    /// Makes the namespace and gives it `resolv_conf`.
    pub(super) fn new(name: &str, resolv_conf: &str) -> Result<Self, Error> {
        let failed = |step: &str| Error::io(format!("namespace {name}: {step}"));
        fs::create_dir_all(RUN).map_err(failed("make /run/netns"))?;
        let path = run_path(name);
        File::create_new(&path).map_err(failed("name it"))?;
        let made = on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let own = Some("/proc/thread-self/ns/net");
            nix::mount::mount(own, &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            for (setting, value) in SETTINGS {
                fs::write(Path::new("/proc/sys/net").join(setting), value)?;
            }
            File::open(&path)
        });
        let handle = made.map_err(|error| {
            remove(name);
            failed("make it (root is needed)")(error)
        })?;
        let namespace = Self { name: name.to_owned(), handle };
        write_resolver(name, resolv_conf).map_err(failed("write its resolv.conf"))?;
        Ok(namespace)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What `setns` wants.
    pub(super) fn handle(&self) -> &File {
        &self.handle
    }

    pub(super) fn resolv_conf(&self) -> PathBuf {
        etc_path(&self.name).join("resolv.conf")
    }

    /// Runs `work` on a thread inside the namespace. Sockets made there stay there, whoever uses them afterwards.
    pub(super) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_thread(|| {
            setns(&self.handle, CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// The names of all namespaces that start with `prefix`.
pub(super) fn named(prefix: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(RUN) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with(prefix)).collect()
}

/// Ends whatever runs in the namespace, then removes it and its resolver.
pub(super) fn remove(name: &str) {
    let path = run_path(name);
    if let Ok(inode) = fs::metadata(&path).map(|meta| meta.ino()) {
        empty(inode);
    }
    // Errors mean that a part is gone already, or never was.
    let _ = nix::mount::umount2(&path, MntFlags::MNT_DETACH);
    let _ = fs::remove_file(&path);
    let _ = fs::remove_dir_all(etc_path(name));
    // Only succeeds when nobody else's resolver is left in it.
    let _ = fs::remove_dir(ETC);
}

/// Kills every process of the namespace, and waits until they are gone so that their files can be removed.
fn empty(inode: u64) {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let inside = inhabitants(inode);
        if inside.is_empty() || Instant::now() > deadline {
            return;
        }
        for pid in inside {
            let _ = kill(pid, Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The processes of a namespace, without this one (a thread of which may be in there) and without the dead.
fn inhabitants(inode: u64) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != std::process::id() as i32)
        // A zombie has no namespaces any more, so it fails to open here.
        .filter(|pid| fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|meta| meta.ino() == inode))
        .map(Pid::from_raw)
        .collect()
}

fn run_path(name: &str) -> PathBuf {
    Path::new(RUN).join(name)
}

fn etc_path(name: &str) -> PathBuf {
    Path::new(ETC).join(name)
}

/// Another process may be removing the empty parent at this very moment; then it is made again.
fn write_resolver(name: &str, text: &str) -> io::Result<()> {
    let directory = etc_path(name);
    for _ in 0..10 {
        if fs::create_dir_all(&directory).is_ok() {
            break;
        }
    }
    fs::write(directory.join("resolv.conf"), text)
}

/// Namespaces belong to threads: a thread of its own takes the change with it when it ends.
fn on_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}
