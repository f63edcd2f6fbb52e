//! Prequal: a pool of what endpoints have lately answered to probes, and the choice from it (Wydrowski et al., NSDI 2024).
//!
//! Few requests in flight make an endpoint cold: of the cold ones the quickest is chosen, and if all are hot the one with the
//! fewest in flight (the hot-cold lexicographic rule). Answers grow old, are used up, and the worst are taken out. With fewer
//! than two answers nobody is chosen, and the caller falls back on what it has seen itself.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

/// Answers that are kept (section 5.2 of the paper, like all that follow).
const POOL: usize = 16;
/// An older answer says nothing.
const AGE: Duration = Duration::from_secs(1);
/// An endpoint is hot if it has more in flight than this share of the latest answers.
const HOT: f64 = 0.84;
/// Over how many answers that is measured.
const LATEST: usize = 128;
/// Answers are taken out at most once a request.
const REMOVED: f64 = 1.0;
/// The most often that one answer is used.
const REUSED: f64 = 4.0;
/// One of so many endpoints is in the pool, at most.
const SHARE: usize = 4;

/// What an endpoint says of itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probe {
    pub in_flight: u32,
    /// Of its latest answers.
    pub latency: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Answer {
    place: usize,
    /// In flight, over the endpoint's weight.
    load: f64,
    /// The same of this client's own requests: how many of them came and went since is known better than by asking.
    own: f64,
    latency: Duration,
    came: Instant,
    uses: u32,
}

/// The pool of one service.
#[derive(Debug)]
pub struct Prequal {
    answers: RefCell<Vec<Answer>>,
    latest: RefCell<Vec<f64>>,
    /// Where the next of the latest goes.
    next: Cell<usize>,
    /// Answers that it holds.
    size: usize,
    /// The most often that one answer is used, on average.
    uses: f64,
    /// What of it is owed to the next answer.
    spare: Cell<f64>,
    removed: f64,
    /// What is to be taken out, in parts of an answer; and whether the oldest is next.
    owed: Cell<f64>,
    oldest: Cell<bool>,
}

impl Prequal {
    /// For `n` endpoints, of which `probes` are asked for every request.
    pub fn new(n: usize, probes: u32) -> Self {
        let rate = f64::from(probes);
        let removed = (rate / 3.0).min(REMOVED);
        // A pool of the whole service would send every client to the same endpoint at the same time.
        let size = (n / SHARE).clamp(2, POOL);
        // So often an answer may be used, so that the pool neither runs dry nor grows old: twice what keeps it level.
        let renewed = (1.0 - size as f64 / n.max(1) as f64) * rate - removed;
        let uses = if renewed > 0.0 { (2.0 / renewed).clamp(1.0, REUSED) } else { REUSED };
        Self {
            answers: RefCell::new(Vec::with_capacity(POOL)),
            latest: RefCell::new(Vec::with_capacity(LATEST)),
            next: Cell::new(0),
            size,
            uses,
            spare: Cell::new(0.0),
            removed,
            owed: Cell::new(0.0),
            oldest: Cell::new(false),
        }
    }

    /// The endpoint at `place`, of this `weight`, has answered. Takes the place of its last answer, or of the oldest.
    /// `own` is what this client has in flight there, over the weight.
    pub fn answered(&self, place: usize, weight: f64, own: f64, probe: Probe, now: Instant) {
        let load = f64::from(probe.in_flight) / weight.max(f64::MIN_POSITIVE);
        let uses = self.uses + self.spare.get();
        self.spare.set(uses.fract());
        let answer = Answer { place, load, own, latency: probe.latency, came: now, uses: uses as u32 };
        let mut answers = self.answers.borrow_mut();
        answers.retain(|other| other.place != place);
        if answers.len() >= self.size {
            answers.remove(0);
        }
        answers.push(answer);
        let mut latest = self.latest.borrow_mut();
        match latest.len() < LATEST {
            true => latest.push(load),
            false => latest[self.next.get()] = load,
        }
        self.next.set((self.next.get() + 1) % LATEST);
    }

    /// The place of the best endpoint that is `usable`; `own` is what this client has in flight there, over the weight, `penalty`
    /// what failures add to the latency: who fails fast has nothing in flight, and would attract everything.
    pub fn choose(
        &self,
        usable: &dyn Fn(usize) -> bool,
        own: &dyn Fn(usize) -> f64,
        penalty: &dyn Fn(usize) -> Duration,
        now: Instant,
    ) -> Option<usize> {
        let mut answers = self.answers.borrow_mut();
        answers.retain(|answer| now.saturating_duration_since(answer.came) < AGE);
        if answers.iter().filter(|answer| usable(answer.place)).count() < 2 {
            return None;
        }
        let hot = self.hot();
        let rank = |answer: &Answer| {
            let latency = answer.latency + penalty(answer.place);
            let load = (answer.load + own(answer.place) - answer.own).max(0.0);
            match load > hot {
                true => (true, load, latency),
                false => (false, 0.0, latency),
            }
        };
        let better = |a: &Answer, b: &Answer| {
            let ((a_hot, a_load, a_latency), (b_hot, b_load, b_latency)) = (rank(a), rank(b));
            a_hot.cmp(&b_hot).then(a_load.total_cmp(&b_load)).then(a_latency.cmp(&b_latency))
        };
        let best = (0..answers.len()).filter(|at| usable(answers[*at].place));
        let best = best.min_by(|a, b| better(&answers[*a], &answers[*b]))?;
        let place = answers[best].place;
        answers[best].uses -= 1;
        if answers[best].uses == 0 {
            answers.remove(best);
        }
        self.owed.set(self.owed.get() + self.removed);
        if self.owed.get() >= 1.0 {
            self.owed.set(self.owed.get() - 1.0);
            let worst = (0..answers.len()).max_by(|a, b| better(&answers[*a], &answers[*b]));
            // The first has been there for longest.
            let leaves = if self.oldest.replace(!self.oldest.get()) { Some(0) } else { worst };
            if let Some(leaves) = leaves.filter(|_| answers.len() > 2) {
                answers.remove(leaves);
            }
        }
        Some(place)
    }

    /// The load above which an endpoint is hot.
    fn hot(&self) -> f64 {
        let mut sorted = [0.0; LATEST];
        let latest = self.latest.borrow();
        let sorted = &mut sorted[..latest.len()];
        sorted.copy_from_slice(&latest);
        let place = (sorted.len() as f64 * HOT) as usize;
        match sorted.is_empty() {
            true => f64::INFINITY,
            false => *sorted.select_nth_unstable_by(place.min(latest.len() - 1), f64::total_cmp).1,
        }
    }
}

#[cfg(test)]
#[path = "prequal_tests.rs"]
mod tests;
