//! When each change was made, how many of its subscribers have heard of it, and when the last of them did.
//!
//! A change is known by its number, which travels as the weight of the endpoint that it changes. Shared by a fleet; no lock.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Numbered from 0.
pub struct Arrivals {
    begin: Instant,
    /// How many subscribers each change has.
    listeners: u32,
    changes: Vec<Change>,
}

#[derive(Default)]
struct Change {
    /// Microseconds since the beginning.
    made: AtomicU64,
    heard: AtomicU32,
    /// Microseconds since the beginning, of who heard last.
    last: AtomicU64,
}

const LEAVING: &str = "leaving-";
/// Endpoints that nobody has changed yet weigh this much.
pub const UNCHANGED: u32 = 1;

impl Arrivals {
    /// Room for so many changes, each of which so many proxies are to hear of.
    pub fn new(changes: usize, listeners: u32) -> Self {
        let changes = std::iter::repeat_with(Change::default).take(changes).collect();
        Self { begin: Instant::now(), listeners, changes }
    }

    /// The weight that change number `n` sets.
    pub fn weight(n: usize) -> u32 {
        n as u32 + UNCHANGED + 1
    }

    /// Change number `n` is being made now.
    pub fn made(&self, n: usize) {
        self.changes[n].made.store(self.now(), Ordering::Relaxed);
    }

    /// A proxy heard of an endpoint with this weight.
    pub fn heard(&self, weight: u32) {
        let number = (weight as usize).checked_sub(UNCHANGED as usize + 1);
        if let Some(change) = number.and_then(|number| self.changes.get(number)) {
            change.last.fetch_max(self.now(), Ordering::Relaxed);
            change.heard.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A proxy heard that the endpoint [`leaving`](Self::leaving) change number `n` is gone.
    pub fn gone(&self, id: &str) {
        let number = id.strip_prefix(LEAVING).and_then(|number| number.parse().ok());
        if let Some(number) = number.and_then(|number: usize| u32::try_from(number).ok()) {
            self.heard(number.saturating_add(UNCHANGED + 1));
        }
    }

    /// What the endpoint is called whose end is change number `n`.
    pub fn leaving(n: usize) -> String {
        format!("{LEAVING}{n}")
    }

    /// Whether everybody has heard of change number `n`.
    pub fn reached_all(&self, n: usize) -> bool {
        self.changes[n].heard.load(Ordering::Relaxed) >= self.listeners
    }

    /// Whether everybody has heard of everything.
    pub fn complete(&self) -> bool {
        self.changes.iter().all(|change| change.heard.load(Ordering::Relaxed) >= self.listeners)
    }

    /// Of each change, from when it was about to be made until the last subscriber had heard of it. Meaningful when
    /// [`complete`](Self::complete).
    pub fn latencies(&self) -> Vec<Duration> {
        let latency = |change: &Change| {
            let (made, last) = (change.made.load(Ordering::Relaxed), change.last.load(Ordering::Relaxed));
            Duration::from_micros(last.saturating_sub(made))
        };
        self.changes.iter().map(latency).collect()
    }

    /// For messages: how many changes everybody has heard of, and of how many.
    pub fn progress(&self) -> (usize, usize) {
        let complete = |change: &&Change| change.heard.load(Ordering::Relaxed) >= self.listeners;
        (self.changes.iter().filter(complete).count(), self.changes.len())
    }

    fn now(&self) -> u64 {
        self.begin.elapsed().as_micros() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_has_arrived_when_its_last_listener_has_heard() {
        let arrivals = Arrivals::new(2, 2);
        arrivals.made(0);
        arrivals.made(1);
        for weight in [UNCHANGED, Arrivals::weight(0), Arrivals::weight(0), Arrivals::weight(1), Arrivals::weight(7)] {
            arrivals.heard(weight);
        }
        assert_eq!((arrivals.complete(), arrivals.progress()), (false, (1, 2)));
        arrivals.heard(Arrivals::weight(1));
        assert!(arrivals.complete());
        assert_eq!(arrivals.latencies().len(), 2);
        let leaving = Arrivals::new(1, 2);
        for id in [Arrivals::leaving(0).as_str(), "leaving-x", "leaving-4294967295", "other-0"] {
            leaving.gone(id);
        }
        assert!(!leaving.reached_all(0));
        leaving.gone("leaving-0");
        assert!(leaving.reached_all(0));
    }
}
