//! Active health checks and client-side throttling.
//!
//! Refuses what a proxy could not carry out: intervals and thresholds of 0, statuses that no response can have.

use super::policy::positive;
use super::{ConvertError, Result, micros, port, some_text, statuses};
use crate::v1;
use crate::v1::health_check::Probe as Wire;
use std::num::NonZeroU32;
use weft_model::health::{HealthCheck, Probe};
use weft_model::throttle::{K, Throttle};

impl From<&HealthCheck> for v1::HealthCheck {
    fn from(check: &HealthCheck) -> Self {
        Self {
            probe: Some(match &check.probe {
                Probe::Tcp => Wire::Tcp(v1::TcpProbe {}),
                Probe::Http { path, host, statuses } => Wire::Http(v1::HttpProbe {
                    path: path.clone(),
                    host: host.clone().unwrap_or_default(),
                    statuses: statuses.iter().map(|status| u32::from(*status)).collect(),
                }),
                Probe::Grpc { service } => Wire::Grpc(v1::GrpcProbe { service: service.clone() }),
            }),
            port: check.port.map_or(0, |port| u32::from(port.get())),
            interval_us: micros(check.interval),
            timeout_us: micros(check.timeout),
            jitter_percent: check.jitter_percent,
            healthy: check.healthy.get(),
            unhealthy: check.unhealthy.get(),
        }
    }
}

impl TryFrom<v1::HealthCheck> for HealthCheck {
    type Error = ConvertError;

    fn try_from(wire: v1::HealthCheck) -> Result<Self> {
        let probe = match wire.probe.ok_or_else(|| ConvertError::new("probe", "missing"))? {
            Wire::Tcp(_) => Probe::Tcp,
            Wire::Http(wire) if !wire.path.starts_with('/') => {
                return Err(ConvertError::new("http.path", format!("{:?} does not begin with /", wire.path)));
            }
            Wire::Http(wire) => Probe::Http {
                statuses: statuses(&wire.statuses).map_err(|e| e.within("http"))?,
                path: wire.path,
                host: some_text(wire.host),
            },
            Wire::Grpc(wire) => Probe::Grpc { service: wire.service },
        };
        if wire.jitter_percent > 100 {
            return Err(ConvertError::new("jitter_percent", format!("{} is more than 100", wire.jitter_percent)));
        }
        let threshold =
            |field: &str, count| NonZeroU32::new(count).ok_or_else(|| ConvertError::new(field, "must be more than 0"));
        Ok(Self {
            probe,
            port: (wire.port > 0).then(|| port("port", wire.port)).transpose()?,
            interval: positive("interval_us", wire.interval_us)?,
            timeout: positive("timeout_us", wire.timeout_us)?,
            jitter_percent: wire.jitter_percent,
            healthy: threshold("healthy", wire.healthy)?,
            unhealthy: threshold("unhealthy", wire.unhealthy)?,
        })
    }
}

impl From<&Throttle> for v1::Throttle {
    fn from(throttle: &Throttle) -> Self {
        Self { k: throttle.k }
    }
}

impl TryFrom<v1::Throttle> for Throttle {
    type Error = ConvertError;

    fn try_from(wire: v1::Throttle) -> Result<Self> {
        match K.contains(&wire.k) {
            true => Ok(Self { k: wire.k }),
            false => Err(ConvertError::new("k", format!("{} is out of range ({K:?})", wire.k))),
        }
    }
}
