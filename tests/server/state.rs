//! What the test server's protocols share: its name, its delay and its memory of what it was asked.
//!
//! Counters are per key, chosen by the test, so that tests which share a server do not disturb each other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

pub struct State {
    pub name: String,
    pub delay: Duration,
    /// Taken for as long as a request is worked on.
    pub slots: Semaphore,
    pub report: Option<String>,
    /// What health checks over HTTP are answered with; 0: nothing.
    health: AtomicU16,
    /// The same for gRPC.
    reporter: HealthReporter,
    counts: Mutex<HashMap<String, u32>>,
    mood: watch::Sender<Mood>,
}

/// What becomes of HTTP/1.1 requests while a test wants it so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Well,
    /// Every request gets this status.
    Answers(u16),
    /// No request is answered.
    Hangs,
    /// Requests are worked on once the mood is another one.
    Waits,
    /// Every request is answered with a reset.
    Resets,
}

impl State {
    pub fn new(
        name: String,
        delay: Duration,
        refuse: Option<u16>,
        slots: usize,
        report: Option<String>,
        reporter: HealthReporter,
    ) -> Self {
        let mood = refuse.map_or(Mood::Well, Mood::Answers);
        Self {
            name,
            delay,
            mood: watch::Sender::new(mood),
            slots: Semaphore::new(slots),
            report,
            health: AtomicU16::new(200),
            reporter,
            counts: Mutex::default(),
        }
    }

    /// Health checks are answered with this status from now on; 0: not at all.
    pub async fn set_health(&self, status: u16) {
        self.health.store(status, Ordering::Relaxed);
        let serving = if status == 200 { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.reporter.set_service_status("", serving).await;
    }

    /// The status for a health check, once there is one.
    pub async fn health(&self) -> u16 {
        match self.health.load(Ordering::Relaxed) {
            0 => std::future::pending().await,
            status => status,
        }
    }

    /// Counts one more of `key` and says how many that makes.
    pub fn count(&self, key: &str) -> u32 {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key.to_owned()).or_default();
        *count += 1;
        *count
    }

    pub fn mood(&self) -> Mood {
        *self.mood.borrow()
    }

    /// Comes back once the mood is not to wait.
    pub async fn patience(&self) {
        // An error would mean that this state is gone.
        let _ = self.mood.subscribe().wait_for(|mood| *mood != Mood::Waits).await;
    }

    /// Takes the mood called `name`: a status, `hangs`, `waits`, `resets` or `well`.
    pub fn become_like(&self, name: &str) {
        let mood = match (name, name.parse()) {
            ("hangs", _) => Mood::Hangs,
            ("waits", _) => Mood::Waits,
            ("resets", _) => Mood::Resets,
            (_, Ok(status)) => Mood::Answers(status),
            _ => Mood::Well,
        };
        self.mood.send_replace(mood);
    }

    /// How many of `key` there were.
    pub fn counted(&self, key: &str) -> u32 {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied().unwrap_or(0)
    }
}

/// `n` bytes that tell a hole or a swap: each position has its own value modulo 251.
pub fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i % 251) as u8).collect()
}
