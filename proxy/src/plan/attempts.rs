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
        if let Some(only) = only {
            return Ok(Rc::clone(only));
        }
        if let Some(session) = session.as_ref().filter(|_| self.made == 1) {
            return Ok(Rc::clone(session));
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
            _ => begun.end(now, failure.is_none(), self.plan.decay()),
        }
    }

    /// After a failed try: `Some(pause)` to try again.
    pub fn again(
        &mut self,
        upstream: &Rc<Upstream>,
        failure: &Failure,
        idempotent: bool,
        repeatable: bool,
    ) -> Option<Duration> {
        let Target::Service { cluster, .. } = &self.plan.target else { return None };
        self.tried.push(Rc::clone(upstream));
        let request = Request { idempotent, repeatable, made: self.made };
        let jitter = fastrand::f64();
        match retry::decide(failure, request, self.plan.retry(), &cluster.budget, Instant::now(), jitter) {
            Verdict::Retry(pause) => Some(pause.max(self.plan.rule.as_ref().map_or(Duration::ZERO, Carried::backoff))),
            Verdict::GiveUp(_) => None,
        }
    }
}
