//! `TrafficPolicy`: how requests to a service are balanced, kept together, retried and timed out.
//!
//! Attached to a service's view; the proxy reads it for every request. Every value has a default, so that a service
//! without a policy behaves well; the defaults stand here and nowhere else.

mod breaker;
mod hedge;
mod outlier;

pub use breaker::CircuitBreaker;
pub use hedge::Hedge;
pub use outlier::{OutlierDetection, SuccessRate};

use crate::balance::LoadReports;
use crate::faults::Faults;
use crate::health::HealthCheck;
use crate::limits::Limits;
use crate::session::Session;
use crate::throttle::Throttle;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use std::time::Duration;

/// The policy in force for one service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TrafficPolicy {
    pub balancer: Balancer,
    pub spread: Spread,
    pub affinity: Option<Session>,
    pub retry: Retry,
    pub timeouts: Timeouts,
    pub health_check: Option<HealthCheck>,
    pub throttle: Option<Throttle>,
    pub limits: Limits,
    pub faults: Option<Faults>,
    /// `None`: nobody is ejected.
    pub outlier: Option<OutlierDetection>,
    /// `None`: nothing is bounded.
    pub breaker: Option<CircuitBreaker>,
}

/// How an endpoint is chosen. All of them heed the endpoints' weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balancer {
    /// Two random choices; the one with the lower peak-EWMA latency times requests in flight wins. `decay` is the time in
    /// which an observation loses all but 1/e of its weight.
    P2cEwma {
        decay: Duration,
    },
    /// Of `choices` (1 or more) random endpoints the one with the fewest requests in flight.
    LeastRequest {
        choices: u32,
    },
    /// In turn, smoothly by weight.
    RoundRobin,
    Random,
    /// Consistent hashing on a ring of at most `points` points.
    RingHash {
        on: HashKey,
        points: u32,
    },
    /// Consistent hashing by Maglev's table of `size` entries, which [`is_table_size`].
    Maglev {
        on: HashKey,
        size: u32,
    },
    /// The nearest endpoint that has fewer than `max_in_flight` requests in flight from one worker of a proxy, times its
    /// weight; those of the same distance as by [`Balancer::default`].
    Nearest {
        max_in_flight: NonZeroU32,
    },
    /// Endpoints are asked all the time how busy they are, `probes` (1 or more) of them for every request; the request goes
    /// to the best of the latest answers (Prequal, NSDI 2024).
    Prequal {
        probes: u32,
    },
}

impl Default for Balancer {
    fn default() -> Self {
        Self::P2cEwma { decay: DECAY }
    }
}

const DECAY: Duration = Duration::from_secs(10);

impl Balancer {
    /// How long latencies are remembered, whether the choice depends on them or not.
    pub fn decay(&self) -> Duration {
        match self {
            Self::P2cEwma { decay } => *decay,
            _ => DECAY,
        }
    }

    /// What requests are told apart by.
    pub fn hash_key(&self) -> Option<&HashKey> {
        match self {
            Self::RingHash { on, .. } | Self::Maglev { on, .. } => Some(on),
            _ => None,
        }
    }

    /// Its name in documents.
    pub fn name(&self) -> &'static str {
        match self {
            Self::P2cEwma { .. } => "p2c-ewma",
            Self::LeastRequest { .. } => "least-request",
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::RingHash { .. } => "ring-hash",
            Self::Maglev { .. } => "maglev",
            Self::Nearest { .. } => "nearest",
            Self::Prequal { .. } => "prequal",
        }
    }
}

/// Bounds of [`Balancer::RingHash`]'s points.
pub const RING_POINTS: std::ops::RangeInclusive<u32> = 1024..=1_048_576;
/// Bounds of [`Balancer::Maglev`]'s table.
pub const TABLE_SIZES: std::ops::RangeInclusive<u32> = 251..=1_048_573;

/// Whether Maglev's table may have that many entries: a prime within bounds, so that every step reaches every entry.
pub fn is_table_size(size: u32) -> bool {
    let divided = |by: u32| size.is_multiple_of(by);
    TABLE_SIZES.contains(&size) && !(2..=size.isqrt()).any(divided)
}

/// The part of a request by which consistent hashing tells sessions apart. Requests that lack it are balanced as by
/// [`Balancer::default`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HashKey {
    /// The address of the client's end of the connection.
    SourceAddress,
    /// The value of this header (lower case).
    Header(String),
    Cookie(String),
    QueryParam(String),
}

/// Which endpoints a balancer chooses among.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Spread {
    /// When fewer than so many percent of the endpoints are usable, all are used: better some failures than the few
    /// overrun. 0: never.
    pub panic_percent: u32,
    /// New endpoints come to their full weight within this time.
    pub slow_start: Option<Duration>,
    /// Each client uses so many of the endpoints.
    pub subset: Option<NonZeroU32>,
    /// Endpoints of the proxy's own zone come first.
    pub zone: Option<ZonePreference>,
    /// Zones in the order in which they are used; those that are not named come last. Empty: zones are all the same.
    pub failover: Vec<String>,
    /// Consistent hashing: no endpoint is given more than so many percent (over 100) of its fair share of what is in flight.
    pub max_load_percent: Option<NonZeroU32>,
    /// Weights follow what backends say of themselves.
    pub load_reports: Option<LoadReports>,
}

/// How long a zone keeps its own traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZonePreference {
    /// An endpoint that has so many requests in flight from one worker of a proxy, times its weight, has no headroom left.
    pub max_in_flight: NonZeroU32,
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
    pub backoff: Backoff,
    /// `None`: a request is at one endpoint at a time.
    pub hedge: Option<Hedge>,
}

/// How long to wait before a try after the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Backoff {
    /// Pauses are random, below a bound that starts from this and doubles with every try ...
    pub base: Duration,
    /// ... up to this.
    pub max: Duration,
    /// An answer's `retry-after` is waited for up to this.
    pub max_retry_after: Duration,
}

impl Backoff {
    pub const DEFAULT: Self = Self {
        base: Duration::from_millis(20),
        max: Duration::from_millis(250),
        max_retry_after: Duration::from_secs(1),
    };
}

impl Default for Backoff {
    fn default() -> Self {
        Self::DEFAULT
    }
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
            backoff: Backoff::default(),
            hedge: None,
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
