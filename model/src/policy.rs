//! `TrafficPolicy`: how requests to a service are balanced, kept together, retried and timed out.
//!
//! Attached to a service's view; the proxy reads it for every request. Every value has a default, so that a service
//! without a policy behaves well; the defaults stand here and nowhere else.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The policy in force for one service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TrafficPolicy {
    pub balancer: Balancer,
    pub affinity: Option<CookieAffinity>,
    pub retry: Retry,
    pub timeouts: Timeouts,
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balancer {
    /// Two random choices; the one with the lower peak-EWMA latency times requests in flight wins. `decay` is the time in
    /// which an observation loses all but 1/e of its weight.
    P2cEwma { decay: Duration },
}

impl Default for Balancer {
    fn default() -> Self {
        Self::P2cEwma { decay: Duration::from_secs(10) }
    }
}

/// A cookie that names the endpoint that first served the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CookieAffinity {
    pub name: String,
    /// `None`: a session cookie.
    pub ttl: Option<Duration>,
}

/// Which failures are tried again, and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retry {
    /// Tries after the first; 0 turns retries off, also those that are always safe.
    pub attempts: u32,
    /// The user declares that every request may be repeated, whatever its method (RFC 9110 section 9.2.2 otherwise decides).
    pub non_idempotent: bool,
    /// Status codes that are worth another try.
    pub statuses: Vec<u16>,
    /// One try's share of time, from sending to the response head.
    pub per_try_timeout: Option<Duration>,
    /// Request bodies up to this many bytes are kept for a replay.
    pub replay_bytes: usize,
    /// Retries may be at most this share of requests, in percent ...
    pub budget_percent: u32,
    /// ... plus this many per second.
    pub budget_min_per_second: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 2,
            non_idempotent: false,
            statuses: vec![502, 503, 504],
            per_try_timeout: None,
            replay_bytes: 64 * 1024,
            budget_percent: 20,
            budget_min_per_second: 10,
        }
    }
}

/// Bounds on waiting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timeouts {
    /// TCP and TLS handshakes to an endpoint.
    pub connect: Duration,
    /// A whole request, unless its route says otherwise; `None` leaves it to the client.
    pub request: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(1), request: None }
    }
}
