//! Balancers and what they choose among.
//!
//! Refuses what a proxy could not carry: tables whose size is no prime, rings without bounds, keys without a name.

use super::policy::positive;
use super::{ConvertError, Result, is_token, micros, some_duration, some_micros};
use crate::v1;
use crate::v1::traffic_policy::Balancer as Wire;
use std::num::NonZeroU32;
use weft_model::balance::LoadReports;
use weft_model::policy::{Balancer, HashKey, RING_POINTS, Spread, ZonePreference, is_table_size};

impl From<&Balancer> for Wire {
    fn from(balancer: &Balancer) -> Self {
        match balancer {
            Balancer::P2cEwma { decay } => Self::P2cEwma(v1::P2cEwma { decay_us: micros(*decay) }),
            Balancer::LeastRequest { choices } => Self::LeastRequest(v1::LeastRequest { choices: *choices }),
            Balancer::RoundRobin => Self::RoundRobin(v1::RoundRobin {}),
            Balancer::Random => Self::Random(v1::Random {}),
            Balancer::RingHash { on, points } => Self::RingHash(v1::RingHash { on: Some(on.into()), points: *points }),
            Balancer::Maglev { on, size } => Self::Maglev(v1::Maglev { on: Some(on.into()), size: *size }),
            Balancer::Nearest { max_in_flight } => Self::Nearest(v1::Nearest { max_in_flight: max_in_flight.get() }),
            Balancer::Prequal { probes } => Self::Prequal(v1::Prequal { probes: *probes }),
        }
    }
}

impl TryFrom<Wire> for Balancer {
    type Error = ConvertError;

    fn try_from(wire: Wire) -> Result<Self> {
        Ok(match wire {
            Wire::P2cEwma(wire) => Self::P2cEwma { decay: positive("p2c_ewma.decay_us", wire.decay_us)? },
            Wire::LeastRequest(v1::LeastRequest { choices: 0 }) => {
                return Err(ConvertError::new("least_request.choices", "must be more than 0"));
            }
            Wire::LeastRequest(wire) => Self::LeastRequest { choices: wire.choices },
            Wire::RoundRobin(_) => Self::RoundRobin,
            Wire::Random(_) => Self::Random,
            Wire::RingHash(wire) if RING_POINTS.contains(&wire.points) => {
                Self::RingHash { on: hash_key(wire.on).map_err(|e| e.within("ring_hash.on"))?, points: wire.points }
            }
            Wire::RingHash(wire) => {
                let reason = format!("{} is out of range ({RING_POINTS:?})", wire.points);
                return Err(ConvertError::new("ring_hash.points", reason));
            }
            Wire::Maglev(wire) if is_table_size(wire.size) => {
                Self::Maglev { on: hash_key(wire.on).map_err(|e| e.within("maglev.on"))?, size: wire.size }
            }
            Wire::Maglev(wire) => {
                let reason = format!("{} is no prime, or out of range", wire.size);
                return Err(ConvertError::new("maglev.size", reason));
            }
            Wire::Nearest(wire) => match NonZeroU32::new(wire.max_in_flight) {
                Some(max_in_flight) => Self::Nearest { max_in_flight },
                None => return Err(ConvertError::new("nearest.max_in_flight", "must be more than 0")),
            },
            Wire::Prequal(v1::Prequal { probes: 0 }) => {
                return Err(ConvertError::new("prequal.probes", "must be more than 0"));
            }
            Wire::Prequal(wire) => Self::Prequal { probes: wire.probes },
        })
    }
}

impl From<&HashKey> for v1::HashKey {
    fn from(key: &HashKey) -> Self {
        use v1::hash_key::Key;
        let key = match key {
            HashKey::SourceAddress => Key::SourceAddress(true),
            HashKey::Header(name) => Key::Header(name.clone()),
            HashKey::Cookie(name) => Key::Cookie(name.clone()),
            HashKey::QueryParam(name) => Key::QueryParam(name.clone()),
        };
        Self { key: Some(key) }
    }
}

fn hash_key(wire: Option<v1::HashKey>) -> Result<HashKey> {
    use v1::hash_key::Key;
    let token = |field: &str, name: String| match is_token(&name) {
        true => Ok(name),
        false => Err(ConvertError::new(field, format!("{name:?} is not a name"))),
    };
    match wire.and_then(|wire| wire.key) {
        Some(Key::SourceAddress(true)) => Ok(HashKey::SourceAddress),
        Some(Key::Header(name)) => match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Err(ConvertError::new("header", format!("{name:?} is not in lower case"))),
            false => Ok(HashKey::Header(token("header", name)?)),
        },
        Some(Key::Cookie(name)) => Ok(HashKey::Cookie(token("cookie", name)?)),
        Some(Key::QueryParam(name)) if name.is_empty() => Err(ConvertError::new("query_param", "is empty")),
        Some(Key::QueryParam(name)) => Ok(HashKey::QueryParam(name)),
        Some(Key::SourceAddress(false)) | None => Err(ConvertError::new("key", "missing")),
    }
}

impl From<&Spread> for v1::Spread {
    fn from(spread: &Spread) -> Self {
        Self {
            panic_percent: spread.panic_percent,
            slow_start_us: some_micros(spread.slow_start),
            subset: spread.subset.map_or(0, NonZeroU32::get),
            zone_max_in_flight: spread.zone.as_ref().map_or(0, |zone| zone.max_in_flight.get()),
            failover: spread.failover.clone(),
            max_load_percent: spread.max_load_percent.map_or(0, NonZeroU32::get),
            load_reports: spread.load_reports.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::Spread> for Spread {
    type Error = ConvertError;

    fn try_from(wire: v1::Spread) -> Result<Self> {
        if wire.panic_percent > 100 {
            return Err(ConvertError::new("panic_percent", format!("{} is more than 100", wire.panic_percent)));
        }
        if (1..=100).contains(&wire.max_load_percent) {
            let reason = format!("{} leaves no room: it must be more than 100", wire.max_load_percent);
            return Err(ConvertError::new("max_load_percent", reason));
        }
        let reports = wire.load_reports.map(LoadReports::try_from).transpose().map_err(|e| e.within("load_reports"))?;
        let zone = NonZeroU32::new(wire.zone_max_in_flight).map(|max_in_flight| ZonePreference { max_in_flight });
        Ok(Self {
            panic_percent: wire.panic_percent,
            slow_start: some_duration(wire.slow_start_us),
            subset: NonZeroU32::new(wire.subset),
            zone,
            failover: wire.failover,
            max_load_percent: NonZeroU32::new(wire.max_load_percent),
            load_reports: reports,
        })
    }
}

impl From<&LoadReports> for v1::LoadReports {
    fn from(reports: &LoadReports) -> Self {
        Self {
            blackout_us: micros(reports.blackout),
            expiry_us: micros(reports.expiry),
            error_penalty_percent: reports.error_penalty_percent,
        }
    }
}

impl TryFrom<v1::LoadReports> for LoadReports {
    type Error = ConvertError;

    fn try_from(wire: v1::LoadReports) -> Result<Self> {
        Ok(Self {
            blackout: some_duration(wire.blackout_us).unwrap_or_default(),
            expiry: positive("expiry_us", wire.expiry_us)?,
            error_penalty_percent: wire.error_penalty_percent,
        })
    }
}
