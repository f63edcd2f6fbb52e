//! Makes pods, and this process, take many connections in a short time.
//!
//! A new connection per request uses up the ports of an address within seconds under the kernel's defaults; every contender gets
//! the same. Only the pods' own settings are touched.

use anyhow::{Context, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fs;
use std::path::Path;
use weft_examples::pods::Pod;

/// Files that a proxy of 10,000 connections may have open, with room for both sides of each.
const FILES: u64 = 65_536;

/// The least that will do where proxies share connections to the next one.
const FEWEST: u64 = 12_000;

/// What each pod is set to. Ports in TIME_WAIT serve again after a second, by timestamps.
const SETTINGS: [(&str, &str); 3] = [
    ("ipv4/ip_local_port_range", "15100 65535"),
    ("ipv4/tcp_tw_reuse", "1"),
    // Exists only where connections are tracked.
    ("netfilter/nf_conntrack_tcp_timeout_time_wait", "5"),
];

/// Prepares the pods of a contender.
pub fn prepare(pods: [&Pod; 2]) -> anyhow::Result<()> {
    pods.into_iter().try_for_each(|pod| pod.within(settings)?)
}

fn settings() -> anyhow::Result<()> {
    for (setting, value) in SETTINGS {
        let path = Path::new("/proc/sys/net").join(setting);
        if path.exists() {
            fs::write(&path, value).with_context(|| format!("write {}", path.display()))?;
        }
    }
    Ok(())
}

/// Raises the number of files that this process and all it starts may open: to [`FILES`], or as far as it goes without the
/// privilege to raise the limit itself, which a container may withhold.
pub fn allow_many_files() -> anyhow::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if setrlimit(Resource::RLIMIT_NOFILE, soft.max(FILES), hard.max(FILES)).is_ok() {
        return Ok(());
    }
    ensure!(hard > FEWEST, "{hard} open files are allowed here, and more than {FEWEST} are needed (ulimit -Hn)");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raise the soft limit of open files to the hard one")
}
