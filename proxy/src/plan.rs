//! What is to become of one request, and of its attempts: where it may go, how long it may take, what is tried again.
//!
//! Stands between the stories, which make plans from route and policy, and the forwarding engines, which carry them out.
//! The same for HTTP/1 and HTTP/2. A plan is a snapshot: configuration that changes meanwhile does not touch it.

mod attempts;
mod copy;
mod ending;
mod hedge;
mod held;

pub use attempts::{Attempts, Sent};
pub use ending::{decide, within};
pub use hedge::{Open, Tried};
pub use held::Held;

use crate::affinity;
use crate::balance::hash;
use crate::breaker::Permit;
use crate::catalog::Known;
use crate::cluster::{Cluster, Upstream};
use crate::deadline::Deadline;
use crate::error::Failure;
use crate::gate::Admission;
use crate::record::{End, Observed, Watch};
use crate::request::RequestView;
use crate::route::{Carried, CompiledRule};
use crate::worker::MirrorPermit;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use weft_model::balance::LoadReports;
use weft_model::policy::{Backoff, Retry};

/// Where requests of one connection come from and what is decided about them. Implemented by `outbound` and `inbound`.
pub trait Story {
    /// Decides about one request.
    fn plan(&self, request: &impl RequestView) -> impl Future<Output = Result<Planned, Failure>>;
    /// Field lines that the mesh adds to every request, each ended by CRLF; the same names have been removed from what the client sent.
    fn added(&self) -> &[(&'static str, String)];
    /// Fields a client must not be able to set.
    fn removed(&self) -> &'static [&'static str];
    /// The bounds in force.
    fn limits(&self) -> &Limits;
    /// Answers should ask the client to leave.
    fn draining(&self) -> bool;
    /// Completes when draining begins.
    fn wait_draining(&self) -> impl Future<Output = ()>;
    /// Completes when draining has come so far that idle connections end.
    fn wait_closed(&self) -> impl Future<Output = ()>;
    /// Counts a request that never got a plan.
    fn refused(&self, protocol: &'static str, failure: &Failure, took: Duration);
    /// Who is told of this connection's requests. `None`: nobody.
    fn watch(&self) -> Option<&Rc<Watch>>;
    /// Counts a copy for a mirror that was not sent.
    fn mirror_dropped(&self);
}

/// Bounds that hold for every request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub header_timeout: Duration,
    pub max_head: usize,
}

/// Who may serve the request.
pub enum Target {
    /// The application beside this proxy.
    Local { upstream: Rc<Upstream>, port: u16 },
    /// The endpoints of a service.
    Service {
        cluster: Rc<Cluster>,
        known: Arc<Known>,
        /// Index into the service's ports.
        port: usize,
        /// Dialled by its own address: this endpoint or none.
        only: Option<Rc<Upstream>>,
        /// The client's session, should it be kept.
        session: Option<Box<Held>>,
        /// What a balancer that hashes finds the endpoint by.
        key: Option<u64>,
    },
}

/// The decision about one request.
pub enum Planned {
    Forward(Plan),
    Redirect(Redirected),
}

/// A request that a rule answers itself.
pub struct Redirected {
    pub rule: Arc<CompiledRule>,
    pub location: String,
    /// The service that was dialled.
    pub cluster: Rc<Cluster>,
}

impl Redirected {
    pub fn status(&self) -> u16 {
        self.rule.redirect.as_ref().map_or(302, |redirect| redirect.status)
    }

    /// As it is told of.
    pub fn end(&self) -> End<'_> {
        End { status: self.status(), grpc: None, reason: "", route: &self.rule.label, sent: 0, received: 0 }
    }

    /// Counts the request.
    pub fn count(&self, took: Duration) {
        self.cluster.unserved.record(&self.rule.label, self.status(), "", took);
    }
}

/// Where a request goes, and how.
pub struct Plan {
    pub target: Target,
    pub rule: Option<Carried>,
    /// Copies of it.
    pub mirrors: Vec<Mirrored>,
    /// The whole request.
    pub request_timeout: Option<Duration>,
    /// What the client says of the same.
    pub deadline: Option<Deadline>,
    /// One attempt, to the response head.
    pub try_timeout: Option<Duration>,
    /// Held until the request has ended, where its number is limited.
    pub admission: Option<Box<Admission>>,
    /// The request's place among those of the service, from its first try to the end of its answer.
    pub place: Place,
    /// What will be told of the request.
    pub observed: Observed,
}

/// Taken with the first try.
#[derive(Default)]
pub struct Place(Cell<Option<Permit>>);

/// A copy of a request, which nobody waits for.
pub struct Mirrored {
    pub plan: Plan,
    /// Of the rule that asks for it.
    pub label: Arc<CompiledRule>,
    /// Its place among the copies under way.
    pub permit: MirrorPermit,
}

/// Nothing is repeated towards the application next door: the client's proxy decides about that.
static NO_RETRY: Retry = Retry {
    attempts: 0,
    non_idempotent: false,
    statuses: Vec::new(),
    per_try_timeout: None,
    replay_bytes: 0,
    budget_percent: 0,
    budget_min_per_second: 0,
    backoff: Backoff::DEFAULT,
    hedge: None,
};

/// How long the application next door may take to accept a connection.
const LOCAL_CONNECT: Duration = Duration::from_secs(5);

impl Plan {
    pub fn retry(&self) -> &Retry {
        if let Some(retry) = self.rule.as_ref().and_then(|rule| rule.retry.as_deref()) {
            return retry;
        }
        match &self.target {
            Target::Local { .. } => &NO_RETRY,
            Target::Service { known, .. } => &known.view.policy.retry,
        }
    }

    pub fn connect_timeout(&self) -> Duration {
        match &self.target {
            Target::Local { .. } => LOCAL_CONNECT,
            Target::Service { known, .. } => known.view.policy.timeouts.connect,
        }
    }

    /// The application's answer, which the mesh's own fields must not come in with.
    pub fn is_local(&self) -> bool {
        matches!(self.target, Target::Local { .. })
    }

    /// What the mesh tells the client in the answer's head.
    pub fn told(&self) -> &[(&'static str, String)] {
        self.admission.as_ref().map_or(&[], |admission| &admission.told)
    }

    /// How long the balancer remembers a latency.
    pub fn decay(&self) -> Duration {
        match &self.target {
            Target::Local { .. } => LOCAL_CONNECT,
            Target::Service { known, .. } => known.view.policy.balancer.decay(),
        }
    }

    /// Hashed by what the policy names, as far as `request` has it.
    pub fn keyed_by(mut self, request: &impl RequestView) -> Self {
        if let Target::Service { known, key, .. } = &mut self.target
            && let Some(on) = known.view.policy.balancer.hash_key()
        {
            *key = key.or_else(|| affinity::key(request, on, hash::of));
        }
        self
    }

    /// Where `upstream` listens for this request.
    pub fn port_of(&self, upstream: &Upstream) -> u16 {
        match &self.target {
            Target::Local { port, .. } => *port,
            Target::Service { known, port, .. } => upstream.endpoint.port_for(&known.view.service.ports[*port]).get(),
        }
    }

    /// The header field that keeps the client's session with `upstream`, which serves it, unless it has that already.
    pub fn session_field(&self, upstream: &Rc<Upstream>) -> Option<(&str, String)> {
        match &self.target {
            Target::Service { session: Some(held), only: None, .. } => held.field(upstream),
            _ => None,
        }
    }

    /// On which terms backends' load reports are taken in, and taken out of their answers.
    pub fn load_reports(&self) -> Option<&LoadReports> {
        match &self.target {
            Target::Service { known, .. } => known.view.policy.spread.load_reports.as_ref(),
            Target::Local { .. } => None,
        }
    }

    /// Counts a request that ended without any endpoint.
    pub fn unserved(&self, failure: &Failure, took: Duration) {
        let meter = match &self.target {
            Target::Local { upstream, .. } => &upstream.meter,
            Target::Service { cluster, .. } => &cluster.unserved,
        };
        meter.record_traced(self.route(), failure.status(), failure.reason(), took, self.observed.sampled());
    }

    /// The same of one whose end is told of, too; `grpc`: it is gRPC.
    pub fn failed(&self, request: &impl RequestView, failure: &Failure, grpc: bool, took: Duration) {
        self.unserved(failure, took);
        self.observed.end(request, End::failed(failure, self.route(), grpc));
    }

    /// The label of the rule that matched.
    pub fn route(&self) -> &str {
        self.rule.as_ref().map_or("", Carried::label)
    }
}
