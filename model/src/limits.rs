//! `limits` of a `TrafficPolicy`: what a service's endpoints take at most.
//!
//! Carried out by the sidecar beside each endpoint, for that endpoint: a service of ten endpoints takes ten times as much.
//! Without limits nothing is refused.

use crate::route::Match;
use crate::{Port, ServiceName};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use std::time::Duration;

/// What one endpoint takes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// All that match a request have to admit it.
    pub rate: Vec<RateLimit>,
    pub concurrency: Option<Concurrency>,
    /// Connections that clients may have open at once.
    pub connections: Option<NonZeroU32>,
}

/// What one service of a workload takes there, as the proxy beside it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceLimits {
    pub service: ServiceName,
    /// Where the workload listens for it.
    pub ports: Vec<Port>,
    pub limits: Limits,
}

/// `requests` in each `per`, for each client that `key` tells apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// A DNS label.
    pub name: String,
    pub requests: NonZeroU32,
    /// Whole seconds, at least one.
    pub per: Duration,
    /// So many may come at once after a pause.
    pub burst: NonZeroU32,
    pub key: RateKey,
    /// Requests that one of these matches; none: all requests.
    pub matches: Vec<Match>,
}

/// Who shares a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RateKey {
    /// All clients together.
    Service,
    /// Clients of one SPIFFE identity; a client without a sidecar counts by its address.
    Identity,
    /// Clients at one IP address.
    Address,
}

/// How many requests may be under way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Concurrency {
    Fixed {
        max: NonZeroU32,
    },
    /// Found out from latencies, between these.
    Adaptive {
        min: NonZeroU32,
        max: NonZeroU32,
    },
}
