//! Active health checks: what a proxy asks the endpoints of the services it uses, and what it makes of the answers.
//!
//! Part of `TrafficPolicy`; without one nothing is asked. The defaults stand here and nowhere else.

use crate::Port;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use std::time::Duration;

/// How endpoints are checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    pub probe: Probe,
    /// Of the service; `None`: its first one.
    pub port: Option<Port>,
    /// From the end of one check to the beginning of the next.
    pub interval: Duration,
    /// One whole check, connection included.
    pub timeout: Duration,
    /// Each pause is longer by up to so many percent of the interval, at random.
    pub jitter_percent: u32,
    /// Checks in a row that an endpoint has to pass to come back.
    pub healthy: NonZeroU32,
    /// Checks in a row that an endpoint has to fail to be passed over.
    pub unhealthy: NonZeroU32,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// A connection can be made.
    Tcp,
    /// GET gets one of these statuses.
    Http {
        path: String,
        /// `None`: the service's name.
        host: Option<String>,
        /// Empty: any from 200 to 299.
        statuses: Vec<u16>,
    },
    /// `grpc.health.v1.Health/Check` of this service, which may be empty, answers SERVING.
    Grpc { service: String },
}

impl HealthCheck {
    /// With the defaults for all but `probe`.
    pub fn of(probe: Probe) -> Self {
        const TWICE: NonZeroU32 = NonZeroU32::new(2).expect("2 is not 0");
        const THRICE: NonZeroU32 = NonZeroU32::new(3).expect("3 is not 0");
        Self {
            probe,
            port: None,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            jitter_percent: 10,
            healthy: TWICE,
            unhealthy: THRICE,
        }
    }
}
