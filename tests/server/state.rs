//! What the test server's protocols share: its name, its delay and its memory of what it was asked.
//!
//! Counters are per key, chosen by the test, so that tests which share a server do not disturb each other.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

pub struct State {
    pub name: String,
    pub delay: Duration,
    pub refuse: Option<u16>,
    /// Taken for as long as a request is worked on.
    pub slots: Semaphore,
    counts: Mutex<HashMap<String, u32>>,
}

impl State {
    pub fn new(name: String, delay: Duration, refuse: Option<u16>, slots: usize) -> Self {
        Self { name, delay, refuse, slots: Semaphore::new(slots), counts: Mutex::default() }
    }

    /// Counts one more of `key` and says how many that makes.
    pub fn count(&self, key: &str) -> u32 {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key.to_owned()).or_default();
        *count += 1;
        *count
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
