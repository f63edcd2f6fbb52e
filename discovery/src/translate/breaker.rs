//! `circuitBreaker` of a `TrafficPolicy`: how much of a service one proxy may use at once.
//!
//! Part of the policy's translation. What is left out is not bounded.

use super::fault::Faults;
use super::field;
use serde::Deserialize;
use std::num::NonZeroU32;
use weft_model::policy::CircuitBreaker;

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CircuitBreakerSpec {
    /// Requests that one proxy has under way, from the first try to the end of the answer, 1 to 1000000. Left out: no bound.
    max_requests: Option<i64>,
    /// Requests of one proxy that wait for a connection, 1 to 1000000. Left out: no bound.
    max_pending_requests: Option<i64>,
    /// Requests that one proxy is trying again, 1 to 1000000. Left out: no bound but the retry budget.
    max_retries: Option<i64>,
    /// Connections of one proxy, idle ones as well, 1 to 1000000. Left out: no bound.
    max_connections: Option<i64>,
}

pub fn translate(spec: &CircuitBreakerSpec, faults: &mut Faults) -> CircuitBreaker {
    let mut bound = |given: Option<i64>, name: &str| {
        let at = format!("spec.circuitBreaker.{name}");
        field::number(given?, 1, 1_000_000, at, faults).and_then(NonZeroU32::new)
    };
    CircuitBreaker {
        max_requests: bound(spec.max_requests, "maxRequests"),
        max_pending: bound(spec.max_pending_requests, "maxPendingRequests"),
        max_retries: bound(spec.max_retries, "maxRetries"),
        max_connections: bound(spec.max_connections, "maxConnections"),
    }
}
