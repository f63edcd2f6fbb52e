//! What a pod pays for having a proxy at all: memory without load, per connection and per known service, size, and time to come up.
//!
//! A new pair each time, because memory once taken may stay. "Idle" is a while after the one request that showed that the pair works.
//! The start is that of the client's proxy with its state on disk, as after a crash, until its first answer.

use super::kind::Scenario;
use crate::contender::{Contender, KNOWN_SERVICES};
use crate::figure::{
    BINARY, Figures, PER_CONNECTION, PER_SERVICE, PSS_IDLE, RSS_1000, RSS_10000, RSS_IDLE, RSS_KNOWN, START,
};
use crate::load::idle::Idle;
use crate::memory::{binary, resident};
use crate::traffic::Traffic;
use anyhow::{Context, bail};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};
use weft_examples::mesh::fetch;

const FEW: usize = 1_000;
const MANY: usize = 10_000;
/// How long nobody asks for anything before a proxy counts as idle.
const REST: Duration = Duration::from_secs(12);
/// How many starts the median is taken of.
const STARTS: usize = 3;
/// How long a start may take.
const LIMIT: Duration = Duration::from_secs(20);
/// Between two attempts to be answered.
const BETWEEN: Duration = Duration::from_micros(500);

pub fn scenario() -> Scenario {
    Scenario {
        name: "memory",
        about: "idle, 1,000 and 10,000 idle connections, 1,000 known services x 10 endpoints; size; start",
        traffic: Traffic::Http1,
        fresh: true,
        variants: &[],
        over_direct: &[],
        measure: |contender, target, _| measure(contender, target),
    }
}

fn measure(contender: &mut dyn Contender, target: SocketAddr) -> anyhow::Result<Figures> {
    let pids = contender.proxies();
    let outbound = *pids.first().context("nobody to measure")?;
    thread::sleep(REST);
    let idle = pids.iter().map(|pid| resident(*pid)).collect::<anyhow::Result<Vec<_>>>()?;
    let mean = |kib: u64| kib as f64 / 1024.0 / idle.len() as f64;
    let mut figures = Figures::default()
        .with(RSS_IDLE, mean(idle.iter().map(|one| one.rss).sum()))
        .with(PSS_IDLE, mean(idle.iter().map(|one| one.pss).sum()));
    let before = idle[0].rss;
    let mut open = Idle::new(contender.client(), target);
    for (count, figure) in [(FEW, RSS_1000), (MANY, RSS_10000)] {
        open.grow(count)?;
        let rss = resident(outbound)?.rss;
        figures.add(figure, rss as f64 / 1024.0);
        if count == MANY {
            figures.add(PER_CONNECTION, rss.saturating_sub(before) as f64 / count as f64);
        }
    }
    open.still_open()?;
    drop(open);
    figures.add(BINARY, binary(outbound)? as f64 / f64::from(1 << 20));
    let mut starts = (0..STARTS).map(|_| start(contender, target)).collect::<anyhow::Result<Vec<_>>>()?;
    starts.sort_unstable();
    figures.add(START, starts[STARTS / 2].as_secs_f64() * 1e3);
    known(contender, figures)
}

/// The client's proxy has just been started again: what more it takes when it knows many services.
fn known(contender: &mut dyn Contender, figures: Figures) -> anyhow::Result<Figures> {
    let outbound = |contender: &dyn Contender| contender.proxies().first().copied().context("nobody to measure");
    let before = resident(outbound(contender)?)?.rss;
    if !contender.know()? {
        return Ok(figures);
    }
    let rss = resident(outbound(contender)?)?.rss;
    let per_service = rss.saturating_sub(before) as f64 / KNOWN_SERVICES as f64;
    Ok(figures.with(RSS_KNOWN, rss as f64 / 1024.0).with(PER_SERVICE, per_service))
}

/// From the start of the client's proxy to the first answer through it.
fn start(contender: &mut dyn Contender, target: SocketAddr) -> anyhow::Result<Duration> {
    let begin = contender.restart()?;
    let request = format!("GET / HTTP/1.1\r\nhost: {target}\r\nconnection: close\r\n\r\n");
    loop {
        let reply = fetch(contender.client(), target, &request);
        let took = begin.elapsed();
        if reply.as_ref().is_ok_and(|reply| reply.status == 200) {
            return Ok(took);
        }
        if Instant::now() > begin + LIMIT {
            bail!("{} still says {reply:?} {LIMIT:?} after its start", contender.name());
        }
        thread::sleep(BETWEEN);
    }
}
