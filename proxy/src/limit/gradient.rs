//! How many requests an application takes before they queue, found out from latencies: Envoy's gradient controller
//! (`adaptive_concurrency` filter).
//!
//! Now and then so few requests are let in that none queues; their median is the ideal. Between, every window moves the
//! limit by ideal over present median, and leaves room of its square root for a queue. As in Netflix's Gradient2, a limit
//! that is not used does not grow, so that a sudden rush does not find it wide open.

use std::time::{Duration, Instant};

/// How often the limit moves.
const WINDOW: Duration = Duration::from_millis(100);
/// Fewer latencies than this say nothing.
const FEWEST: usize = 10;
/// Latencies kept of a window.
const MOST: usize = 1000;
/// Latencies that make an ideal.
const IDEAL: usize = 50;
/// How often the ideal is measured anew; up to a fifth later, so that a service's endpoints do not do so at once.
const EVERY: Duration = Duration::from_secs(60);
/// How far above the ideal is as good as the ideal.
const TOLERANCE: f64 = 1.25;
/// How far one window moves the limit.
const STEPS: std::ops::RangeInclusive<f64> = 0.5..=2.0;

#[derive(Debug)]
enum Phase {
    /// Few are let in; earlier requests say nothing.
    Measuring {
        since: Instant,
    },
    Following {
        ideal: Duration,
        until: Instant,
        window: Instant,
    },
}

/// The limit, and what it is moved by.
#[derive(Debug)]
pub struct Gradient {
    min: u32,
    max: u32,
    limit: u32,
    phase: Phase,
    latencies: Vec<Duration>,
    /// The most requests under way in this window.
    peak: u32,
}

impl Gradient {
    /// Between `min` and `max`, both above 0.
    pub fn new(min: u32, max: u32, now: Instant) -> Self {
        let phase = Phase::Measuring { since: now };
        Self { min, max, limit: min, phase, latencies: Vec::with_capacity(MOST), peak: 0 }
    }

    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// A request that `began` was answered just `now`, with `under_way` including it. `jitter`: 0 to 1.
    pub fn answered(&mut self, began: Instant, now: Instant, under_way: u32, jitter: f64) {
        match self.phase {
            Phase::Measuring { since } if began < since => {}
            Phase::Measuring { .. } => {
                self.latencies.push(now - began);
                if self.latencies.len() >= IDEAL {
                    let until = now + EVERY + EVERY.mul_f64(0.2 * jitter);
                    self.phase = Phase::Following { ideal: self.median(), until, window: now + WINDOW };
                }
            }
            Phase::Following { ideal, until, window } => {
                self.peak = self.peak.max(under_way);
                if self.latencies.len() < MOST {
                    self.latencies.push(now - began);
                }
                if now < window || self.latencies.len() < FEWEST {
                    return;
                }
                self.follow(ideal);
                self.phase = match now < until {
                    true => Phase::Following { ideal, until, window: now + WINDOW },
                    false => {
                        self.limit = self.min;
                        Phase::Measuring { since: now }
                    }
                };
            }
        }
    }

    fn follow(&mut self, ideal: Duration) {
        let present = self.median().max(Duration::from_micros(1));
        let gradient = TOLERANCE * ideal.as_secs_f64() / present.as_secs_f64();
        let scaled = f64::from(self.limit) * gradient.clamp(*STEPS.start(), *STEPS.end());
        let next = ((scaled + scaled.sqrt()) as u32).clamp(self.min, self.max);
        let used = std::mem::take(&mut self.peak) >= self.limit / 2;
        if used || next < self.limit {
            self.limit = next;
        }
    }

    /// Takes all latencies.
    fn median(&mut self) -> Duration {
        let middle = self.latencies.len() / 2;
        let (_, median, _) = self.latencies.select_nth_unstable(middle);
        let median = *median;
        self.latencies.clear();
        median
    }
}

#[cfg(test)]
#[path = "gradient_tests.rs"]
mod tests;
