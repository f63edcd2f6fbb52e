//! What the kernel says about this process, looked up at each scrape.
//!
//! CPU time from getrusage(2), which counts microseconds where /proc counts ticks; the rest from /proc/self. A value
//! that cannot be read is left out rather than shown as 0.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Debug)]
pub(super) struct Process {
    started: f64,
}

impl Process {
    pub(super) fn new() -> Self {
        Self { started: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut show = |name, help, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        if let Some(seconds) = cpu_seconds() {
            show("process_cpu_seconds", "Time spent on CPUs, user and system.", &ConstCounter::new(seconds))?;
        }
        if let Some(bytes) = resident_bytes() {
            show("process_resident_memory_bytes", "Memory in RAM.", &ConstGauge::new(bytes))?;
        }
        if let Some(open) = open_files() {
            show("process_open_fds", "Open file descriptors.", &ConstGauge::new(open))?;
        }
        show("process_start_time_seconds", "When the process started, since the epoch.", &ConstGauge::new(self.started))
    }
}

fn cpu_seconds() -> Option<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some((usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6)
}

fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?;
    Some(kib.trim().parse::<i64>().ok()? * 1024)
}

fn open_files() -> Option<i64> {
    // Reading the directory opens one more.
    let entries = i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()?;
    Some(entries - 1)
}
