//! HTTP/1.1 as fast as it goes: `wrk` in the client's pod, and what it counted.
//!
//! Fails when a single request did.

use anyhow::{Context, bail};
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;
use weft_examples::pods::{Pod, Program};

/// What every request is like.
#[derive(Debug, Clone, Copy)]
pub struct Requests {
    /// Open at the same time.
    pub connections: u32,
    /// Bytes in a request's body.
    pub body: usize,
    /// Asks for the end of the connection each time.
    pub close: bool,
}

/// What one run came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loaded {
    pub requests: u64,
    pub elapsed: Duration,
    pub p50: Duration,
    pub p99: Duration,
}

/// Loads `target` from inside `client` for `duration`, which `wrk` takes in whole seconds.
pub fn run(client: &Pod, target: SocketAddr, requests: &Requests, duration: Duration) -> anyhow::Result<Loaded> {
    let script = client.dir().join("wrk.lua");
    fs::write(&script, lua(requests)).with_context(|| format!("write {}", script.display()))?;
    let wrk = Program::new("wrk")
        .args(["-t", "1", "-c", &requests.connections.to_string()])
        .args(["-d", &format!("{}s", duration.as_secs().max(1)), "-s"])
        .arg(&script)
        .arg(format!("http://{target}/"));
    let said = client.run_ok(wrk)?;
    parse(&said).with_context(|| format!("wrk said:\n{said}"))
}

/// One constant request, and at the end the figures on a line of their own, in microseconds.
fn lua(requests: &Requests) -> String {
    let close = if requests.close { "wrk.headers['connection'] = 'close'\n" } else { "" };
    format!(
        "wrk.method = 'POST'\nwrk.body = string.rep('x', {})\n{close}\
         done = function(summary, latency, requests)\n\
         local e = summary.errors\n\
         local failed = e.connect + e.read + e.write + e.status + e.timeout\n\
         print(string.format('measured %d %d %d %d %d', summary.requests, summary.duration, failed,\n\
         latency:percentile(50), latency:percentile(99)))\nend\n",
        requests.body
    )
}

fn parse(said: &str) -> anyhow::Result<Loaded> {
    let line = said.lines().find_map(|line| line.strip_prefix("measured ")).context("no figures")?;
    let figures: Vec<u64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let [requests, elapsed, failed, p50, p99] = figures[..] else { bail!("not five figures: {line}") };
    if failed > 0 || requests == 0 {
        bail!("{failed} of {requests} requests failed");
    }
    let micros = Duration::from_micros;
    Ok(Loaded { requests, elapsed: micros(elapsed), p50: micros(p50), p99: micros(p99) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_and_failures_refused() {
        let loaded = parse("Running 5s test\nmeasured 1000 5000000 0 800 2500\n").unwrap();
        assert_eq!((loaded.requests, loaded.p99), (1000, Duration::from_micros(2500)));
        assert!(parse("measured 1000 5000000 3 800 2500").is_err());
        assert!(parse("unable to connect").is_err());
    }
}
