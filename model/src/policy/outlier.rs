//! `outlierDetection`: when an endpoint that answers badly is left out for a while, for how long, and how many may be.
//!
//! Part of a service's policy; the proxy reads it when a try has ended. Without it nobody is ejected. The defaults, and what
//! the words mean, are Envoy's.

use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use std::time::Duration;

/// Ejection by what an endpoint's answers were like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutlierDetection {
    /// So many answers 502, 503 or 504 (gRPC: UNAVAILABLE) in a row; `None`: not judged by them.
    pub gateway_errors: Option<NonZeroU32>,
    /// So many times in a row not reached, cut off before an answer, or no answer within the time for a try.
    pub local_failures: Option<NonZeroU32>,
    /// Compares the endpoints of the service with each other.
    pub success_rate: Option<SuccessRate>,
    /// How often success rates are compared, and the time without ejection that takes one off the count of ejections.
    pub interval: Duration,
    /// The first ejection's time; the n-th in a row lasts n times as long ...
    pub base_time: Duration,
    /// ... but no longer than this.
    pub max_time: Duration,
    /// At most this share of the endpoints is out at once, but one always may be.
    pub max_percent: u32,
}

impl Default for OutlierDetection {
    fn default() -> Self {
        Self {
            gateway_errors: NonZeroU32::new(5),
            local_failures: NonZeroU32::new(5),
            success_rate: None,
            interval: Duration::from_secs(10),
            base_time: Duration::from_secs(30),
            max_time: Duration::from_secs(300),
            max_percent: 10,
        }
    }
}

/// An endpoint is out when its rate is below the mean of all by more than a multiple of their standard deviation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SuccessRate {
    /// Fewer endpoints with enough requests are not compared.
    pub min_endpoints: u32,
    /// Endpoints with fewer requests in the interval are not judged.
    pub min_requests: u32,
    /// The multiple, in thousandths.
    pub deviations: u32,
}

impl Default for SuccessRate {
    fn default() -> Self {
        Self { min_endpoints: 5, min_requests: 100, deviations: 1900 }
    }
}
