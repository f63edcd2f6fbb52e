//! What is counted of reviews: how many, with what result and why, and how long they took.
//!
//! Labels are fixed words only: names of pods and namespaces would grow without bound.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use std::time::Duration;
use weft_telemetry::metrics::{LatencyHistogram, Registry};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    result: &'static str,
    reason: &'static str,
}

/// The metrics; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    reviews: Family<Labels, Counter>,
    latency: LatencyHistogram,
    expiry: Gauge,
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        let m = Self::default();
        let help = "Reviews by result: injected, skipped (and why), refused, malformed";
        registry.register("injector_reviews", help, m.reviews.clone());
        registry.register("injector_review_seconds", "How long reviews took", m.latency.clone());
        let help = "When the webhook's certificate expires, seconds since the epoch";
        registry.register("injector_certificate_expiry_seconds", help, m.expiry.clone());
        m
    }

    pub fn reviewed(&self, result: &'static str, reason: &'static str, took: Duration) {
        self.reviews.get_or_create(&Labels { result, reason }).inc();
        self.latency.observe(took);
    }

    pub fn expires(&self, seconds: i64) {
        self.expiry.set(seconds);
    }
}
