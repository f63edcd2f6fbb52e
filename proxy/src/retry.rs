//! What is tried again: only what is safe, only while the budget lasts, with a pause that grows.
//!
//! Pure. A request that was certainly not processed may always be sent again; one that may have been, only if its method
//! is idempotent or its owner has said that repeating does no harm. The budget bounds what retries can add to an
//! overload (Google SRE book, chapter 22; Finagle's RetryBudget).

mod hedge;

pub use hedge::{Latencies, hedge};

use crate::error::{Failure, Limit, RetrySafety};
use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime};
use weft_model::policy::{Backoff, Retry};

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
    /// The endpoint asks to be left alone for longer than the request has time.
    TooLate,
    /// As many requests are being tried again as the policy allows.
    CircuitOpen,
}

impl Why {
    /// What the client is told when no try has brought an answer.
    pub fn instead_of(self, failure: Failure) -> Failure {
        match self {
            Self::BudgetUsedUp => Failure::RetryBudgetExhausted(failure.status()),
            Self::CircuitOpen => Failure::CircuitOpen(Limit::Retries),
            _ => failure,
        }
    }

    /// What is said beside an answer that is passed on; empty: nothing.
    pub fn beside(self) -> &'static str {
        match self {
            Self::BudgetUsedUp => Failure::RetryBudgetExhausted(0).reason(),
            Self::CircuitOpen => Limit::Retries.word(),
            _ => "",
        }
    }
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
    /// What the answer says in `retry-after`.
    pub retry_after: Option<Duration>,
    /// Until the request's time is over.
    pub time_left: Option<Duration>,
}

impl Request {
    /// Why there cannot be another try, whatever became of the one before.
    fn spent(&self, policy: &Retry) -> Option<Why> {
        match () {
            () if !self.repeatable => Some(Why::NotRepeatable),
            () if self.made > policy.attempts => Some(Why::AttemptsUsedUp),
            () => None,
        }
    }
}

/// Whether `failure` is what the client gets, however many tries are left.
pub fn is_final(failure: &Failure, policy: &Retry) -> bool {
    match failure {
        Failure::Unwelcome(status) => !policy.statuses.contains(status),
        _ => failure.safety() == RetrySafety::Never,
    }
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
    if is_final(failure, policy) {
        return Verdict::GiveUp(Why::Final);
    }
    if let Some(why) = request.spent(policy) {
        return Verdict::GiveUp(why);
    }
    let asked = request.retry_after.map_or(Duration::ZERO, |asked| asked.min(policy.backoff.max_retry_after));
    let pause = pause(request.made, failure.safety(), &policy.backoff, jitter).max(asked);
    // The answer that is there is worth more than a time-out.
    if request.time_left.is_some_and(|left| pause >= left) {
        return Verdict::GiveUp(Why::TooLate);
    }
    if !budget.take(now, policy) {
        return Verdict::GiveUp(Why::BudgetUsedUp);
    }
    Verdict::Retry(pause)
}

/// Another endpoint can be asked at once the first time, if this one has certainly done nothing; otherwise with full
/// jitter below a doubling bound.
fn pause(made: u32, safety: RetrySafety, backoff: &Backoff, jitter: f64) -> Duration {
    if made <= 1 && safety == RetrySafety::Always {
        return Duration::ZERO;
    }
    let bound = backoff.base.saturating_mul(1 << made.saturating_sub(1).min(16)).min(backoff.max);
    bound.mul_f64(jitter.clamp(0.0, 1.0))
}

/// What a `retry-after` field asks for at `now`: seconds, or a date (RFC 9110 section 10.2.3). `None`: neither.
pub fn retry_after(value: &[u8], now: SystemTime) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit mean the same as the largest number that does.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))));
    }
    // A date that has passed asks for nothing.
    Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default())
}

/// Idempotent methods (RFC 9110 section 9.2.2).
pub fn idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GET: Request = Request { idempotent: true, repeatable: true, made: 1, retry_after: None, time_left: None };
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

    #[test]
    fn retry_after_is_waited_for_within_bounds() {
        let policy = Retry::default();
        let asked = |secs, left| Request { retry_after: Some(Duration::from_secs(secs)), time_left: left, ..GET };
        let answer = |request| verdict(Failure::Unwelcome(503), request, &policy);
        assert_eq!(answer(asked(1, None)), Verdict::Retry(Duration::from_secs(1)));
        assert_eq!(
            answer(asked(3600, None)),
            Verdict::Retry(policy.backoff.max_retry_after),
            "no longer than the bound"
        );
        let (short, long) = (Some(Duration::from_millis(900)), Some(Duration::from_secs(2)));
        assert_eq!(answer(asked(1, short)), Verdict::GiveUp(Why::TooLate));
        assert_eq!(answer(asked(1, long)), Verdict::Retry(Duration::from_secs(1)));
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_700);
        assert_eq!(retry_after(b"120", at), Some(Duration::from_secs(120)));
        assert_eq!(retry_after(b"Sun, 06 Nov 1994 08:49:37 GMT", at), Some(Duration::from_secs(77)));
        assert_eq!(retry_after(b"Sat, 06 Nov 1993 08:49:37 GMT", at), Some(Duration::ZERO), "the past");
        assert!(retry_after(b"99999999999999999999999", at) > Some(Duration::from_secs(1 << 31)));
        for nonsense in [&b""[..], b"-1", b"1.5", b"soon", b"\xff"] {
            assert_eq!(retry_after(nonsense, at), None);
        }
    }

    #[test]
    fn a_retry_that_the_budget_refuses_is_told_apart() {
        let policy = Retry { budget_percent: 0, budget_min_per_second: 0, ..Retry::default() };
        assert_eq!(verdict(Failure::ConnectRefused, GET, &policy), Verdict::GiveUp(Why::BudgetUsedUp));
    }

    proptest! {
        /// Pauses stay below the bound, which doubles from the base up to the most.
        #[test]
        fn pauses_are_jittered_below_a_doubling_bound(made in 1u32..40, base in 1u64..1000, more in 0u64..5000, jitter in 0.0f64..1.0) {
            let (base, max) = (Duration::from_millis(base), Duration::from_millis(base + more));
            let backoff = Backoff { base, max, ..Backoff::default() };
            let bound = base.saturating_mul(1 << (made - 1).min(16)).min(max);
            let pause = pause(made, RetrySafety::IfIdempotent, &backoff, jitter);
            prop_assert!(pause <= bound && pause >= bound.mul_f64(jitter * 0.999));
        }

        /// What may have been processed is never sent again unless that does no harm, whatever else is so.
        #[test]
        fn what_may_have_been_processed_is_not_repeated(made in 1u32..5, seconds in 0u64..5, jitter in 0.0f64..1.0) {
            let policy = Retry { attempts: 10, ..Retry::default() };
            let request = Request { made, retry_after: Some(Duration::from_secs(seconds)), ..POST };
            for failure in [
                Failure::Unwelcome(503), Failure::TryTimeout, Failure::ResetBeforeResponse,
                Failure::StaleConnection, Failure::MalformedResponse("x"),
            ] {
                let verdict = decide(&failure, request, &policy, &Budget::default(), Instant::now(), jitter);
                prop_assert_eq!(verdict, Verdict::GiveUp(Why::Unsafe));
            }
        }

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
