//! Whether a request that has no answer yet goes to another endpoint as well, and how long it waits before.
//!
//! Pure. Asked by `plan` when the whole request has been sent: "hedged requests" of Dean and Barroso, "The Tail at Scale" (2013).
//! Bounded by what bounds retries: a hedge is a try, safe to repeat, within attempts, budget and time.

use super::{Budget, Request, Why};
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};
use weft_model::policy::{Hedge, Retry};

/// Whether `request` is sent to another endpoint as well; takes from the budget when it is.
pub fn hedge(request: Request, policy: &Retry, budget: &Budget, now: Instant) -> Result<(), Why> {
    if policy.hedge.is_none() {
        return Err(Why::Final);
    }
    if !request.idempotent && !policy.non_idempotent {
        return Err(Why::Unsafe);
    }
    if let Some(why) = request.spent(policy) {
        return Err(why);
    }
    if request.time_left.is_some_and(|left| left.is_zero()) {
        return Err(Why::TooLate);
    }
    if budget.take(now, policy) { Ok(()) } else { Err(Why::BudgetUsedUp) }
}

/// So many of the latest latencies are kept ...
const KEPT: usize = 256;
/// ... and there is no percentile below so many.
const FEWEST: usize = 32;
/// The percentile is found out anew after so many.
const FRESH: u32 = 16;

/// How long the latest answers of one service took, as one worker has seen them.
#[derive(Debug, Default)]
pub struct Latencies {
    /// A ring, once it is full.
    kept: RefCell<Vec<Duration>>,
    next: Cell<usize>,
    /// The percentile that was asked for last, and how many have been noted since.
    told: Cell<Option<(u32, Duration)>>,
    since: Cell<u32>,
}

impl Latencies {
    /// An answer took `time`, or nobody waited for it any longer.
    pub fn note(&self, time: Duration) {
        let mut kept = self.kept.borrow_mut();
        match kept.get_mut(self.next.get()) {
            Some(oldest) => *oldest = time,
            None => kept.push(time),
        }
        self.next.set((self.next.get() + 1) % KEPT);
        self.since.set(self.since.get() + 1);
    }

    /// How long the answer is waited for before another endpoint is asked as well. Until there are enough latencies: as long
    /// as it has to be anyway.
    pub fn patience(&self, hedge: &Hedge) -> Duration {
        let percentile = hedge.percentile.and_then(|percent| self.percentile(percent.get()));
        percentile.map_or(hedge.after, |time| time.max(hedge.after))
    }

    /// The latency that `percent` of the latest do not exceed.
    fn percentile(&self, percent: u32) -> Option<Duration> {
        if let Some((of, time)) = self.told.get()
            && of == percent
            && self.since.get() < FRESH
        {
            return Some(time);
        }
        let mut kept = self.kept.borrow().clone();
        if kept.len() < FEWEST {
            return None;
        }
        let rank = (kept.len() * percent as usize).div_ceil(100).clamp(1, kept.len());
        let (_, time, _) = kept.select_nth_unstable(rank - 1);
        self.told.set(Some((percent, *time)));
        self.since.set(0);
        Some(*time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::num::NonZeroU32;

    const GET: Request = Request { idempotent: true, repeatable: true, made: 1, retry_after: None, time_left: None };

    fn policy(percentile: u32) -> Retry {
        let hedge = Hedge { after: Duration::from_millis(20), percentile: NonZeroU32::new(percentile) };
        Retry { hedge: Some(hedge), ..Retry::default() }
    }

    #[test]
    fn only_what_could_be_tried_again_is_hedged() {
        let verdict = |request, policy: &Retry| hedge(request, policy, &Budget::default(), Instant::now());
        assert_eq!(verdict(GET, &policy(0)), Ok(()));
        assert_eq!(verdict(GET, &Retry::default()), Err(Why::Final));
        let post = Request { idempotent: false, ..GET };
        assert_eq!(verdict(post, &policy(0)), Err(Why::Unsafe));
        assert_eq!(verdict(post, &Retry { non_idempotent: true, ..policy(0) }), Ok(()));
        assert_eq!(verdict(Request { repeatable: false, ..GET }, &policy(0)), Err(Why::NotRepeatable));
        assert_eq!(verdict(Request { made: 3, ..GET }, &policy(0)), Err(Why::AttemptsUsedUp));
        assert_eq!(verdict(Request { time_left: Some(Duration::ZERO), ..GET }, &policy(0)), Err(Why::TooLate));
        let poor = Retry { budget_percent: 0, budget_min_per_second: 0, ..policy(0) };
        assert_eq!(verdict(GET, &poor), Err(Why::BudgetUsedUp));
    }

    #[test]
    fn few_latencies_make_no_percentile() {
        let (latencies, hedge) = (Latencies::default(), policy(95).hedge.unwrap());
        for _ in 1..FEWEST {
            latencies.note(Duration::from_secs(1));
        }
        assert_eq!(latencies.patience(&hedge), hedge.after);
        latencies.note(Duration::from_secs(1));
        assert_eq!(latencies.patience(&hedge), Duration::from_secs(1));
        assert_eq!(latencies.patience(&policy(0).hedge.unwrap()), hedge.after, "without a percentile");
    }

    proptest! {
        /// However requests come and fail to be answered, hedges stay within the budget, the attempts and what is safe.
        #[test]
        fn hedges_stay_within_their_bounds(
            percent in 0u32..60, floor in 0u32..20,
            requests in prop::collection::vec((any::<bool>(), any::<bool>(), 1u32..6), 1..2000),
        ) {
            let policy = Retry { budget_percent: percent, budget_min_per_second: floor, ..policy(0) };
            let (budget, start) = (Budget::default(), Instant::now());
            let mut hedges = 0u32;
            for (number, (idempotent, repeatable, made)) in requests.iter().enumerate() {
                let now = start + Duration::from_millis(number as u64);
                budget.request(now, &policy);
                let request = Request { idempotent: *idempotent, repeatable: *repeatable, made: *made, ..GET };
                if hedge(request, &policy, &budget, now).is_ok() {
                    prop_assert!(*idempotent && *repeatable && *made <= policy.attempts);
                    hedges += 1;
                }
            }
            let seconds = 1.0 + requests.len() as f64 / 1000.0;
            let allowed = requests.len() as f64 * f64::from(percent) / 100.0 + seconds * f64::from(floor) + 1.0;
            prop_assert!(f64::from(hedges) <= allowed, "{} > {}", hedges, allowed);
        }

        /// The percentile is that of the latest latencies: so many of them are not above it, and not many fewer would do.
        #[test]
        fn percentiles_are_of_the_latest(times in prop::collection::vec(0u64..1000, FEWEST..600), percent in 1u32..=99) {
            let latencies = Latencies::default();
            times.iter().for_each(|time| latencies.note(Duration::from_millis(*time)));
            let found = latencies.percentile(percent).unwrap();
            let latest: Vec<u64> = times.iter().rev().take(KEPT).copied().collect();
            let below = |time: Duration| latest.iter().filter(|t| Duration::from_millis(**t) < time).count() as f64;
            let up_to = latest.iter().filter(|t| Duration::from_millis(**t) <= found).count() as f64;
            let wanted = latest.len() as f64 * f64::from(percent) / 100.0;
            prop_assert!(up_to >= wanted && below(found) < wanted.ceil(), "{:?} of {:?}", found, latest);
        }
    }
}
