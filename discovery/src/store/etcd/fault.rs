//! What an error of etcd's client means: an answer from etcd, or the lack of one.
//!
//! Decides whether another member may be asked, and whether a commit that failed may have taken effect all the same.
//! What is not known is taken for the worse case.

use super::tls::explain;
use crate::store::{LeaseId, StoreError};
use etcd_client::Error;
use std::error::Error as _;
use tonic::{Code, ConnectError, Status};

/// A failed call.
#[derive(Debug)]
pub(super) enum Fault {
    /// etcd's answer; no other member would say anything else.
    Answer(StoreError),
    /// The member is away and the request never reached it, or it refused to begin.
    NotDone(String),
    /// No answer: the request may or may not have been carried out.
    Unknown(String),
}

impl Fault {
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::GRpcStatus(status) => Self::of_status(status),
            // The client's way of saying that a lease is gone.
            Error::LeaseKeepAliveError(text) if text == "lease not found" => {
                Self::Answer(StoreError::LeaseGone(LeaseId(0)))
            }
            Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::InvalidMetadataValue(_) => {
                Self::Answer(StoreError::Open(error.to_string()))
            }
            other => Self::Unknown(other.to_string()),
        }
    }

    fn of_status(status: &Status) -> Self {
        // The texts are etcd's (api/v3rpc/rpctypes/error.go); several meanings share a code.
        let text = status.message();
        let says = |part: &str| text.contains(part);
        match status.code() {
            Code::OutOfRange if says("has been compacted") => Self::Answer(StoreError::Compacted { oldest: 0 }),
            Code::OutOfRange => Self::Answer(StoreError::Invalid(text.to_owned())),
            Code::NotFound if says("lease not found") => Self::Answer(StoreError::LeaseGone(LeaseId(0))),
            Code::InvalidArgument if says("request is too large") => {
                Self::Answer(StoreError::TooLarge { key: String::new(), size: 0, limit: crate::store::COMMIT_LIMIT })
            }
            // Of a log-in; of a call that follows one with a wrong name or password etcd says it likewise.
            Code::InvalidArgument if says("authentication failed") || says("user name is empty") => {
                let advice = "see --store-user and --store-password-file";
                Self::Answer(StoreError::Unavailable(format!("etcd refuses this user: {text}; {advice}")))
            }
            Code::InvalidArgument => Self::Answer(StoreError::Invalid(text.to_owned())),
            Code::Unauthenticated | Code::PermissionDenied => {
                let advice = "see --store-user and --store-password-file";
                Self::Answer(StoreError::Unavailable(format!("etcd refuses this user: {text}; {advice}")))
            }
            Code::ResourceExhausted if says("database space exceeded") => Self::Answer(StoreError::Unavailable(
                "etcd's space quota is used up: compact, defragment and disarm its alarm".to_owned(),
            )),
            Code::ResourceExhausted if says("too many requests") => Self::NotDone(text.to_owned()),
            Code::Unavailable if says("no leader") => Self::NotDone(text.to_owned()),
            _ if never_sent(status) => Self::NotDone(innermost(status)),
            code => match explain(status) {
                // A server of TLS 1.3 says only after the handshake that it does not take the certificate.
                Some((reason, true)) => Self::NotDone(reason),
                Some((reason, false)) => Self::Unknown(reason),
                None if text.is_empty() => Self::Unknown(code.to_string()),
                None if status.source().is_none() => Self::Unknown(text.to_owned()),
                None => Self::Unknown(innermost(status)),
            },
        }
    }
}

/// What really happened, beneath the layers that say "transport error".
fn innermost(status: &Status) -> String {
    let mut cause: &dyn std::error::Error = status;
    while let Some(error) = cause.source() {
        cause = error;
    }
    cause.to_string()
}

/// Whether no connection was made at all.
fn never_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
