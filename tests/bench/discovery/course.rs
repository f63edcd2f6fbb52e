//! The course of one measurement: an empty audience, everybody at once, quiet, changes.
//!
//! What a change costs is what the window with changes cost more than the quiet one before it. Every change has to reach every
//! subscriber, or the run fails.

use super::plane::Plane;
use super::shape::Shape;
use crate::cpu;
use crate::figure::{
    BYTES_PER_CHANGE, CHANGE_P50, CHANGE_P99, COLD_CPU, COLD_P99, COLD_START, CORES, CPU_PER_CHANGE, Figures,
    RSS_ALONE, RSS_PEAK, RSS_SUBSCRIBED, STORE_CORES,
};
use crate::latency::Latencies;
use crate::memory::{peak, resident};
use anyhow::Context;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};
use weft_tests::fleet::{Arrivals, Fleet, Membership, Wire, Writer};

/// How long all proxies may take to start, and the last change to arrive.
const LIMIT: Duration = Duration::from_secs(120);
/// Between two looks at whether everybody has heard.
const LOOK: Duration = Duration::from_millis(10);
const MIB: f64 = 1024.0;

/// Measures `plane`.
pub fn run(plane: &Plane, shape: &Shape) -> anyhow::Result<Figures> {
    let figures = plane.within(async || course(plane, shape).await)?;
    for (figure, value) in figures.iter() {
        eprintln!("    {}: {value:.2}", figure.about);
    }
    Ok(figures)
}

async fn course(plane: &Plane, shape: &Shape) -> anyhow::Result<Figures> {
    let pid = plane.pid()?;
    let rss = || anyhow::Ok(resident(pid)?.rss as f64 / MIB);
    let membership = Membership::obtain(plane.replica()).await?;
    let writer = Writer::start(&membership, shape.subscribed).await?;
    let alone = rss()?;
    let (arrivals, wire) = (Arc::new(Arrivals::new(shape.changes(), shape.listeners())), Arc::new(Wire::default()));
    let before = cpu::spent(&[pid])?;
    let mut fleet = Fleet::start(&membership, shape.subscriptions(), &arrivals, &wire, LIMIT).await?;
    let cold = cpu::spent(&[pid])?.saturating_sub(before);
    let subscribed = rss()?;
    let idle = Window::open(plane, &wire)?;
    fleet.until(sleep(shape.idle)).await?;
    let idle = idle.close(plane, &wire)?;
    let busy = Window::open(plane, &wire)?;
    fleet.until(sleep(Duration::ZERO)).await?;
    let changes = change(&writer, &arrivals, shape.rate);
    let mut failed = None;
    fleet.until(async { failed = changes.await.err() }).await?;
    if let Some(error) = failed {
        return Err(error);
    }
    let busy = busy.close(plane, &wire)?;
    let changes = shape.changes() as f64;
    let latencies = Latencies::of(arrivals.latencies())?;
    let started = Latencies::of(fleet.started)?;
    let over_idle = |of: fn(&Spent) -> f64| (of(&busy) - of(&idle) * busy.seconds / idle.seconds).max(0.0);
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let store = (!plane.store_pids().is_empty()).then(|| busy.store / busy.seconds);
    Ok(Figures::default()
        .with(CHANGE_P50, millis(latencies.percentile(0.5)))
        .with(CHANGE_P99, millis(latencies.percentile(0.99)))
        .with(CPU_PER_CHANGE, over_idle(|spent| spent.cpu) * 1e6 / changes)
        .with(CORES, busy.cpu / busy.seconds)
        .with(STORE_CORES, store)
        .with(BYTES_PER_CHANGE, over_idle(|spent| spent.bytes) / changes / f64::from(shape.listeners()))
        .with(COLD_START, millis(fleet.took))
        .with(COLD_P99, millis(started.percentile(0.99)))
        .with(COLD_CPU, cold.as_secs_f64() * 1e3 / shape.proxies as f64)
        .with(RSS_ALONE, alone)
        .with(RSS_SUBSCRIBED, subscribed)
        .with(RSS_PEAK, peak(pid)? as f64 / MIB))
}

/// Makes all changes and waits until everybody has heard of them.
async fn change(writer: &Writer, arrivals: &Arc<Arrivals>, rate: u32) -> anyhow::Result<()> {
    writer.change(arrivals, rate).await?;
    let all = async {
        while !arrivals.complete() {
            sleep(LOOK).await;
        }
    };
    let heard = || {
        let (complete, of) = arrivals.progress();
        format!("{complete} of {of} changes reached everybody within {LIMIT:?}")
    };
    timeout(LIMIT, all).await.with_context(heard)
}

/// A stretch of time, and what had been spent when it began.
struct Window {
    since: Instant,
    cpu: Duration,
    store: Duration,
    bytes: u64,
}

/// What was spent in it: seconds of CPU, and bytes from discovery to the proxies.
struct Spent {
    seconds: f64,
    cpu: f64,
    store: f64,
    bytes: f64,
}

impl Window {
    fn open(plane: &Plane, wire: &Wire) -> anyhow::Result<Self> {
        let (cpu, store) = (cpu::spent(&[plane.pid()?])?, cpu::spent(&plane.store_pids())?);
        Ok(Self { since: Instant::now(), cpu, store, bytes: wire.received() })
    }

    fn close(self, plane: &Plane, wire: &Wire) -> anyhow::Result<Spent> {
        let now = Self::open(plane, wire)?;
        Ok(Spent {
            seconds: now.since.duration_since(self.since).as_secs_f64(),
            cpu: now.cpu.saturating_sub(self.cpu).as_secs_f64(),
            store: now.store.saturating_sub(self.store).as_secs_f64(),
            bytes: now.bytes.saturating_sub(self.bytes) as f64,
        })
    }
}
