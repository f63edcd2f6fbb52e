//! What keeps trouble small: outlier detection, circuit breaking, hedging and the pauses between tries.
//!
//! Parts of a policy. Refuses times of zero and shares that are none, which would make a proxy eject for ever or for nothing.

use super::policy::positive;
use super::{ConvertError, Result, micros};
use crate::v1;
use std::num::NonZeroU32;
use weft_model::policy::{Backoff, CircuitBreaker, Hedge, OutlierDetection, SuccessRate};

impl From<&OutlierDetection> for v1::OutlierDetection {
    fn from(outlier: &OutlierDetection) -> Self {
        Self {
            gateway_errors: outlier.gateway_errors.map_or(0, NonZeroU32::get),
            local_failures: outlier.local_failures.map_or(0, NonZeroU32::get),
            success_rate: outlier.success_rate.as_ref().map(|rate| v1::SuccessRate {
                min_endpoints: rate.min_endpoints,
                min_requests: rate.min_requests,
                deviations: rate.deviations,
            }),
            interval_us: micros(outlier.interval),
            base_time_us: micros(outlier.base_time),
            max_time_us: micros(outlier.max_time),
            max_percent: outlier.max_percent,
        }
    }
}

impl TryFrom<v1::OutlierDetection> for OutlierDetection {
    type Error = ConvertError;

    fn try_from(wire: v1::OutlierDetection) -> Result<Self> {
        if !(1..=100).contains(&wire.max_percent) {
            return Err(ConvertError::new("max_percent", format!("{} is not a share (1 to 100)", wire.max_percent)));
        }
        Ok(Self {
            gateway_errors: NonZeroU32::new(wire.gateway_errors),
            local_failures: NonZeroU32::new(wire.local_failures),
            success_rate: wire.success_rate.map(|rate| SuccessRate {
                min_endpoints: rate.min_endpoints,
                min_requests: rate.min_requests,
                deviations: rate.deviations,
            }),
            interval: positive("interval_us", wire.interval_us)?,
            base_time: positive("base_time_us", wire.base_time_us)?,
            max_time: positive("max_time_us", wire.max_time_us)?,
            max_percent: wire.max_percent,
        })
    }
}

impl From<&CircuitBreaker> for v1::CircuitBreaker {
    fn from(breaker: &CircuitBreaker) -> Self {
        let wire = |bound: Option<NonZeroU32>| bound.map_or(0, NonZeroU32::get);
        Self {
            max_requests: wire(breaker.max_requests),
            max_pending: wire(breaker.max_pending),
            max_retries: wire(breaker.max_retries),
            max_connections: wire(breaker.max_connections),
        }
    }
}

impl From<v1::CircuitBreaker> for CircuitBreaker {
    fn from(wire: v1::CircuitBreaker) -> Self {
        Self {
            max_requests: NonZeroU32::new(wire.max_requests),
            max_pending: NonZeroU32::new(wire.max_pending),
            max_retries: NonZeroU32::new(wire.max_retries),
            max_connections: NonZeroU32::new(wire.max_connections),
        }
    }
}

impl From<&Hedge> for v1::Hedge {
    fn from(hedge: &Hedge) -> Self {
        Self { after_us: micros(hedge.after), percentile: hedge.percentile.map_or(0, NonZeroU32::get) }
    }
}

impl TryFrom<v1::Hedge> for Hedge {
    type Error = ConvertError;

    fn try_from(wire: v1::Hedge) -> Result<Self> {
        if wire.percentile > 99 {
            return Err(ConvertError::new("percentile", format!("{} is not a percentile (1 to 99)", wire.percentile)));
        }
        Ok(Self { after: positive("after_us", wire.after_us)?, percentile: NonZeroU32::new(wire.percentile) })
    }
}

impl From<&Backoff> for v1::Backoff {
    fn from(backoff: &Backoff) -> Self {
        Self {
            base_us: micros(backoff.base),
            max_us: micros(backoff.max),
            max_retry_after_us: micros(backoff.max_retry_after),
        }
    }
}

impl TryFrom<v1::Backoff> for Backoff {
    type Error = ConvertError;

    fn try_from(wire: v1::Backoff) -> Result<Self> {
        Ok(Self {
            base: positive("base_us", wire.base_us)?,
            max: positive("max_us", wire.max_us)?,
            // 0: the header is not waited for.
            max_retry_after: std::time::Duration::from_micros(wire.max_retry_after_us),
        })
    }
}
