//! `faults` of a `TrafficPolicy`: failures that are made on purpose, to see how clients take them.
//!
//! Carried out by the client's sidecar, before an endpoint is chosen. Without a policy that asks for them there are none.

use crate::route::Match;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What happens to requests that one of `matches` matches; without any, to all requests. A delay comes before an abort.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    pub delay: Option<Delay>,
    pub abort: Option<Abort>,
    pub matches: Vec<Match>,
}

/// `percent` (1 to 100) of the requests wait for `duration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delay {
    pub percent: u32,
    pub duration: Duration,
}

/// `percent` (1 to 100) of the requests are answered with `answer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abort {
    pub percent: u32,
    pub answer: Answer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// 400 to 599; gRPC clients get the code that belongs to it.
    Status(u16),
    /// 1 to 16, for gRPC requests only.
    GrpcStatus(u16),
}
