//! The tries of one request: which endpoint is next, what a failure means for the endpoint, whether there is another try.
//!
//! Between the engines, which carry tries out, and the decisions `balance` and `retry`. An endpoint that failed is not chosen
//! again while there are others.

use super::{Plan, Target};
use crate::balance::load::Begun;
use crate::cluster::Upstream;
use crate::error::Failure;
use crate::retry::{self, Request, Verdict};
use crate::route::Carried;
use crate::throttle::Throttle;
use fastrand::Rng;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The tries of one request.
pub struct Attempts<'a> {
    plan: &'a Plan,
    tried: Vec<Rc<Upstream>>,
    made: u32,
}

impl<'a> Attempts<'a> {
    pub fn new(plan: &'a Plan) -> Self {
        if let Target::Service { cluster, .. } = &plan.target {
            cluster.budget.request(Instant::now(), plan.retry());
        }
        Self { plan, tried: Vec::new(), made: 0 }
    }

    /// The endpoint for the next try: the session's on the first, otherwise the balancer's choice among those not yet
    /// tried; when all have been, among all.
    pub fn pick(&mut self, now: Instant) -> Result<Rc<Upstream>, Failure> {
        self.made += 1;
        let Target::Service { cluster, only, session, key, .. } = &self.plan.target else {
            let Target::Local { upstream, .. } = &self.plan.target else { return Err(Failure::NoEndpoints) };
            return Ok(Rc::clone(upstream));
        };
        if self.made == 1 && self.throttle().is_some_and(|(throttle, k)| !throttle.admits(k, now, fastrand::f64())) {
            return Err(Failure::Throttled);
        }
        if let Some(only) = only {
            return Ok(Rc::clone(only));
        }
        if let Some(home) = session.as_ref().filter(|_| self.made == 1).and_then(|held| held.home()) {
            return Ok(Rc::clone(home));
        }
        let tried = |upstream: &Rc<Upstream>| self.tried.iter().any(|tried| Rc::ptr_eq(tried, upstream));
        cluster.choose(tried, *key, now, &mut Rng::new()).ok_or(Failure::NoEndpoints)
    }

    /// Notes how a try went.
    pub fn ended(&self, begun: Begun, failure: Option<&Failure>) {
        let now = Instant::now();
        if let (Some(admission), None | Some(Failure::Unwelcome(_))) = (&self.plan.admission, failure) {
            admission.answered(now);
        }
        match failure {
            Some(
                Failure::ConnectRefused | Failure::ConnectTimeout | Failure::ConnectFailed(_) | Failure::Unreached,
            ) => {
                begun.unreached(now);
            }
            // The client was short of time; that says little about the endpoint.
            Some(Failure::DeadlineExceeded) => begun.abandon(now),
            _ => begun.end(now, failure.is_none(), self.plan.decay()),
        }
    }

    /// What holds requests back, where the policy wants it, and its K. Whoever dials an endpoint itself means that one.
    fn throttle(&self) -> Option<(&Throttle, f64)> {
        let Target::Service { cluster, known, only: None, .. } = &self.plan.target else { return None };
        known.view.policy.throttle.map(|throttle| (&cluster.throttle, throttle.k))
    }

    /// After a failed try: `Some(pause)` to try again.
    pub fn again(
        &mut self,
        upstream: &Rc<Upstream>,
        failure: &Failure,
        idempotent: bool,
        repeatable: bool,
    ) -> Option<Duration> {
        let again = self.decide(upstream, failure, idempotent, repeatable);
        if again.is_none()
            && failure.is_refusal()
            && let Some((throttle, _)) = self.throttle()
        {
            throttle.refused(Instant::now());
        }
        again
    }

    fn decide(
        &mut self,
        upstream: &Rc<Upstream>,
        failure: &Failure,
        idempotent: bool,
        repeatable: bool,
    ) -> Option<Duration> {
        let Target::Service { cluster, .. } = &self.plan.target else { return None };
        self.tried.push(Rc::clone(upstream));
        let request = Request { idempotent, repeatable, made: self.made };
        let (now, jitter) = (Instant::now(), fastrand::f64());
        let pause = match retry::decide(failure, request, self.plan.retry(), &cluster.budget, now, jitter) {
            Verdict::Retry(pause) => pause.max(self.plan.rule.as_ref().map_or(Duration::ZERO, Carried::backoff)),
            Verdict::GiveUp(_) => return None,
        };
        self.plan.has_time_for(pause, now).then_some(pause)
    }
}
