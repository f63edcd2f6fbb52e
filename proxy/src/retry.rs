//! What is tried again: only what is safe, only while the budget lasts, with a pause that grows.
//!
//! Pure. A request that was certainly not processed may always be sent again; one that may have been, only if its method
//! is idempotent or its owner has said that repeating does no harm. The budget bounds what retries can add to an
//! overload (Google SRE book, chapter 22; Finagle's RetryBudget).

use crate::error::{Failure, RetrySafety};
use std::cell::Cell;
use std::time::{Duration, Instant};
use weft_model::policy::Retry;

/// The first pause and the longest one.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_MOST: Duration = Duration::from_millis(250);
/// How many seconds' worth of allowance can be saved up.
const SAVED: f64 = 10.0;

/// What to do after a failed try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Again, after this pause.
    Retry(Duration),
    GiveUp(Why),
}

/// Why a request is not tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It failed in a way that another try cannot mend.
    Final,
    /// It may have been processed.
    Unsafe,
    /// Its body is gone.
    NotRepeatable,
    AttemptsUsedUp,
    BudgetUsedUp,
}

/// How many retries the requests of one service have earned. One worker's own.
#[derive(Debug)]
pub struct Budget {
    tokens: Cell<f64>,
    filled: Cell<Option<Instant>>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { tokens: Cell::new(0.0), filled: Cell::new(None) }
    }
}

impl Budget {
    /// A request has come: it earns its share of a retry.
    pub fn request(&self, now: Instant, policy: &Retry) {
        self.fill(now, policy);
        self.add(f64::from(policy.budget_percent) / 100.0, policy);
    }

    /// Takes one retry, if there is one.
    fn take(&self, now: Instant, policy: &Retry) -> bool {
        self.fill(now, policy);
        let left = self.tokens.get() - 1.0;
        if left >= 0.0 {
            self.tokens.set(left);
        }
        left >= 0.0
    }

    fn fill(&self, now: Instant, policy: &Retry) {
        let rate = f64::from(policy.budget_min_per_second);
        match self.filled.replace(Some(now)) {
            // A service nobody has called yet may start with one second's allowance.
            None => self.add(rate, policy),
            Some(before) => self.add(rate * now.saturating_duration_since(before).as_secs_f64(), policy),
        }
    }

    fn add(&self, tokens: f64, policy: &Retry) {
        // At least as much as a thousand requests earn, so that the percentage means something at any rate.
        let most = SAVED * f64::from(policy.budget_min_per_second) + 10.0 * f64::from(policy.budget_percent);
        self.tokens.set((self.tokens.get() + tokens).min(most));
    }
}

/// A request as far as repeating it goes.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// By its method.
    pub idempotent: bool,
    /// What has been sent of its body can be sent again.
    pub repeatable: bool,
    /// Tries made so far.
    pub made: u32,
}

/// Whether `request` is tried again after `failure`; takes from the budget when it is. `jitter` is a number in 0..1.
pub fn decide(
    failure: &Failure,
    request: Request,
    policy: &Retry,
    budget: &Budget,
    now: Instant,
    jitter: f64,
) -> Verdict {
    let declared_safe = request.idempotent || policy.non_idempotent;
    match failure.safety() {
        RetrySafety::Never => return Verdict::GiveUp(Why::Final),
        RetrySafety::IfIdempotent if !declared_safe => return Verdict::GiveUp(Why::Unsafe),
        _ => {}
    }
    if let Failure::Unwelcome(status) = failure
        && !policy.statuses.contains(status)
    {
        return Verdict::GiveUp(Why::Final);
    }
    if !request.repeatable {
        return Verdict::GiveUp(Why::NotRepeatable);
    }
    if request.made > policy.attempts {
        return Verdict::GiveUp(Why::AttemptsUsedUp);
    }
    if !budget.take(now, policy) {
        return Verdict::GiveUp(Why::BudgetUsedUp);
    }
    Verdict::Retry(pause(request.made, failure.safety(), jitter))
}

/// Another endpoint can be asked at once the first time, if this one has certainly done nothing; otherwise with full
/// jitter below a doubling bound.
fn pause(made: u32, safety: RetrySafety, jitter: f64) -> Duration {
    if made <= 1 && safety == RetrySafety::Always {
        return Duration::ZERO;
    }
    let bound = PAUSE_FIRST.saturating_mul(1 << made.min(8)).min(PAUSE_MOST);
    bound.mul_f64(jitter.clamp(0.0, 1.0))
}

/// Idempotent methods (RFC 9110 section 9.2.2).
pub fn idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GET: Request = Request { idempotent: true, repeatable: true, made: 1 };
    const POST: Request = Request { idempotent: false, ..GET };

    fn verdict(failure: Failure, request: Request, policy: &Retry) -> Verdict {
        decide(&failure, request, policy, &Budget::default(), Instant::now(), 0.5)
    }

    #[test]
    fn only_what_is_safe_is_repeated() {
        let policy = Retry::default();
        assert_eq!(verdict(Failure::ConnectRefused, POST, &policy), Verdict::Retry(Duration::ZERO));
        assert_eq!(verdict(Failure::ResetBeforeResponse, POST, &policy), Verdict::GiveUp(Why::Unsafe));
        assert!(matches!(verdict(Failure::ResetBeforeResponse, GET, &policy), Verdict::Retry(_)));
        assert_eq!(verdict(Failure::ResetMidResponse, GET, &policy), Verdict::GiveUp(Why::Final));
        let declared = Retry { non_idempotent: true, ..policy };
        assert!(matches!(verdict(Failure::ResetBeforeResponse, POST, &declared), Verdict::Retry(_)));
    }

    #[test]
    fn statuses_attempts_and_bodies_bound_it() {
        let policy = Retry::default();
        assert!(matches!(verdict(Failure::Unwelcome(503), GET, &policy), Verdict::Retry(_)));
        assert_eq!(verdict(Failure::Unwelcome(500), GET, &policy), Verdict::GiveUp(Why::Final));
        assert_eq!(verdict(Failure::GoAway, Request { made: 3, ..GET }, &policy), Verdict::GiveUp(Why::AttemptsUsedUp));
        let gone = Request { repeatable: false, ..GET };
        assert_eq!(verdict(Failure::GoAway, gone, &policy), Verdict::GiveUp(Why::NotRepeatable));
        let off = Retry { attempts: 0, ..policy };
        assert_eq!(verdict(Failure::ConnectRefused, GET, &off), Verdict::GiveUp(Why::AttemptsUsedUp));
    }

    proptest! {
        /// However many requests fail, retries stay within the share and the floor the policy gives.
        #[test]
        fn the_budget_holds(percent in 0u32..60, floor in 0u32..20, requests in 1usize..4000) {
            let policy = Retry { budget_percent: percent, budget_min_per_second: floor, ..Retry::default() };
            let (budget, start) = (Budget::default(), Instant::now());
            let mut retries = 0u32;
            for number in 0..requests {
                let now = start + Duration::from_millis(number as u64);
                budget.request(now, &policy);
                retries += u32::from(budget.take(now, &policy));
            }
            let seconds = 1.0 + requests as f64 / 1000.0;
            let allowed = requests as f64 * f64::from(percent) / 100.0 + seconds * f64::from(floor) + 1.0;
            prop_assert!(f64::from(retries) <= allowed, "{} > {}", retries, allowed);
        }
    }
}
