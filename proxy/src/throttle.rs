//! What is not even sent to a service that refuses most of it: adaptive throttling (Google SRE book, chapter 21).
//!
//! Pure. Before the first try of a request. Over the last two minutes, a request is held back with probability
//! max(0, (requests - K * accepts) / (requests + 1)), so that a service in trouble sees about K times what it accepts; but
//! never more than nine in ten. One worker's own.

use std::cell::RefCell;
use std::time::{Duration, Instant};

/// The window, and the parts in which it moves.
const SLOT: Duration = Duration::from_secs(5);
const SLOTS: usize = 24;
/// The greatest probability. By the formula alone, a service that has refused 100 requests a second for two minutes would get
/// one a minute, and need a quarter of an hour to be found well again.
const MOST: f64 = 0.9;

/// What became of the requests of one service. Takes no memory until it is asked.
#[derive(Debug, Default)]
pub struct Throttle(RefCell<Option<Box<Window>>>);

#[derive(Debug)]
struct Window {
    begun: Instant,
    /// Number of the slot in force, counted from `begun`.
    present: u64,
    slots: [Counts; SLOTS],
    sum: Counts,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    requests: u64,
    /// Held back, or refused by the service. What is still under way counts as accepted: clients that leave before the
    /// answer say nothing against the service.
    lost: u64,
}

impl Throttle {
    /// A request comes: whether it may be sent. `chance` is a number in 0..1.
    pub fn admits(&self, k: f64, now: Instant, chance: f64) -> bool {
        let mut window = self.0.borrow_mut();
        let window = window.get_or_insert_with(|| Box::new(Window::new(now)));
        window.advance(now);
        let held_back = chance < probability(window.sum, k).min(MOST);
        window.add(Counts { requests: 1, lost: u64::from(held_back) });
        !held_back
    }

    /// The service has refused a request that was sent.
    pub fn refused(&self, now: Instant) {
        if let Some(window) = self.0.borrow_mut().as_mut() {
            window.advance(now);
            window.add(Counts { requests: 0, lost: 1 });
        }
    }
}

fn probability(counts: Counts, k: f64) -> f64 {
    let requests = counts.requests as f64;
    let accepts = counts.requests.saturating_sub(counts.lost) as f64;
    ((requests - k * accepts) / (requests + 1.0)).max(0.0)
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { begun: now, present: 0, slots: [Counts::default(); SLOTS], sum: Counts::default() }
    }

    /// Forgets what is older than the window.
    fn advance(&mut self, now: Instant) {
        let present = (now.saturating_duration_since(self.begun).as_nanos() / SLOT.as_nanos()) as u64;
        let passed = present.saturating_sub(self.present).min(SLOTS as u64);
        for slot in (0..passed).map(|back| present - back) {
            let old = std::mem::take(&mut self.slots[(slot % SLOTS as u64) as usize]);
            self.sum = Counts { requests: self.sum.requests - old.requests, lost: self.sum.lost - old.lost };
        }
        self.present = self.present.max(present);
    }

    fn add(&mut self, more: Counts) {
        let slot = &mut self.slots[(self.present % SLOTS as u64) as usize];
        for counts in [slot, &mut self.sum] {
            *counts = Counts { requests: counts.requests + more.requests, lost: counts.lost + more.lost };
        }
    }
}

#[cfg(test)]
#[path = "throttle_tests.rs"]
mod tests;
