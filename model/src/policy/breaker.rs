//! `circuitBreaker`: how much of a service one proxy may use at once.
//!
//! Part of a service's policy; the proxy reads it for every request. Without it nothing is bounded.

use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// Bounds on what one proxy does with one service at the same time; `None`: no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CircuitBreaker {
    /// Requests from their first try to the end of their answers.
    pub max_requests: Option<NonZeroU32>,
    /// Requests that wait for a connection.
    pub max_pending: Option<NonZeroU32>,
    /// Requests that are being tried again.
    pub max_retries: Option<NonZeroU32>,
    /// Connections, idle ones as well.
    pub max_connections: Option<NonZeroU32>,
}
