//! How busy and how quick an endpoint is, as one worker has seen it: peak-EWMA latency and requests in flight.
//!
//! After Finagle's and Linkerd's peak EWMA: a slow answer counts at once, a quick one slowly, so that trouble is noticed
//! with the first sign of it and forgotten with time. A failure counts as a slow answer, so that an endpoint that fails
//! fast attracts nothing. Cells, no locks: a load belongs to one worker.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What an endpoint that has never answered is taken to need: enough to be tried, not enough to be flooded.
const UNKNOWN: Duration = Duration::from_millis(5);
/// What a failure counts as, at least.
const FAILURE: Duration = Duration::from_millis(500);
/// Nothing is taken to be quicker: differences below this are noise.
const FLOOR: f64 = 50e-6;
/// How long an endpoint that cannot be reached is passed over: doubled with every failure in a row.
const SHUN_FIRST: Duration = Duration::from_millis(250);
const SHUN_MOST: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct State {
    /// Seconds.
    latency: Cell<f64>,
    seen: Cell<Instant>,
    pending: Cell<u32>,
    failures: Cell<u32>,
    shunned_until: Cell<Option<Instant>>,
}

/// One endpoint's load.
#[derive(Debug, Clone)]
pub struct Load(Rc<State>);

impl Load {
    pub fn new(now: Instant) -> Self {
        Self(Rc::new(State {
            latency: Cell::new(UNKNOWN.as_secs_f64()),
            seen: Cell::new(now),
            pending: Cell::new(0),
            failures: Cell::new(0),
            shunned_until: Cell::new(None),
        }))
    }

    /// A request goes out. It counts as in flight until the returned value ends or is dropped.
    pub fn begin(&self, now: Instant) -> Begun {
        Begun { serving: self.serving(), started: now }
    }

    /// Counts as in flight for as long as the value lives: a response body, a tunnel.
    pub fn serving(&self) -> Serving {
        self.0.pending.set(self.0.pending.get() + 1);
        Serving(self.clone())
    }

    pub fn pending(&self) -> u32 {
        self.0.pending.get()
    }

    /// The mean latency at `now`, decayed since the last observation.
    pub fn latency(&self, now: Instant, decay: Duration) -> Duration {
        Duration::from_secs_f64(self.mean(now, decay))
    }

    fn mean(&self, now: Instant, decay: Duration) -> f64 {
        let age = now.saturating_duration_since(self.0.seen.get()).as_secs_f64();
        // Without news the mean moves back towards zero, so that an endpoint that was slow is tried again.
        self.0.latency.get() * (-age / decay.as_secs_f64().max(1e-3)).exp()
    }

    /// Cost of sending one more request there: lower is better.
    pub fn score(&self, now: Instant, decay: Duration) -> f64 {
        self.mean(now, decay).max(FLOOR) * f64::from(self.0.pending.get() + 1)
    }

    /// Whether it could not be reached just now.
    pub fn shunned(&self, now: Instant) -> bool {
        self.0.shunned_until.get().is_some_and(|until| now < until)
    }

    fn observe(&self, now: Instant, took: Duration, ok: bool, decay: Duration) {
        let state = &*self.0;
        let age = now.saturating_duration_since(state.seen.get()).as_secs_f64();
        let old = state.latency.get();
        let sample = match ok {
            true => took.as_secs_f64(),
            false => took.max(FAILURE).as_secs_f64(),
        };
        let weight = (-age / decay.as_secs_f64().max(1e-3)).exp();
        // The peak: a worse sample counts whole.
        state.latency.set(if sample > old { sample } else { old * weight + sample * (1.0 - weight) });
        state.seen.set(now);
        if ok {
            state.failures.set(0);
            state.shunned_until.set(None);
        }
    }

    /// The endpoint could not be reached at all.
    pub fn unreachable(&self, now: Instant) {
        let failures = self.0.failures.get();
        self.0.failures.set(failures.saturating_add(1));
        let pause = SHUN_FIRST.saturating_mul(1 << failures.min(10)).min(SHUN_MOST);
        self.0.shunned_until.set(Some(now + pause));
    }
}

/// A request whose answer is awaited.
#[derive(Debug)]
pub struct Begun {
    serving: Serving,
    started: Instant,
}

impl Begun {
    /// The answer has come, or the attempt has failed. Dropping instead says nothing about the endpoint: the client left.
    pub fn end(self, now: Instant, ok: bool, decay: Duration) {
        self.serving.0.observe(now, now.saturating_duration_since(self.started), ok, decay);
    }
}

/// Something in flight.
#[derive(Debug)]
pub struct Serving(Load);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.0.pending.set(self.0.0.pending.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECAY: Duration = Duration::from_secs(10);

    fn served(load: &Load, at: Instant, took: Duration, ok: bool) {
        load.begin(at).end(at + took, ok, DECAY);
    }

    #[test]
    fn slow_answers_count_at_once_and_fade() {
        let (load, start) = (Load::new(Instant::now()), Instant::now());
        served(&load, start, Duration::from_millis(100), true);
        let later = start + Duration::from_millis(100);
        assert!(load.latency(later, DECAY) > Duration::from_millis(99));
        assert!(load.latency(later + 3 * DECAY, DECAY) < Duration::from_millis(6));
    }

    #[test]
    fn a_fast_failure_is_no_recommendation() {
        let (load, start) = (Load::new(Instant::now()), Instant::now());
        served(&load, start, Duration::from_micros(100), false);
        assert!(load.latency(start + Duration::from_millis(1), DECAY) > Duration::from_millis(400));
    }

    #[test]
    fn what_is_in_flight_makes_an_endpoint_dearer() {
        let (load, now) = (Load::new(Instant::now()), Instant::now());
        let idle = load.score(now, DECAY);
        let held: Vec<_> = (0..9).map(|_| load.serving()).collect();
        assert!(load.score(now, DECAY) > 9.0 * idle);
        drop(held);
        assert_eq!(load.pending(), 0);
    }

    #[test]
    fn an_unreachable_endpoint_is_passed_over_for_longer_each_time() {
        let (load, now) = (Load::new(Instant::now()), Instant::now());
        load.unreachable(now);
        assert!(load.shunned(now) && !load.shunned(now + SHUN_FIRST));
        load.unreachable(now);
        assert!(load.shunned(now + SHUN_FIRST) && !load.shunned(now + 2 * SHUN_FIRST));
        served(&load, now, Duration::from_millis(1), true);
        assert!(!load.shunned(now));
    }
}
