//! A request at two endpoints at once: whether and when there is a second one, and whose answer counts.
//!
//! Between the engines, which carry both tries out, and the decision `retry::hedge`. The first answer that is worth passing on
//! wins; the other try is dropped, which ends its stream or connection, and nothing is held against its endpoint.

use super::attempts::{Attempts, Sent};
use super::{Plan, Target};
use crate::balance::load::Begun;
use crate::cluster::Upstream;
use crate::error::{Failure, RetrySafety};
use crate::retry::{self, Request, Why};
use fastrand::Rng;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A try under way.
pub struct Open {
    pub upstream: Rc<Upstream>,
    begun: Begun,
    since: Instant,
}

/// What became of one try, or of two at once.
pub struct Tried<A> {
    pub upstream: Rc<Upstream>,
    pub result: Result<A, Failure>,
    /// What is wrong with the result, even if it is an answer.
    pub failure: Option<Failure>,
}

impl Open {
    /// At `upstream`, from now on.
    pub fn at(upstream: Rc<Upstream>) -> Self {
        let since = Instant::now();
        Self { begun: upstream.load.begin(since), since, upstream }
    }
}

impl Plan {
    /// How long a request that has been sent whole waits for its answer before another endpoint is asked as well; `None`: for as
    /// long as it takes. Nobody stands in for an endpoint that was dialled itself, or that has the client's session.
    pub fn patience(&self, idempotent: bool) -> Option<Duration> {
        let Target::Service { cluster, only: None, session, .. } = &self.target else { return None };
        let retry = self.retry();
        let hedge = retry.hedge.as_ref().filter(|_| retry.attempts > 0 && (idempotent || retry.non_idempotent))?;
        let at_home = session.as_ref().is_some_and(|held| held.home().is_some());
        (!at_home).then(|| cluster.latencies.patience(hedge))
    }
}

impl Attempts<'_> {
    /// Another endpoint for a request that `late` has not answered in time, if there is one and there may be another try. Counts
    /// the try, or that the budget refused it.
    pub fn rival(&mut self, late: &Open, sent: Sent<'_>) -> Option<Open> {
        let Target::Service { cluster, known, key, .. } = &self.plan.target else { return None };
        let now = Instant::now();
        let passed = |upstream: &Rc<Upstream>| {
            Rc::ptr_eq(upstream, &late.upstream) || self.tried.iter().any(|tried| Rc::ptr_eq(tried, upstream))
        };
        let rival = cluster.choose(passed, *key, now, &mut Rng::new()).filter(|rival| !passed(rival))?;
        let request = Request {
            idempotent: sent.idempotent,
            repeatable: sent.repeatable,
            made: self.made,
            retry_after: None,
            time_left: self.time_left(now),
        };
        match retry::hedge(request, self.plan.retry(), &cluster.budget, now) {
            Ok(()) if self.may_retry(cluster, known.view.policy.breaker.as_ref()) => {
                self.made += 1;
                late.upstream.meter.hedged();
                self.plan.observed.again();
                self.plan.observed.try_begins(&rival, || self.plan.port_of(&rival), now);
                Some(Open::at(rival))
            }
            Ok(()) | Err(Why::BudgetUsedUp) => {
                late.upstream.meter.not_retried("hedge");
                None
            }
            Err(_) => None,
        }
    }

    /// Notes how a try has ended; `judge` finds what is wrong with an answer.
    pub fn settle<A>(
        &self,
        open: Open,
        result: Result<A, Failure>,
        judge: impl FnOnce(&Upstream, &A) -> Option<Failure>,
    ) -> Tried<A> {
        let Open { upstream, begun, since } = open;
        let failure = match &result {
            Ok(answer) => judge(&upstream, answer),
            Err(failure) => Some(failure.clone()),
        };
        if failure.is_none() {
            self.took(since);
        }
        self.ended(&upstream, begun, failure.as_ref());
        Tried { upstream, result, failure }
    }

    /// Waits for the better of two tries. One that failed in a way that another try could mend leaves it to the other; when both
    /// have, an answer is worth more than none.
    pub async fn race<A>(
        &mut self,
        (late, first): (Open, impl Future<Output = Result<A, Failure>>),
        (rival, second): (Open, impl Future<Output = Result<A, Failure>>),
        judge: impl Fn(&Upstream, &A) -> Option<Failure>,
    ) -> Tried<A> {
        let (mut first, mut second) = (pin!(first), pin!(second));
        let (late_first, result) = tokio::select! {
            biased;
            result = &mut first => (true, result),
            result = &mut second => (false, result),
        };
        let (done, open) = if late_first { (late, rival) } else { (rival, late) };
        let one = self.settle(done, result, &judge);
        if one.failure.as_ref().is_none_or(|failure| retry::is_final(failure, self.plan.retry())) {
            if !late_first && one.failure.is_none() {
                one.upstream.meter.hedge_won();
            }
            // It would have taken longer than this.
            self.took(open.since);
            self.plan.observed.try_lost(&open.upstream);
            open.begun.abandon(Instant::now());
            return one;
        }
        let result = if late_first { second.await } else { first.await };
        let other = self.settle(open, result, judge);
        if late_first && other.failure.is_none() {
            other.upstream.meter.hedge_won();
        }
        let (kept, passed) = match (&one.result, &other.result) {
            (Ok(_), Err(failure)) if failure.safety() != RetrySafety::Never => (one, other),
            _ => (other, one),
        };
        self.tried.push(passed.upstream);
        kept
    }

    /// An answer took, or would have taken, the time since then.
    fn took(&self, since: Instant) {
        let Target::Service { cluster, .. } = &self.plan.target else { return };
        if self.plan.retry().hedge.is_some_and(|hedge| hedge.percentile.is_some()) {
            cluster.latencies.note(since.elapsed());
        }
    }
}
