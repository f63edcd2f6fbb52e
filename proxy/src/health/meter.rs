//! What is counted of active health checks: findings by service and kind, and how many endpoints are out because of them.
//!
//! Labels are the services that this proxy uses and fixed words.

use super::ask::Trouble;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use weft_telemetry::metrics::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    service: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: String,
}

/// Metrics of all checks. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct HealthMetrics {
    checks: Family<CheckLabels, Counter>,
    out: Family<ServiceLabels, Gauge>,
}

/// Those of one service.
#[derive(Debug)]
pub(super) struct Meter {
    metrics: HealthMetrics,
    service: String,
}

impl HealthMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let m = Self::default();
        let help = "Active health checks by what they found: passed, failed, timeout or unreachable";
        registry.register("health_checks", help, m.checks.clone());
        let help = "Endpoints that are passed over because active health checks fail";
        registry.register("unhealthy_endpoints", help, m.out.clone());
        m
    }

    pub(super) fn of(&self, service: &str) -> Meter {
        Meter { metrics: self.clone(), service: service.to_owned() }
    }
}

impl Meter {
    pub(super) fn count(&self, asked: &Result<(), Trouble>) {
        let result = match asked {
            Ok(()) => "passed",
            Err(Trouble::Answer(_)) => "failed",
            Err(Trouble::Late) => "timeout",
            Err(Trouble::Unreachable(_)) => "unreachable",
        };
        self.metrics.checks.get_or_create(&CheckLabels { service: self.service.clone(), result }).inc();
    }

    /// One endpoint is out for as long as the value lives.
    pub(super) fn out(&self) -> Out {
        let gauge = self.metrics.out.get_or_create(&ServiceLabels { service: self.service.clone() }).clone();
        gauge.inc();
        Out(gauge)
    }
}

/// An endpoint that is passed over.
#[derive(Debug)]
pub(super) struct Out(Gauge);

impl Drop for Out {
    fn drop(&mut self) {
        self.0.dec();
    }
}
