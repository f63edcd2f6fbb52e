//! `retry.hedge`: when a request that has no answer yet is sent to a second endpoint as well.
//!
//! Part of how requests are tried again, and bounded by the same attempts and budget. Without it a request is at one endpoint
//! at a time.

use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use std::time::Duration;

/// How long the answer is waited for before another endpoint is asked as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hedge {
    /// From the time at which the whole request has been sent; the least, if there is a percentile. More than zero.
    pub after: Duration,
    /// Longer than so many percent (1 to 99) of the service's latest answers took.
    #[serde(default)]
    pub percentile: Option<NonZeroU32>,
}
