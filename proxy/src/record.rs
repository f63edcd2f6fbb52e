//! What is remembered of one request so that it can be told of when it has ended: its trace, and each of its tries.
//!
//! Between `observe`, which hears it, and `plan`, which every request has. A request that nobody asks about has an empty
//! [`Observed`]; one that is not recorded has at most the header fields that tell the next hop so. Nothing here fails.

mod entry;
mod lines;
mod logs;
mod spans;
mod tapped;

pub use entry::{End, Watch};
pub use tapped::Closed;

use crate::cluster::Upstream;
use crate::drain::Direction;
use crate::error::Failure;
use crate::observe::Tracer;
use crate::request::RequestView;
use crate::trace::{self, Decision, Outgoing};
use entry::{LOST, Outcome, Record, Spanned, Watched};
use smallvec::SmallVec;
use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::time::{Instant, SystemTime};

/// What is known of a request under way. Small, for every plan has one: empty where there is nothing to say and to record.
#[derive(Default)]
pub struct Observed(Option<Box<Noted>>);

struct Noted {
    outgoing: Option<Outgoing>,
    record: RefCell<Option<Record>>,
}

impl Watch {
    /// A request has come, at `begun`.
    pub fn begin(self: &Rc<Self>, request: &impl RequestView, begun: Instant) -> Observed {
        let (outgoing, span) = self.observer.tracer.as_ref().map_or((None, None), |tracer| self.trace(tracer, request));
        let told = span.is_some() || self.observer.access.is_some() || self.observer.taps.on();
        let watched = told.then(|| Watched::new(self)).flatten();
        if outgoing.is_none() && watched.is_none() {
            return Observed(None);
        }
        let record = watched.map(|watch| {
            let (wall, tries) = (SystemTime::now(), SmallVec::new());
            Record { watch, span, wall, begun, tries, answer: Vec::new() }
        });
        Observed(Some(Box::new(Noted { outgoing, record: RefCell::new(record) })))
    }

    /// What the next hop is told, and what is to be recorded.
    fn trace(&self, tracer: &Tracer, request: &impl RequestView) -> (Option<Outgoing>, Option<Spanned>) {
        let incoming = trace::read(request, &tracer.forms);
        let trace = incoming.parent.map_or_else(|| fastrand::u128(1..), |parent| parent.trace.get());
        let decision = tracer.sampler.decide(incoming.decision, trace);
        let parent = incoming.parent.map(|parent| parent.span.get());
        if !decision.records() && !tracer.errors {
            // What the caller has decided goes on as it came.
            let span = parent.unwrap_or_else(id);
            let outgoing = || incoming.onward(trace, span, None, decision, tracer.first());
            return ((incoming.decision != Some(decision)).then(outgoing), None);
        }
        let own = id();
        let (next, told) = match self.direction {
            Direction::Outbound => (id(), Some(own)),
            Direction::Inbound => (own, parent),
        };
        let outgoing = incoming.onward(trace, next, told, decision, tracer.first());
        (Some(outgoing), Some(Spanned { sampled: decision.records(), trace, own, parent, next }))
    }
}

/// A span's identifier; never zero.
fn id() -> u64 {
    fastrand::u64(1..)
}

impl Observed {
    /// What the head of the present try has to say, in place of what came.
    pub fn outgoing(&self) -> Option<Outgoing> {
        let noted = self.0.as_ref()?;
        let mut outgoing = noted.outgoing?;
        if let Some(span) = noted.record.borrow().as_ref().and_then(|record| record.span.as_ref()) {
            outgoing.span = span.next;
        }
        Some(outgoing)
    }

    /// Each try says something of its own.
    pub fn differs_by_try(&self) -> bool {
        let outbound = |record: &Record| record.span.is_some() && record.watch.direction == Direction::Outbound;
        self.0.as_ref().is_some_and(|noted| noted.record.borrow().as_ref().is_some_and(outbound))
    }

    /// The trace that will be found at the collector.
    pub fn sampled(&self) -> Option<u128> {
        let outgoing = self.0.as_ref()?.outgoing?;
        (outgoing.decision != Decision::Drop).then_some(outgoing.trace)
    }

    /// The record, should there be one, which nobody else is looking at.
    fn record(&self) -> Option<RefMut<'_, Record>> {
        RefMut::filter_map(self.0.as_ref()?.record.borrow_mut(), Option::as_mut).ok()
    }

    /// A try at `port` of `upstream` begins.
    pub fn try_begins(&self, upstream: &Rc<Upstream>, port: impl FnOnce() -> u16, now: Instant) {
        if let Some(mut record) = self.record().filter(|record| record.watch.direction == Direction::Outbound) {
            record.open(Rc::clone(upstream), port(), now);
        }
    }

    /// The one at `upstream` has ended; with an answer that is passed on, unless it failed.
    pub fn try_ended(&self, upstream: &Upstream, failure: Option<&Failure>) {
        if let Some(mut record) = self.record() {
            let status = match failure {
                Some(Failure::Unwelcome(status)) => Some(*status),
                _ => None,
            };
            let outcome = failure.map_or(Outcome::Answered, |failure| Outcome::Failed(failure.reason()));
            record.close(upstream, outcome, status);
        }
    }

    /// The one at `upstream` is given up, because another was quicker.
    pub fn try_lost(&self, upstream: &Upstream) {
        if let Some(mut record) = self.record() {
            record.close(upstream, Outcome::Failed(LOST), None);
        }
    }

    /// An answer is passed on; `each` goes through its fields.
    pub fn answered(&self, each: impl FnOnce(&mut dyn FnMut(&str, &[u8]))) {
        if let Some(mut record) = self.record().filter(|record| record.watch.observer.taps.headers()) {
            record.answer = tapped::fields(each);
        }
    }

    /// Another try comes next.
    pub fn again(&self) {
        if let Some(span) = self.record().as_mut().and_then(|record| record.span.as_mut()) {
            span.next = id();
        }
    }

    /// The request has ended; only the first word about that counts.
    pub fn end(&self, request: &impl RequestView, end: End<'_>) {
        let Some(noted) = &self.0 else { return };
        let mut present = noted.record.borrow_mut();
        let Some(record) = present.as_mut() else { return };
        let now = Instant::now();
        record.finish(end.reason, now);
        let (span, observer) = (record.span.take(), &record.watch.observer);
        if let (Some(span), Some(tracer)) = (&span, &observer.tracer)
            && (span.sampled || end.is_error())
        {
            spans::each(record, span, tracer, request, &end, now);
        }
        if let Some(access) = &observer.access {
            lines::tell((record, span.as_ref()), access, request, &end, now);
        }
        if observer.taps.on() {
            tapped::tell(record, span.as_ref(), request, &end, now);
        }
        *present = None;
    }
}
