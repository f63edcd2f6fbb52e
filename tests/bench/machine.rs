//! The machine: what it is, and how much of it is taken by everybody but this benchmark.
//!
//! All of the CPU time in /proc/stat, without what this process and its descendants were charged, is everybody else's. Both are
//! kept in the kernel's ticks. Interrupts count with the task they interrupt, except where the kernel is told to keep them apart.

use anyhow::Context;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

/// Since when, and what had been spent then.
#[derive(Debug)]
pub struct Watch {
    since: Instant,
    everybody: u64,
    own: u64,
}

impl Watch {
    pub fn start() -> anyhow::Result<Self> {
        Ok(Self { since: Instant::now(), everybody: everybody()?, own: own()? })
    }

    /// How many cores everybody else has kept busy since the start, on average.
    pub fn others(&self) -> anyhow::Result<f64> {
        let hertz = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.context("the kernel names no tick")?;
        let (everybody, own) = (everybody()? - self.everybody, own()?.saturating_sub(self.own));
        let ticks = everybody.saturating_sub(own);
        Ok(ticks as f64 / hertz as f64 / self.since.elapsed().as_secs_f64())
    }
}

/// For summary.json.
pub fn description() -> Value {
    let line = |path: &str, field: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line =
            text.lines().find_map(|line| line.strip_prefix(field).map(|rest| rest.trim_matches([' ', '\t', ':'])));
        line.unwrap_or_default().to_owned()
    };
    json!({
        "cores": std::thread::available_parallelism().map_or(0, |cores| cores.get()),
        "cpu": line("/proc/cpuinfo", "model name"),
        "memory": line("/proc/meminfo", "MemTotal"),
        "kernel": line("/proc/sys/kernel/osrelease", ""),
    })
}

fn everybody() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/stat").context("/proc/stat")?;
    busy(&text, interrupts_apart()).with_context(|| format!("/proc/stat: {text}"))
}

/// Ticks of all cores (proc(5)): user, nice, system, interrupts and what the hypervisor took; not idle, not waiting.
fn busy(stat: &str, interrupts_apart: bool) -> Option<u64> {
    let ticks: Vec<u64> = stat.lines().next()?.split_whitespace().skip(1).map_while(|tick| tick.parse().ok()).collect();
    let [user, nice, system, _idle, _wait, hard, soft, stolen, ..] = ticks[..] else { return None };
    // It is the benchmark's own traffic that interrupts.
    let interrupts = if interrupts_apart { 0 } else { hard + soft };
    Some(user + nice + system + interrupts + stolen)
}

/// Whether the kernel charges interrupts to nobody (CONFIG_IRQ_TIME_ACCOUNTING), as far as its configuration can be read.
fn interrupts_apart() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let configuration = fs::read_to_string(format!("/boot/config-{}", release.trim())).unwrap_or_default();
    configuration.lines().any(|line| line == "CONFIG_IRQ_TIME_ACCOUNTING=y")
}

/// Ticks of this process, its descendants, and those of them that have ended and were waited for.
fn own() -> anyhow::Result<u64> {
    let entries = fs::read_dir("/proc").context("/proc")?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    // Who is gone in between is charged to its parent, which is read later or counts next time.
    let stats = pids.filter_map(|pid| Some((pid, charged(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?)));
    let processes: BTreeMap<u32, Charged> = stats.collect();
    let is_own = |mut pid: u32| loop {
        if pid == std::process::id() {
            return true;
        }
        match processes.get(&pid) {
            Some(process) => pid = process.parent,
            None => return false,
        }
    };
    Ok(processes.iter().filter(|(pid, _)| is_own(**pid)).map(|(_, process)| process.ticks).sum())
}

#[derive(Debug, PartialEq, Eq)]
struct Charged {
    parent: u32,
    ticks: u64,
}

fn charged(stat: &str) -> Option<Charged> {
    // The second field is the program's name in parentheses and may contain anything; field 3 follows the last one.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(14 - 3..=17 - 3)?.iter().map(|ticks| ticks.parse::<u64>().ok());
    Some(Charged { parent: fields.get(4 - 3)?.parse().ok()?, ticks: ticks.sum::<Option<u64>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_charged_with_its_children() {
        let stat = "42 (a (b) c) S 7 42 42 0 -1 4194304 1 2 3 4 700 50 9 1 20 0 1 0 100 1000 10";
        assert_eq!(charged(stat), Some(Charged { parent: 7, ticks: 760 }));
    }

    #[test]
    fn waiting_is_not_work() {
        let stat = "cpu  100 20 30 5000 400 1 2 5 0 0\ncpu0 1 1\n";
        assert_eq!(busy(stat, false), Some(158));
        assert_eq!(busy(stat, true), Some(155));
    }
}
