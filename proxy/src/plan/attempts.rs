//! The tries of one request: which endpoint is next, what a failure means for the endpoint, whether there is another try.
//!
//! Between the engines, which carry tries out, and the decisions `balance` and `retry`. An endpoint that failed is not chosen
//! again while there are others.

use super::{Plan, Target};
use crate::balance::load::Begun;
use crate::breaker::Permit;
use crate::cluster::{Cluster, Upstream};
use crate::error::{Failure, Limit, Side};
use crate::retry::{self, Request, Verdict, Why};
use crate::route::Carried;
use crate::throttle::Throttle;
use fastrand::Rng;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};
use weft_model::policy::CircuitBreaker;

/// A try that failed, as far as repeating it goes.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// By its method.
    pub idempotent: bool,
    /// What has been sent of the body can be sent again.
    pub repeatable: bool,
    /// The answer's `retry-after`, if there was an answer.
    pub retry_after: Option<&'a [u8]>,
}

impl Sent<'_> {
    /// The connection was not made.
    pub const NOTHING: Self = Self { idempotent: true, repeatable: true, retry_after: None };
}

/// The tries of one request.
pub struct Attempts<'a> {
    pub(super) plan: &'a Plan,
    pub(super) tried: Vec<Rc<Upstream>>,
    pub(super) made: u32,
    /// When the request's time is over.
    deadline: Option<Instant>,
    /// Its place among the requests that are tried again.
    retrying: Option<Permit>,
}

impl<'a> Attempts<'a> {
    pub fn new(plan: &'a Plan) -> Self {
        let now = Instant::now();
        if let Target::Service { cluster, .. } = &plan.target {
            cluster.budget.request(now, plan.retry());
        }
        Self { plan, tried: Vec::new(), made: 0, deadline: plan.end(now).map(|(at, _)| at.into_std()), retrying: None }
    }

    /// How many there have been.
    pub fn made(&self) -> u32 {
        self.made
    }

    /// The endpoint for the next try: the session's on the first, otherwise the balancer's choice among those not yet
    /// tried; when all have been, among all.
    pub fn pick(&mut self, now: Instant) -> Result<Rc<Upstream>, Failure> {
        let upstream = self.choose(now)?;
        self.plan.observed.try_begins(&upstream, || self.plan.port_of(&upstream), now);
        Ok(upstream)
    }

    fn choose(&mut self, now: Instant) -> Result<Rc<Upstream>, Failure> {
        self.made += 1;
        let Target::Service { cluster, known, only, session, key, .. } = &self.plan.target else {
            let Target::Local { upstream, .. } = &self.plan.target else { return Err(Failure::NoEndpoints) };
            return Ok(Rc::clone(upstream));
        };
        if self.made == 1 && self.throttle().is_some_and(|(throttle, k)| !throttle.admits(k, now, fastrand::f64())) {
            return Err(Failure::Throttled);
        }
        if self.made == 1
            && let Some(breaker) = &known.view.policy.breaker
        {
            self.plan.place.0.set(cluster.breaker.take(Limit::Requests, breaker.max_requests)?);
        }
        if let Some(only) = only {
            return Ok(Rc::clone(only));
        }
        // A session leaves an endpoint that is ejected, and stays where it went.
        let home = session.as_ref().filter(|_| self.made == 1).and_then(|held| held.home());
        if let Some(home) = home.filter(|home| !home.load.ejected(now)) {
            return Ok(Rc::clone(home));
        }
        let tried = |upstream: &Rc<Upstream>| self.tried.iter().any(|tried| Rc::ptr_eq(tried, upstream));
        cluster.choose(tried, *key, now, &mut Rng::new()).ok_or(Failure::NoEndpoints)
    }

    /// Notes how a try at `upstream` went, also for the question whether it is to be ejected.
    pub fn ended(&self, upstream: &Upstream, begun: Begun, failure: Option<&Failure>) {
        if let Target::Service { cluster, known, .. } = &self.plan.target
            && let Some(policy) = &known.view.policy.outlier
        {
            cluster.judge(upstream, failure, policy, Instant::now());
        }
        self.plan.observed.try_ended(upstream, failure);
        self.noted(upstream, begun, failure);
    }

    /// Notes how a try went for the balancer alone: what a copy met is nothing to hold against an endpoint.
    pub fn noted(&self, upstream: &Upstream, begun: Begun, failure: Option<&Failure>) {
        let now = Instant::now();
        if let (Some(admission), None | Some(Failure::Unwelcome(_))) = (&self.plan.admission, failure) {
            admission.answered(now);
        }
        match failure {
            Some(Failure::ConnectRefused | Failure::ConnectTimeout | Failure::ConnectFailed(_)) => {
                begun.unreached(now);
                if upstream.load.given_up() {
                    self.doubt();
                }
            }
            Some(Failure::Unreached) => begun.unreached(now),
            // The mesh's own doing.
            Some(Failure::CircuitOpen(_)) => begun.abandon(now),
            // Somebody else has the address now.
            Some(Failure::PeerIdentity(_)) => {
                begun.end(now, false, self.plan.decay());
                self.doubt();
            }
            // The client was short of time, left, or sent what is no request; that says little about the endpoint.
            Some(failure) if failure.side() == Side::Client => begun.abandon(now),
            _ => begun.end(now, failure.is_none(), self.plan.decay()),
        }
    }

    /// What holds requests back, where the policy wants it, and its K. Whoever dials an endpoint itself means that one.
    fn throttle(&self) -> Option<(&Throttle, f64)> {
        let Target::Service { cluster, known, only: None, .. } = &self.plan.target else { return None };
        known.view.policy.throttle.map(|throttle| (&cluster.throttle, throttle.k))
    }

    /// Whether there is a place among the requests that are tried again, which is held from now on.
    pub(super) fn may_retry(&mut self, cluster: &Cluster, breaker: Option<&CircuitBreaker>) -> bool {
        let Some(breaker) = breaker.filter(|_| self.retrying.is_none()) else { return true };
        let taken = cluster.breaker.take(Limit::Retries, breaker.max_retries);
        taken.is_ok_and(|permit| {
            self.retrying = permit;
            true
        })
    }

    /// Until the request's time is over.
    pub(super) fn time_left(&self, now: Instant) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(now))
    }

    fn doubt(&self) {
        if let Target::Service { cluster, .. } = &self.plan.target {
            cluster.doubt();
        }
    }

    /// Whether there is another try after one that failed. Counts it, or that the budget refused it.
    pub fn again(&mut self, upstream: &Rc<Upstream>, failure: &Failure, sent: Sent<'_>) -> Verdict {
        let verdict = self.decide(upstream, failure, sent);
        if matches!(verdict, Verdict::GiveUp(_))
            && failure.is_refusal()
            && let Some((throttle, _)) = self.throttle()
        {
            throttle.refused(Instant::now());
        }
        verdict
    }

    fn decide(&mut self, upstream: &Rc<Upstream>, failure: &Failure, sent: Sent<'_>) -> Verdict {
        let Target::Service { cluster, known, .. } = &self.plan.target else { return Verdict::GiveUp(Why::Final) };
        self.tried.push(Rc::clone(upstream));
        let now = Instant::now();
        let request = Request {
            idempotent: sent.idempotent,
            repeatable: sent.repeatable,
            made: self.made,
            retry_after: sent.retry_after.and_then(|value| retry::retry_after(value, SystemTime::now())),
            time_left: self.time_left(now),
        };
        let verdict = retry::decide(failure, request, self.plan.retry(), &cluster.budget, now, fastrand::f64());
        match verdict {
            Verdict::Retry(_) if !self.may_retry(cluster, known.view.policy.breaker.as_ref()) => {
                upstream.meter.not_retried(Limit::Retries.word());
                return Verdict::GiveUp(Why::CircuitOpen);
            }
            Verdict::Retry(pause) => {
                let pause = pause.max(self.plan.rule.as_ref().map_or(Duration::ZERO, Carried::backoff));
                if !self.plan.has_time_for(pause, now) {
                    return Verdict::GiveUp(Why::Final);
                }
                upstream.meter.retried(failure.reason());
                self.plan.observed.again();
                return Verdict::Retry(pause);
            }
            Verdict::GiveUp(Why::BudgetUsedUp) => upstream.meter.not_retried(failure.reason()),
            Verdict::GiveUp(_) => {}
        }
        verdict
    }
}
