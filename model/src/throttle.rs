//! Client-side throttling: when a proxy stops asking a service that only refuses.
//!
//! Part of `TrafficPolicy`; without it nothing is held back.

use serde::{Deserialize, Serialize};

/// Adaptive throttling after the Google SRE book, chapter 21.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Throttle {
    /// K: so many requests are let through for each that the service accepts. At least 1.
    pub k: f64,
}

/// Bounds of [`Throttle::k`].
pub const K: std::ops::RangeInclusive<f64> = 1.0..=100.0;
