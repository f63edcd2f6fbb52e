//! Who is admitted to a choice, at the moment of one pick: ready and reachable, near with headroom, past the slow start.
//!
//! Answers questions about one endpoint each; `chooser` puts the answers in order. In a panic, whoever is there is admitted.

use super::hash;
use super::member::{Candidate, Member};
use std::time::{Duration, Instant};
use weft_model::policy::Spread;

/// The share of its weight with which a new endpoint starts.
const RAMP_START: f64 = 0.1;

/// The circumstances of one pick.
pub struct Admission<'a, C> {
    spread: &'a Spread,
    members: &'a [Member],
    candidates: &'a [C],
    now: Instant,
    /// Decides which new endpoints take part: by the key if there is one, so that a session moves to one only once.
    coin: u64,
    panic: bool,
}

impl<'a, C: Candidate> Admission<'a, C> {
    /// For `members` and, in the same order, `candidates`.
    pub fn new(spread: &'a Spread, members: &'a [Member], candidates: &'a [C], now: Instant, coin: u64) -> Self {
        let mut admission = Self { spread, members, candidates, now, coin, panic: false };
        admission.panic = admission.panics();
        admission
    }

    /// May be given work at all.
    pub fn admitted(&self, at: usize) -> bool {
        match self.panic {
            true => self.members[at].present(),
            false => self.usable(&self.members[at], &self.candidates[at]),
        }
    }

    /// Admitted, and not known to be out of reach.
    pub fn up(&self, at: usize) -> bool {
        self.admitted(at) && (self.panic || !self.candidates[at].load().shunned(self.now))
    }

    /// In the own zone, with room for one more request.
    pub fn near(&self, at: usize) -> bool {
        self.members[at].near
            && self.spread.zone.as_ref().is_some_and(|zone| {
                let most = u64::from(zone.max_in_flight.get()) * u64::from(self.members[at].weight);
                u64::from(self.candidates[at].load().pending()) < most
            })
    }

    /// A new endpoint takes part in a growing share of the picks.
    pub fn ripe(&self, at: usize) -> bool {
        let ramp = self.ramp(at);
        ramp >= 1.0 || hash::fraction(hash::mix(self.coin ^ self.members[at].hash)) < ramp
    }

    /// Ready, and nothing is found against it.
    fn usable(&self, member: &Member, candidate: &C) -> bool {
        member.ready() && candidate.is_healthy()
    }

    /// Past its slow start, whatever the coin says.
    pub fn settled(&self, at: usize) -> bool {
        self.ramp(at) >= 1.0
    }

    fn ramp(&self, at: usize) -> f64 {
        let (Some(window), Some(since)) = (self.spread.slow_start, self.members[at].since) else { return 1.0 };
        ramp(self.now.saturating_duration_since(since), window)
    }

    /// Too few are usable to carry the load of all.
    fn panics(&self) -> bool {
        if self.spread.panic_percent == 0 {
            return false;
        }
        let mut counted = [0u64; 2];
        for (member, candidate) in self.members.iter().zip(self.candidates).filter(|(member, _)| member.present()) {
            counted[0] += 1;
            counted[1] += u64::from(self.usable(member, candidate) && !candidate.load().shunned(self.now));
        }
        let [present, usable] = counted;
        usable * 100 < present * u64::from(self.spread.panic_percent)
    }
}

fn ramp(age: Duration, window: Duration) -> f64 {
    (age.as_secs_f64() / window.as_secs_f64()).max(RAMP_START)
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
