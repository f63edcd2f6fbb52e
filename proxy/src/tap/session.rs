//! One watcher: its queue, which workers fill without waiting, and the task that empties it towards discovery.
//!
//! A queue that is full loses what comes, and counts it. The task ends with the watcher's time, telling what is missing, or silently
//! with the stream on which the watcher came.

use super::rate::Rate;
use super::wanted::Wanted;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};
use weft_proto::v1;
use weft_proto::v1::subscribe_request::Body as Said;

/// Requests that may wait to be told.
const QUEUE: usize = 512;
/// Requests in one message: with their longest texts and fields, 2 MiB.
const TOGETHER: usize = 128;
/// What comes within this time is told together.
const GATHER: Duration = Duration::from_millis(50);
/// How often it is told that requests are missing while none comes through.
const MISSING: Duration = Duration::from_secs(1);
/// Requests a second unless the watcher says how many, and at most.
const RATE: u32 = 100;
const MOST_RATE: u32 = 1000;
/// How long a watcher stays that does not say, and at most.
const TIME: Duration = Duration::from_secs(3600);
const MOST_TIME: Duration = Duration::from_secs(24 * 3600);

/// What a watcher wants, and has not been told yet.
pub(super) struct Session {
    pub(super) wanted: Wanted,
    begun: Instant,
    time: Duration,
    rate: Rate,
    events: mpsc::Sender<v1::TapEvent>,
    dropped: AtomicU64,
}

impl Session {
    pub(super) fn new(tap: v1::Tap) -> (Self, mpsc::Receiver<v1::TapEvent>) {
        let (events, queued) = mpsc::channel(QUEUE);
        let most = if tap.per_second == 0 { RATE } else { tap.per_second.min(MOST_RATE) };
        let time = if tap.seconds == 0 { TIME } else { Duration::from_secs(tap.seconds).min(MOST_TIME) };
        let (wanted, begun) = (Wanted::read(&tap), Instant::now());
        (Self { wanted, begun, time, rate: Rate::new(most), events, dropped: AtomicU64::new(0) }, queued)
    }

    /// Whether the watcher will be told. The event is only made if there is room for it.
    pub(super) fn offer(&self, now: Instant, event: impl Fn(bool) -> v1::TapEvent) -> bool {
        let told = self.rate.take(now.saturating_duration_since(self.begun))
            && self.events.try_reserve().map(|room| room.send(event(self.wanted.headers))).is_ok();
        self.dropped.fetch_add(u64::from(!told), Relaxed);
        told
    }
}

/// Tells the watcher number `id` by way of `to`; `place` is its place among the watchers.
pub(super) async fn tell(
    id: u64,
    session: Arc<Session>,
    place: impl Send,
    mut events: mpsc::Receiver<v1::TapEvent>,
    to: mpsc::Sender<Said>,
) {
    let said = async |events, ended: &str| {
        let tapped = v1::Tapped { id, events, dropped: session.dropped.swap(0, Relaxed), ended: ended.to_owned() };
        let news = !tapped.events.is_empty() || tapped.dropped > 0 || !tapped.ended.is_empty();
        !news || to.send(Said::Tapped(tapped)).await.is_ok()
    };
    let over = sleep_until((session.begun + session.time).into());
    tokio::pin!(over);
    let mut missing = interval(MISSING);
    missing.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            () = to.closed() => return,
            () = &mut over => break,
            _ = events.recv_many(&mut batch, TOGETHER) => {
                sleep(GATHER).await;
                fill(&mut batch, &mut events);
            }
            _ = missing.tick() => {}
        }
        if !said(batch, "").await {
            return;
        }
    }
    drop(place);
    events.close();
    loop {
        let mut batch = Vec::new();
        fill(&mut batch, &mut events);
        let ended = if batch.is_empty() { "its time is over" } else { "" };
        if !said(batch, ended).await || !ended.is_empty() {
            return;
        }
    }
}

/// What is there already.
fn fill(batch: &mut Vec<v1::TapEvent>, events: &mut mpsc::Receiver<v1::TapEvent>) {
    while batch.len() < TOGETHER
        && let Ok(event) = events.try_recv()
    {
        batch.push(event);
    }
}
