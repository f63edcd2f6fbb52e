//! HTTP/2 as fast as it goes: `h2load` in the client's pod, and what it counted.
//!
//! Speaks HTTP/2 with prior knowledge, as gRPC does. Fails when a single request did, or was answered by anything but 2xx.

use anyhow::{Context, ensure};
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;
use weft_examples::pods::{Pod, Program};

/// What every request is like.
#[derive(Debug, Clone, Copy)]
pub struct Requests {
    pub connections: u32,
    /// Requests at the same time on each connection.
    pub streams: u32,
    /// Bytes in a request's body.
    pub body: usize,
}

/// What one run came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loaded {
    pub requests: u64,
    pub per_second: f64,
}

/// Loads `target` from inside `client` for `duration`, which `h2load` takes in whole seconds.
pub fn run(client: &Pod, target: SocketAddr, requests: &Requests, duration: Duration) -> anyhow::Result<Loaded> {
    let body = client.dir().join("h2load.body");
    fs::write(&body, vec![b'x'; requests.body]).with_context(|| format!("write {}", body.display()))?;
    let h2load = Program::new("h2load")
        .args(["-t", "1", "-c", &requests.connections.to_string(), "-m", &requests.streams.to_string()])
        .args(["-D", &duration.as_secs().max(1).to_string(), "-d"])
        .arg(&body)
        .arg(format!("http://{target}/"));
    let said = client.run_ok(h2load)?;
    parse(&said).with_context(|| format!("h2load said:\n{said}"))
}

fn parse(said: &str) -> anyhow::Result<Loaded> {
    let finished = number(said, "finished in", " req/s")?;
    let count = |line: &str, what: &str| anyhow::Ok(number(said, line, what)? as u64);
    let requests = count("requests:", " succeeded")?;
    let lost = count("requests:", " failed")? + count("requests:", " errored")? + count("requests:", " timeout")?;
    let good = count("status codes:", " 2xx")?;
    ensure!(requests > 0 && lost == 0 && good >= requests, "{lost} of {requests} requests failed, {good} were 2xx");
    Ok(Loaded { requests, per_second: finished })
}

/// The number before `unit` in the line that starts with `line`.
fn number(said: &str, line: &str, unit: &str) -> anyhow::Result<f64> {
    let found = said.lines().find_map(|text| text.strip_prefix(line)).and_then(|text| {
        let (before, _) = text.split_once(unit)?;
        before.rsplit([' ', ',']).next()?.parse().ok()
    });
    found.with_context(|| format!("no {unit:?} in the line {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "Warm-up phase is over for thread #0.\n\nfinished in 2.01s, 12345.50 req/s, 3.09MB/s\n\
        requests: 24691 total, 24947 started, 24691 done, 24691 succeeded, 0 failed, 0 errored, 0 timeout\n\
        status codes: 24691 2xx, 0 3xx, 0 4xx, 0 5xx\n";

    #[test]
    fn figures_are_read_and_failures_refused() {
        assert_eq!(parse(SAID).unwrap(), Loaded { requests: 24691, per_second: 12345.5 });
        assert!(parse(&SAID.replace(" 0 errored", " 3 errored")).is_err());
        assert!(parse(&SAID.replace("24691 2xx", "24690 2xx")).is_err());
        assert!(parse("unable to connect").is_err());
    }
}
