//! The data of what is remembered: a connection that is observed, a request of it, its tries, and how it ended.
//!
//! Below `record`, which fills it in, and below what makes spans and lines of it. Bounded: of more tries than anybody makes, the
//! first ones are kept.

use crate::cluster::Upstream;
use crate::drain::Direction;
use crate::error::Failure;
use crate::observe::{Observer, Place};
use smallvec::SmallVec;
use std::net::IpAddr;
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
    pub(super) watch: Rc<Watch>,
    pub(super) span: Option<Spanned>,
    pub(super) wall: SystemTime,
    pub(super) begun: Instant,
    /// Tries under way: one, or two while an answer is late.
    pub(super) open: SmallVec<[Opened; 1]>,
    pub(super) tries: SmallVec<[Try; 1]>,
    /// The fields of the answer, if anybody wants to see them.
    pub(super) answer: Vec<HeaderValue>,
    pub(super) _place: Place,
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

/// One try under way. Of nearly all requests there is one, which needs no memory of its own.
pub(super) struct Opened {
    pub(super) span: u64,
    pub(super) upstream: Rc<Upstream>,
    pub(super) port: u16,
    pub(super) begun: Instant,
}

/// One try that has ended.
pub(super) struct Try {
    pub(super) span: u64,
    pub(super) upstream: Rc<Upstream>,
    pub(super) port: u16,
    pub(super) begun: Instant,
    pub(super) ended: Instant,
    /// Empty: it brought the answer.
    pub(super) reason: &'static str,
    /// Of an answer that was not good enough.
    pub(super) status: Option<u16>,
}

impl Record {
    /// The try at `upstream`, or at any if there is none, has ended.
    pub(super) fn close(
        &mut self,
        upstream: Option<&Upstream>,
        reason: &'static str,
        status: Option<u16>,
        now: Instant,
    ) {
        let ended = |open: &Opened| upstream.is_none_or(|upstream| ptr::eq(&*open.upstream, upstream));
        while let Some(at) = self.open.iter().position(ended) {
            let Opened { span, upstream, port, begun } = self.open.remove(at);
            if self.tries.len() < MOST_TRIES {
                self.tries.push(Try { span, upstream, port, begun, ended: now, reason, status });
            }
        }
    }

    /// The try that brought the answer, or the last one.
    pub(super) fn decisive(&self) -> Option<&Try> {
        self.tries.iter().rev().find(|tried| tried.reason.is_empty()).or(self.tries.last())
    }

    pub(super) fn at(&self, instant: Instant) -> SystemTime {
        self.wall + instant.saturating_duration_since(self.begun)
    }
}
