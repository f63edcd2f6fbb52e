//! The data of what is remembered: a connection that is observed, a request of it, its tries, and how it ended.
//!
//! Below `record`, which fills it in, and below what makes spans and lines of it. Bounded: of more tries than anybody makes, the
//! first ones are kept.

use crate::cluster::Upstream;
use crate::drain::Direction;
use crate::error::Failure;
use crate::observe::Observer;
use smallvec::SmallVec;
use std::net::IpAddr;
use std::ops::Deref;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use weft_proto::v1::HeaderValue;

/// Tries of one request that are told of; there are rarely more than three.
const MOST_TRIES: usize = 16;

/// The reason of a try that another one was quicker than.
pub(super) const LOST: &str = "hedge-lost";

/// One connection whose requests are observed.
pub struct Watch {
    pub observer: Arc<Observer>,
    pub direction: Direction,
    /// `name.namespace`
    pub service: String,
    /// The port that was dialled.
    pub port: u16,
    /// Who the client has proved to be.
    pub peer: Option<String>,
    pub client: Option<IpAddr>,
    /// Of HTTP.
    pub version: &'static str,
}

/// How a request ended.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    pub status: u16,
    /// In gRPC's terms, if it is gRPC.
    pub grpc: Option<u16>,
    /// Empty, unless the mesh had a hand in it.
    pub reason: &'static str,
    /// The label of the rule that matched.
    pub route: &'a str,
    /// Bytes of the bodies, towards the server and back.
    pub sent: u64,
    pub received: u64,
}

impl<'a> End<'a> {
    /// `grpc`: the request is gRPC.
    pub fn failed(failure: &Failure, route: &'a str, grpc: bool) -> Self {
        let status = if grpc { 200 } else { failure.status() };
        Self {
            status,
            grpc: grpc.then(|| failure.grpc_status()),
            reason: failure.reason(),
            route,
            sent: 0,
            received: 0,
        }
    }

    /// Nobody has had what was asked for, and it is not the client's doing.
    pub(super) fn is_error(&self) -> bool {
        // UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS: the server's, by the semantic conventions.
        let grpc = self.grpc.is_some_and(|status| matches!(status, 2 | 4 | 12 | 13 | 14 | 15));
        self.status >= 500 || grpc || !self.reason.is_empty()
    }
}

/// One request.
pub(super) struct Record {
    pub(super) watch: Watched,
    pub(super) span: Option<Spanned>,
    pub(super) wall: SystemTime,
    pub(super) begun: Instant,
    /// In the order in which they began. Of nearly all requests there is one, which needs no memory of its own.
    pub(super) tries: SmallVec<[Try; 1]>,
    /// The fields of the answer, if anybody wants to see them.
    pub(super) answer: Vec<HeaderValue>,
}

/// A connection, and a place among the requests that are recorded.
pub(super) struct Watched(Rc<Watch>);

impl Watched {
    /// `None`: too many are recorded already.
    pub(super) fn new(watch: &Rc<Watch>) -> Option<Self> {
        watch.observer.enter().then(|| Self(Rc::clone(watch)))
    }
}

impl Deref for Watched {
    type Target = Watch;

    fn deref(&self) -> &Watch {
        &self.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.observer.leave();
    }
}

/// The part of a request that its trace needs.
pub(super) struct Spanned {
    /// Its end is told of in any case.
    pub(super) sampled: bool,
    pub(super) trace: u128,
    pub(super) own: u64,
    /// The caller's span.
    pub(super) parent: Option<u64>,
    /// The span of the try that has begun last, or comes next.
    pub(super) next: u64,
}

/// One try.
pub(super) struct Try {
    pub(super) span: u64,
    pub(super) upstream: Rc<Upstream>,
    pub(super) port: u16,
    pub(super) begun: Instant,
    /// Known once it has failed, or with the end of the request.
    pub(super) ended: Instant,
    pub(super) outcome: Outcome,
    /// Of an answer that was not good enough.
    pub(super) status: Option<u16>,
}

/// How far a try has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    UnderWay,
    /// It brought the answer, which may still be coming.
    Answered,
    /// For this reason.
    Failed(&'static str),
}

impl Record {
    /// A try at `upstream` begins.
    pub(super) fn open(&mut self, upstream: Rc<Upstream>, port: u16, begun: Instant) {
        if self.tries.len() < MOST_TRIES {
            let (span, ended) = (self.span.as_ref().map_or(0, |span| span.next), begun);
            self.tries.push(Try { span, upstream, port, begun, ended, outcome: Outcome::UnderWay, status: None });
        }
    }

    /// The try under way at `upstream` has come to `outcome`.
    pub(super) fn close(&mut self, upstream: &Upstream, outcome: Outcome, status: Option<u16>) {
        let here = |tried: &&mut Try| tried.outcome == Outcome::UnderWay && ptr::eq(&*tried.upstream, upstream);
        for tried in self.tries.iter_mut().filter(here) {
            (tried.outcome, tried.status) = (outcome, status);
            // When an answer has ended is known with the end of the request.
            if outcome != Outcome::Answered {
                tried.ended = Instant::now();
            }
        }
    }

    /// The request has ended, for `reason` if it has failed: so have all tries. The answer's body belongs to the try that brought it.
    pub(super) fn finish(&mut self, reason: &'static str, now: Instant) {
        let outcome = if reason.is_empty() { Outcome::Answered } else { Outcome::Failed(reason) };
        for tried in &mut self.tries {
            if tried.outcome == Outcome::UnderWay {
                (tried.outcome, tried.ended) = (outcome, now);
            }
            if tried.outcome == Outcome::Answered {
                tried.ended = now;
            }
        }
    }

    /// The try that brought the answer, or the last one.
    pub(super) fn decisive(&self) -> Option<&Try> {
        self.tries.iter().rev().find(|tried| tried.outcome == Outcome::Answered).or(self.tries.last())
    }

    pub(super) fn at(&self, instant: Instant) -> SystemTime {
        self.wall + instant.saturating_duration_since(self.begun)
    }
}
