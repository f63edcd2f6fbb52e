//! The crowd in the shop, and what it has met with so far.
//!
//! `weft-shop customers` runs in a pod of its own and writes a line of JSON per second; this reads them back. A window of
//! time is a range of those lines. Fails when the crowd has left unexpectedly.

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use weft_examples::mesh::{Member, binary};
use weft_examples::pods::{Process, Program, poll_until};

/// How long after a second is over its line may take.
const PATIENCE: Duration = Duration::from_secs(6);

pub struct Customers {
    process: Process,
}

/// The sum of some seconds.
#[derive(Debug, Default, Clone)]
pub struct Window {
    pub seconds: u64,
    pub requests: u64,
    pub failed: u64,
    pub carts: u64,
    pub moved: u64,
    pub by_replica: BTreeMap<String, u64>,
}

impl Customers {
    /// Lets them in.
    pub fn start(member: &Member, rate: u32, duration: Duration) -> anyhow::Result<Self> {
        let program = Program::new(binary("weft-shop")?).label("customers").arg("customers");
        let program = program.args(["--rate", &rate.to_string(), "--duration", &format!("{}s", duration.as_secs())]);
        Ok(Self { process: member.pod().spawn(program)? })
    }

    /// How many seconds they have told of.
    pub fn now(&self) -> usize {
        self.lines().len()
    }

    /// Waits until `seconds` more have passed since `mark`, and sums them up.
    pub fn window(&self, mark: usize, seconds: usize) -> anyhow::Result<Window> {
        let limit = Duration::from_secs(seconds as u64) + PATIENCE;
        let enough = || (self.now() >= mark + seconds || !self.process.is_running()).then_some(());
        poll_until(Instant::now() + limit, "the customers' figures", enough)?;
        let lines = self.lines();
        ensure!(lines.len() >= mark + seconds, "the customers have left: {}", self.process.log_tail(3));
        Ok(sum(&lines[mark..mark + seconds]))
    }

    /// All seconds so far.
    pub fn so_far(&self) -> Window {
        sum(&self.lines())
    }

    /// Sends them home and returns their own summary.
    pub fn leave(&self) -> anyhow::Result<Value> {
        self.process.terminate();
        if self.process.wait_exit(Duration::from_secs(15)).is_none() {
            bail!("the customers do not leave");
        }
        let log = self.process.log();
        let mut summary = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        summary.rfind(|line| line["summary"] == true).context("the customers left without a word")
    }

    fn lines(&self) -> Vec<Value> {
        let log = self.process.log();
        // The last line may not be whole yet, and log lines for people are no JSON at all.
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["second"].is_u64()).collect()
    }
}

impl Window {
    /// The replicas of `service` and how many requests each served.
    pub fn replicas(&self, service: &str) -> Vec<(String, u64)> {
        let of = |name: &str| name.strip_prefix(service).is_some_and(|rest| rest.starts_with('-'));
        self.by_replica.iter().filter(|(name, _)| of(name)).map(|(name, count)| (name.clone(), *count)).collect()
    }
}

fn sum(lines: &[Value]) -> Window {
    let mut window = Window::default();
    for line in lines {
        let number = |name: &str| line[name].as_u64().unwrap_or_default();
        window.seconds += 1;
        window.requests += number("requests");
        window.failed += number("failed");
        window.carts += number("carts");
        window.moved += number("moved");
        for (name, count) in line["by_replica"].as_object().into_iter().flatten() {
            *window.by_replica.entry(name.clone()).or_default() += count.as_u64().unwrap_or_default();
        }
    }
    window
}
