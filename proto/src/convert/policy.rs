//! Traffic policies and their parts.
//!
//! A part that is missing stands for the model's default, so that an older discovery does not change what newer proxies
//! do by default. Refuses statuses that no response can have.

use super::{ConvertError, Result, micros, some_duration, some_micros, statuses};
use crate::v1;
use std::time::Duration;
use weft_model::faults::Faults;
use weft_model::health::HealthCheck;
use weft_model::limits::Limits;
use weft_model::policy::{Backoff, Balancer, Hedge, OutlierDetection, Retry, Spread, Timeouts, TrafficPolicy};
use weft_model::session::Session;
use weft_model::throttle::Throttle;

impl From<&TrafficPolicy> for v1::TrafficPolicy {
    fn from(policy: &TrafficPolicy) -> Self {
        Self {
            balancer: Some((&policy.balancer).into()),
            spread: Some((&policy.spread).into()),
            affinity: policy.affinity.as_ref().map(Into::into),
            retry: Some((&policy.retry).into()),
            timeouts: Some((&policy.timeouts).into()),
            health_check: policy.health_check.as_ref().map(Into::into),
            throttle: policy.throttle.as_ref().map(Into::into),
            limits: Some((&policy.limits).into()),
            faults: policy.faults.as_ref().map(Into::into),
            outlier: policy.outlier.as_ref().map(Into::into),
            breaker: policy.breaker.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::TrafficPolicy> for TrafficPolicy {
    type Error = ConvertError;

    fn try_from(wire: v1::TrafficPolicy) -> Result<Self> {
        let affinity = wire.affinity.map(Session::try_from).transpose().map_err(|e| e.within("affinity"))?;
        let retry = wire.retry.map(Retry::try_from).transpose().map_err(|e| e.within("retry"))?;
        let timeouts = wire.timeouts.map(Timeouts::try_from).transpose().map_err(|e| e.within("timeouts"))?;
        let balancer = wire.balancer.map(Balancer::try_from).transpose().map_err(|e| e.within("balancer"))?;
        let health_check = wire.health_check.map(HealthCheck::try_from).transpose();
        let throttle = wire.throttle.map(Throttle::try_from).transpose().map_err(|e| e.within("throttle"))?;
        let spread = wire.spread.map(Spread::try_from).transpose().map_err(|e| e.within("spread"))?;
        let limits = wire.limits.map(Limits::try_from).transpose().map_err(|e| e.within("limits"))?;
        let faults = wire.faults.map(Faults::try_from).transpose().map_err(|e| e.within("faults"))?;
        let outlier = wire.outlier.map(OutlierDetection::try_from).transpose().map_err(|e| e.within("outlier"))?;
        Ok(Self {
            balancer: balancer.unwrap_or_default(),
            spread: spread.unwrap_or_default(),
            affinity,
            retry: retry.unwrap_or_default(),
            timeouts: timeouts.unwrap_or_default(),
            health_check: health_check.map_err(|e| e.within("health_check"))?,
            throttle,
            limits: limits.unwrap_or_default(),
            faults,
            outlier,
            breaker: wire.breaker.map(Into::into),
        })
    }
}

impl From<&Retry> for v1::Retry {
    fn from(retry: &Retry) -> Self {
        Self {
            attempts: retry.attempts,
            non_idempotent: retry.non_idempotent,
            statuses: retry.statuses.iter().map(|status| u32::from(*status)).collect(),
            per_try_timeout_us: some_micros(retry.per_try_timeout),
            replay_bytes: retry.replay_bytes as u64,
            budget_percent: retry.budget_percent,
            budget_min_per_second: retry.budget_min_per_second,
            backoff: Some((&retry.backoff).into()),
            hedge: retry.hedge.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::Retry> for Retry {
    type Error = ConvertError;

    fn try_from(wire: v1::Retry) -> Result<Self> {
        Ok(Self {
            attempts: wire.attempts,
            non_idempotent: wire.non_idempotent,
            statuses: statuses(&wire.statuses)?,
            per_try_timeout: some_duration(wire.per_try_timeout_us),
            replay_bytes: usize::try_from(wire.replay_bytes).map_err(|e| ConvertError::new("replay_bytes", e))?,
            budget_percent: wire.budget_percent,
            budget_min_per_second: wire.budget_min_per_second,
            backoff: wire
                .backoff
                .map(Backoff::try_from)
                .transpose()
                .map_err(|e| e.within("backoff"))?
                .unwrap_or_default(),
            hedge: wire.hedge.map(Hedge::try_from).transpose().map_err(|e| e.within("hedge"))?,
        })
    }
}

impl From<&Timeouts> for v1::Timeouts {
    fn from(timeouts: &Timeouts) -> Self {
        Self { connect_us: micros(timeouts.connect), request_us: some_micros(timeouts.request) }
    }
}

impl TryFrom<v1::Timeouts> for Timeouts {
    type Error = ConvertError;

    fn try_from(wire: v1::Timeouts) -> Result<Self> {
        Ok(Self { connect: positive("connect_us", wire.connect_us)?, request: some_duration(wire.request_us) })
    }
}

pub(super) fn positive(field: &str, micros: u64) -> Result<Duration> {
    some_duration(micros).ok_or_else(|| ConvertError::new(field, "must be more than 0"))
}
