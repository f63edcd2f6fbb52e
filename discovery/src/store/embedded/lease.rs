//! When the embedded store's leases run out.
//!
//! Held in memory by the writer; renewing costs no disk access. Time comes from a [`Clock`], so that tests can move it.
//! Invariant: a lease that is due is never renewed.

use crate::store::LeaseId;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Tells the time for leases.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Instant;
}

/// The machine's monotonic clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }
}

pub(super) struct Leases {
    clock: Arc<dyn Clock>,
    /// Time to live, and when that is over.
    by_id: HashMap<LeaseId, (Duration, Instant)>,
    by_end: BTreeSet<(Instant, LeaseId)>,
}

impl Leases {
    /// Every lease begins anew: while the store was down nobody could renew it.
    pub(super) fn new(clock: Arc<dyn Clock>, leases: Vec<(LeaseId, Duration)>) -> Self {
        let mut all = Self { clock, by_id: HashMap::new(), by_end: BTreeSet::new() };
        for (lease, ttl) in leases {
            all.begin(lease, ttl);
        }
        all
    }

    pub(super) fn begin(&mut self, lease: LeaseId, ttl: Duration) {
        self.end(lease);
        let end = self.clock.now() + ttl;
        self.by_id.insert(lease, (ttl, end));
        self.by_end.insert((end, lease));
    }

    /// `false`: it does not exist or has run out.
    pub(super) fn renew(&mut self, lease: LeaseId) -> bool {
        match self.by_id.get(&lease) {
            Some((ttl, end)) if *end > self.clock.now() => {
                let ttl = *ttl;
                self.begin(lease, ttl);
                true
            }
            _ => false,
        }
    }

    pub(super) fn end(&mut self, lease: LeaseId) {
        if let Some((_, end)) = self.by_id.remove(&lease) {
            self.by_end.remove(&(end, lease));
        }
    }

    /// Leases that have run out and were not yet ended.
    pub(super) fn due(&self) -> Vec<LeaseId> {
        let now = self.clock.now();
        self.by_end.iter().take_while(|(end, _)| *end <= now).map(|(_, lease)| *lease).collect()
    }

    /// How long until the next one runs out.
    pub(super) fn next(&self) -> Option<Duration> {
        self.by_end.first().map(|(end, _)| end.saturating_duration_since(self.clock.now()))
    }
}
