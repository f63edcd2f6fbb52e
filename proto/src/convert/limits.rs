//! What an endpoint takes at most.
//!
//! Refuses limits of nothing: they would refuse every request, which nobody means. Seconds travel whole, because the fields
//! that tell clients of a limit have no others.

use super::{ConvertError, Result, each, port};
use crate::v1;
use std::num::NonZeroU32;
use std::time::Duration;
use weft_model::ServiceName;
use weft_model::limits::{Concurrency, Limits, RateKey, RateLimit, ServiceLimits};

impl From<&Limits> for v1::Limits {
    fn from(limits: &Limits) -> Self {
        Self {
            rate: limits.rate.iter().map(Into::into).collect(),
            concurrency: limits.concurrency.as_ref().map(Into::into),
            connections: limits.connections.map_or(0, NonZeroU32::get),
        }
    }
}

impl TryFrom<v1::Limits> for Limits {
    type Error = ConvertError;

    fn try_from(wire: v1::Limits) -> Result<Self> {
        let concurrency = wire.concurrency.map(Concurrency::try_from).transpose();
        Ok(Self {
            rate: each("rate", wire.rate)?,
            concurrency: concurrency.map_err(|error| error.within("concurrency"))?,
            connections: NonZeroU32::new(wire.connections),
        })
    }
}

impl From<&ServiceLimits> for v1::ServiceLimits {
    fn from(told: &ServiceLimits) -> Self {
        Self {
            service: format!("{}/{}", told.service.namespace, told.service.name),
            ports: told.ports.iter().map(|port| port.get().into()).collect(),
            limits: Some((&told.limits).into()),
        }
    }
}

impl TryFrom<v1::ServiceLimits> for ServiceLimits {
    type Error = ConvertError;

    fn try_from(wire: v1::ServiceLimits) -> Result<Self> {
        let ports = wire.ports.iter().enumerate().map(|(n, number)| port(&format!("ports[{n}]"), *number));
        let limits = wire.limits.map(Limits::try_from).transpose().map_err(|error| error.within("limits"))?;
        Ok(Self {
            service: ServiceName::parse(&wire.service).map_err(|error| ConvertError::new("service", error))?,
            ports: ports.collect::<Result<_>>()?,
            limits: limits.unwrap_or_default(),
        })
    }
}

impl From<&RateLimit> for v1::RateLimit {
    fn from(limit: &RateLimit) -> Self {
        let key = match limit.key {
            RateKey::Service => v1::RateKey::Service,
            RateKey::Identity => v1::RateKey::Identity,
            RateKey::Address => v1::RateKey::Address,
        };
        Self {
            name: limit.name.clone(),
            requests: limit.requests.get(),
            per_seconds: u32::try_from(limit.per.as_secs()).unwrap_or(u32::MAX),
            burst: limit.burst.get(),
            key: key.into(),
            matches: limit.matches.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::RateLimit> for RateLimit {
    type Error = ConvertError;

    fn try_from(wire: v1::RateLimit) -> Result<Self> {
        let key = match wire.key() {
            v1::RateKey::Service => RateKey::Service,
            v1::RateKey::Identity => RateKey::Identity,
            v1::RateKey::Address => RateKey::Address,
        };
        weft_model::names::label(&wire.name).map_err(|error| ConvertError::new("name", error))?;
        Ok(Self {
            requests: some("requests", wire.requests)?,
            per: Duration::from_secs(some("per_seconds", wire.per_seconds)?.get().into()),
            burst: some("burst", wire.burst)?,
            key,
            matches: each("matches", wire.matches)?,
            name: wire.name,
        })
    }
}

impl From<&Concurrency> for v1::Concurrency {
    fn from(concurrency: &Concurrency) -> Self {
        match concurrency {
            Concurrency::Fixed { max } => Self { max: max.get(), adaptive_min: 0 },
            Concurrency::Adaptive { min, max } => Self { max: max.get(), adaptive_min: min.get() },
        }
    }
}

impl TryFrom<v1::Concurrency> for Concurrency {
    type Error = ConvertError;

    fn try_from(wire: v1::Concurrency) -> Result<Self> {
        let max = some("max", wire.max)?;
        match NonZeroU32::new(wire.adaptive_min) {
            None => Ok(Self::Fixed { max }),
            Some(min) if min <= max => Ok(Self::Adaptive { min, max }),
            Some(min) => Err(ConvertError::new("adaptive_min", format!("{min} is more than max, {max}"))),
        }
    }
}

fn some(field: &str, number: u32) -> Result<NonZeroU32> {
    NonZeroU32::new(number).ok_or_else(|| ConvertError::new(field, "must be more than 0"))
}
