//! How many requests, or connections, are under way, and whether one more may be.
//!
//! Shared by all workers; entering is an addition. Latencies move an adaptive limit: whoever finds it busy leaves its own
//! out rather than wait.

use super::gradient::Gradient;
use std::cell::Cell;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use weft_model::limits::Concurrency as Limit;

#[derive(Debug)]
pub struct Concurrency {
    under_way: AtomicU32,
    limit: AtomicU32,
    adaptive: Option<Mutex<Gradient>>,
}

/// A place among those under way, until it is dropped. One worker's own.
#[derive(Debug)]
pub struct Place {
    among: Arc<Concurrency>,
    began: Instant,
    /// The latency has been counted.
    answered: Cell<bool>,
}

impl Concurrency {
    pub fn new(limit: Limit, now: Instant) -> Self {
        match limit {
            Limit::Fixed { max } => Self::fixed(max),
            Limit::Adaptive { min, max } => {
                let gradient = Gradient::new(min.get(), max.get(), now);
                Self { adaptive: Some(Mutex::new(gradient)), ..Self::fixed(min) }
            }
        }
    }

    pub fn fixed(max: NonZeroU32) -> Self {
        Self { under_way: AtomicU32::new(0), limit: AtomicU32::new(max.get()), adaptive: None }
    }

    /// A place, if there is one.
    pub fn enter(self: &Arc<Self>, now: Instant) -> Option<Place> {
        if self.under_way.fetch_add(1, Relaxed) >= self.limit.load(Relaxed) {
            self.under_way.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Place { among: Arc::clone(self), began: now, answered: Cell::new(false) })
    }
}

impl Concurrency {
    /// How many there are now.
    pub fn under_way(&self) -> u32 {
        self.under_way.load(Relaxed)
    }

    /// How many there may be now.
    pub fn limit(&self) -> u32 {
        self.limit.load(Relaxed)
    }
}

impl Place {
    /// The first byte of the answer is there: what comes after it says nothing of the application's load.
    pub fn answered(&self, now: Instant) {
        if self.answered.replace(true) {
            return;
        }
        // The lock is held by another worker for about a microsecond; one latency less does no harm.
        if let Some(Ok(mut gradient)) = self.among.adaptive.as_ref().map(Mutex::try_lock) {
            gradient.answered(self.began, now, self.among.under_way.load(Relaxed), fastrand::f64());
            self.among.limit.store(gradient.limit(), Relaxed);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.among.under_way.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let limit = Arc::new(Concurrency::fixed(NonZeroU32::new(2).unwrap()));
        let now = Instant::now();
        let (first, second) = (limit.enter(now), limit.enter(now));
        assert!(first.is_some() && second.is_some());
        assert!(limit.enter(now).is_none() && limit.enter(now).is_none());
        drop(first);
        assert!(limit.enter(now).is_some());
    }
}
