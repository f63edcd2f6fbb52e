//! What each endpoint counts for: its configured weight, or what it says of itself.
//!
//! Reports are folded in once a second, not for every pick: the weight of an endpoint is then its capacity (gRPC proposal A58),
//! in place of the configured one, which would count the same thing twice. Endpoints that have not said anything lately count by
//! their configured weight, in the proportion of the others. With fewer than two that report, all do.

use std::cell::Cell;
use std::time::{Duration, Instant};
use weft_model::balance::LoadReports;

/// How often reports are folded in.
const PERIOD: Duration = Duration::from_secs(1);
/// What the heaviest endpoint weighs where weights have to be whole numbers.
const WHOLE: f64 = 1000.0;

/// The last report of one endpoint: its capacity, in requests per second.
#[derive(Debug, Default)]
pub struct Reported {
    capacity: Cell<f64>,
    /// The first report without an interruption, and the last one.
    times: Cell<Option<(Instant, Instant)>>,
}

impl Reported {
    /// A report has come.
    pub fn note(&self, capacity: f64, now: Instant, terms: &LoadReports) {
        let first = match self.times.get() {
            Some((first, last)) if now.saturating_duration_since(last) < terms.expiry => first,
            _ => now,
        };
        self.capacity.set(capacity);
        self.times.set(Some((first, now)));
    }

    /// What it counts for at `now`, if it does.
    pub fn capacity(&self, now: Instant, terms: &LoadReports) -> Option<f64> {
        let (first, last) = self.times.get()?;
        let counts = now.saturating_duration_since(first) >= terms.blackout
            && now.saturating_duration_since(last) < terms.expiry;
        counts.then(|| self.capacity.get())
    }
}

/// The weights of some endpoints.
#[derive(Debug)]
pub struct Weights {
    configured: Box<[u32]>,
    /// In force.
    each: Box<[Cell<f64>]>,
    heaviest: Cell<f64>,
    lightest: Cell<f64>,
    terms: Option<LoadReports>,
    folded: Cell<Option<Instant>>,
}

impl Weights {
    /// As configured; with `terms`, until there are reports.
    pub fn new(configured: Box<[u32]>, terms: Option<LoadReports>) -> Self {
        let each = configured.iter().map(|weight| Cell::new(f64::from(*weight))).collect();
        let weights = Self {
            configured,
            each,
            heaviest: Cell::default(),
            lightest: Cell::default(),
            terms,
            folded: Cell::default(),
        };
        weights.measure();
        weights
    }

    pub fn configured(&self) -> &[u32] {
        &self.configured
    }

    pub fn of(&self, place: usize) -> f64 {
        self.each[place].get()
    }

    /// The same over that of the heaviest.
    pub fn share(&self, place: usize) -> f64 {
        self.of(place) / self.heaviest.get()
    }

    /// The same over that of the lightest.
    pub fn size(&self, place: usize) -> f64 {
        self.of(place) / self.lightest.get()
    }

    /// The same as a whole number.
    pub fn whole(&self, place: usize) -> u32 {
        match self.terms {
            None => self.configured[place],
            Some(_) => (self.share(place) * WHOLE).ceil() as u32,
        }
    }

    /// Folds in what endpoints have said, if that is asked for and it is time.
    pub fn fold<'a>(&self, now: Instant, reported: impl Fn(usize) -> &'a Reported) {
        let Some(terms) = &self.terms else { return };
        if self.folded.get().is_some_and(|folded| now.saturating_duration_since(folded) < PERIOD) {
            return;
        }
        self.folded.set(Some(now));
        let capacity = |place: usize| match self.configured[place] {
            0 => None,
            _ => reported(place).capacity(now, terms),
        };
        let (mut reports, mut capacities, mut weights) = (0u32, 0.0, 0.0);
        for place in 0..self.configured.len() {
            if let Some(capacity) = capacity(place) {
                reports += 1;
                capacities += capacity;
                weights += f64::from(self.configured[place]);
            }
        }
        let scale = if reports < 2 { None } else { Some(capacities / weights) };
        for (place, configured) in self.configured.iter().copied().map(f64::from).enumerate() {
            self.each[place].set(match scale {
                None => configured,
                Some(scale) => capacity(place).unwrap_or(configured * scale),
            });
        }
        self.measure();
    }

    fn measure(&self) {
        let positive = || self.each.iter().map(Cell::get).filter(|weight| *weight > 0.0);
        let (heaviest, lightest) = (positive().fold(0.0, f64::max), positive().fold(f64::INFINITY, f64::min));
        let any = heaviest > 0.0;
        self.heaviest.set(if any { heaviest } else { 1.0 });
        self.lightest.set(if any { lightest } else { 1.0 });
    }
}

#[cfg(test)]
#[path = "weights_tests.rs"]
mod tests;
