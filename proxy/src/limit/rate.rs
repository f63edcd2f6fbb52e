//! Whether one more request of a key is within its rate: the generic cell rate algorithm (ITU-T I.371), which needs one
//! number for each key: when the key will owe nothing any more.
//!
//! Exact for any number of threads: the number moves by compare-and-swap. Keys are remembered in a [`Table`] of bounded size.

use super::table::Table;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::{Duration, Instant};
use weft_model::limits::{RateKey, RateLimit};

/// Sets of the table of a limit with many keys: room for 16,384 of them in 256 KiB.
const SETS: usize = 2048;

#[derive(Debug)]
pub struct Rate {
    /// What one request owes, in nanoseconds.
    interval: u64,
    /// What a key may owe before a request.
    tolerance: u64,
    started: Instant,
    table: Table,
}

/// How a key stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// More requests that could come at once.
    pub remaining: u64,
    /// Until the whole burst could come again.
    pub reset: Duration,
    /// Refused: the next can come after this time.
    pub wait: Option<Duration>,
}

impl Rate {
    pub fn new(limit: &RateLimit, started: Instant, seed: u64) -> Self {
        let interval = nanos(limit.per) / u64::from(limit.requests.get());
        let sets = if limit.key == RateKey::Service { 1 } else { SETS };
        let tolerance = interval.saturating_mul(u64::from(limit.burst.get()) - 1);
        Self { interval, tolerance, started, table: Table::new(sets, seed) }
    }

    /// How many requests of `key` could come at once.
    pub fn left(&self, key: u64, now: Instant) -> u64 {
        let owed = self.table.due(key).load(Relaxed).saturating_sub(nanos(now.saturating_duration_since(self.started)));
        self.tolerance.saturating_add(self.interval).saturating_sub(owed) / self.interval
    }

    /// Takes one request of `key`, if there is room for it.
    pub fn take(&self, key: u64, now: Instant) -> Standing {
        let now = nanos(now.saturating_duration_since(self.started));
        let due = self.table.due(key);
        let taken = due.fetch_update(Release, Relaxed, |due| {
            let owed = due.saturating_sub(now);
            (owed <= self.tolerance).then(|| due.max(now).saturating_add(self.interval))
        });
        match taken {
            Ok(before) => {
                let owed = before.saturating_sub(now).saturating_add(self.interval);
                let left = (self.tolerance.saturating_add(self.interval)).saturating_sub(owed);
                Standing { remaining: left / self.interval, reset: Duration::from_nanos(owed), wait: None }
            }
            Err(due) => {
                let owed = due.saturating_sub(now);
                let wait = Duration::from_nanos(owed.saturating_sub(self.tolerance));
                Standing { remaining: 0, reset: Duration::from_nanos(owed), wait: Some(wait) }
            }
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "rate_tests.rs"]
mod tests;
