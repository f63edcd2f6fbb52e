//! A bounded queue to the collector that the request path never waits for, and what empties it on the control runtime.
//!
//! A collector that is slow or gone costs what the queue holds, and a counter. The SDK's own batch processors are not used: they
//! need a thread of their own, and do not tell how much they have dropped.

use super::collector::{Collector, Resource};
use super::signal::Signal;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// How many may wait, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Items that may wait.
    pub queue: usize,
    /// Items of one export.
    pub batch: usize,
    /// How long an item waits for others.
    pub delay: Duration,
    /// How long one export may take.
    pub timeout: Duration,
}

/// Steps into which the wait for a full batch is cut.
const STEPS: u32 = 10;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Dropped {
    reason: &'static str,
}

/// What becomes of the items of one signal.
#[derive(Debug, Clone)]
pub(crate) struct Counts {
    pub exported: Counter,
    pub dropped: Family<Dropped, Counter>,
    /// One of `dropped`, at hand for the request path.
    full: Counter,
}

/// Takes what is to be exported. Cheap to clone.
#[derive(Debug)]
pub struct Queue<T> {
    queue: Sender<T>,
    counts: Counts,
}

/// Sends on what a queue has, as requests `R`.
pub struct Export<T, R> {
    queue: Receiver<T>,
    collector: Collector,
    request: fn(Vec<T>, Resource) -> R,
    what: &'static str,
    limits: Limits,
    counts: Counts,
    /// The last export failed: said once, not each time.
    failing: bool,
}

impl Default for Counts {
    fn default() -> Self {
        let dropped = Family::<Dropped, Counter>::default();
        let full = dropped.get_or_create_owned(&Dropped { reason: "queue-full" });
        let counts = Self { exported: Counter::default(), dropped, full };
        // There from the start, so that a rate can be taken of the first one.
        counts.failed();
        counts
    }
}

impl Counts {
    fn failed(&self) -> Counter {
        self.dropped.get_or_create_owned(&Dropped { reason: "export-failed" })
    }
}

/// Both ends; `what` is what the items are called in logs.
pub(crate) fn channel<T, R>(
    (collector, limits): (Collector, Limits),
    what: &'static str,
    request: fn(Vec<T>, Resource) -> R,
    counts: Counts,
) -> (Queue<T>, Export<T, R>) {
    let (sender, queue) = mpsc::channel(limits.queue.max(1));
    let ours = Queue { queue: sender, counts: counts.clone() };
    (ours, Export { queue, collector, request, what, limits, counts, failing: false })
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), counts: self.counts.clone() }
    }
}

impl<T> Queue<T> {
    /// Hands an item over, unless too many wait already. Never waits.
    pub fn send(&self, item: T) {
        match self.queue.try_send(item) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
                self.counts.full.inc();
            }
        }
    }
}

#[allow(private_bounds)]
impl<T, R: Signal> Export<T, R> {
    /// Exports until `ended`, then what is left, once.
    pub async fn run(mut self, ended: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                first = self.queue.recv() => match first {
                    Some(first) => batch.push(first),
                    None => return,
                },
                () = ended.cancelled() => return,
            }
            self.gather(&ended).await;
            while batch.len() < self.limits.batch
                && let Ok(next) = self.queue.try_recv()
            {
                batch.push(next);
            }
            self.export(std::mem::take(&mut batch)).await;
        }
    }

    /// Waits until a batch is full or its time has come; in steps, so that the request path wakes nobody up.
    async fn gather(&self, ended: &CancellationToken) {
        let due = Instant::now() + self.limits.delay;
        let step = self.limits.delay / STEPS;
        while self.queue.len() + 1 < self.limits.batch && Instant::now() < due && !ended.is_cancelled() {
            let next = due.min(Instant::now() + step);
            tokio::select! {
                () = sleep_until(next) => {}
                () = ended.cancelled() => {}
            }
        }
    }

    async fn export(&mut self, batch: Vec<T>) {
        let items = batch.len() as u64;
        let request = (self.request)(batch, self.collector.resource());
        match self.collector.export(request, self.limits.timeout).await {
            Ok(rejected) => {
                let rejected = rejected.min(items);
                self.counts.exported.inc_by(items - rejected);
                self.counts.failed().inc_by(rejected);
                self.failing = false;
            }
            Err(error) => {
                self.counts.failed().inc_by(items);
                if !std::mem::replace(&mut self.failing, true) {
                    let (collector, what) = (self.collector.endpoint(), self.what);
                    tracing::warn!(collector, error, "{what} could not be exported; traffic goes on without");
                }
            }
        }
    }
}
