//! What weft-discovery counts.
//!
//! One handle that every part clones; label values are words of this program's own, never a client's text.

use crate::registry;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use std::fmt;
use weft_telemetry::metrics::Registry;

/// How something ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    outcome: &'static str,
}

impl Outcome {
    pub fn of(outcome: &'static str) -> Self {
        Self { outcome }
    }
}

/// What kind of message was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Push {
    pub kind: &'static str,
}

/// Which of the store's operations failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Operation {
    pub operation: &'static str,
}

/// All metrics of weft-discovery.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    pub connections: Gauge,
    pub handshakes: Family<Outcome, Counter>,
    pub connection_errors: Counter,
    pub subscribers: Gauge,
    pub subscriptions: Gauge,
    pub taps: Gauge,
    pub pushes: Family<Push, Counter>,
    pub streams_ended: Family<Outcome, Counter>,
    pub certify: Family<Outcome, Counter>,
    pub registrations: Family<Outcome, Counter>,
    pub applies: Family<Outcome, Counter>,
    pub faults: Counter,
    pub store_errors: Family<Operation, Counter>,
    pub controller_leading: Gauge,
    pub controller_writes: Family<Outcome, Counter>,
    pub controller_statuses: Family<Outcome, Counter>,
}

impl Metrics {
    /// Registers all of them.
    pub fn register(registry: &mut Registry) -> Self {
        let all = Self::default();
        let mut gauge = |name: &str, help: &str, metric: &Gauge| drop(registry.register(name, help, metric.clone()));
        gauge("discovery_connections", "TLS connections that are open", &all.connections);
        gauge("discovery_subscribers", "Proxies with an open stream", &all.subscribers);
        gauge("discovery_subscriptions", "Targets that proxies are subscribed to", &all.subscriptions);
        gauge("discovery_taps", "Watchers of live requests", &all.taps);
        registry.register("discovery_handshakes", "TLS handshakes by how they ended", all.handshakes.clone());
        let help = "Connections that ended with a protocol error";
        registry.register("discovery_connection_errors", help, all.connection_errors.clone());
        registry.register("discovery_pushes", "Messages sent to proxies by kind", all.pushes.clone());
        registry.register("discovery_streams_ended", "Streams that ended by why", all.streams_ended.clone());
        registry.register("discovery_certify", "Requests for certificates by outcome", all.certify.clone());
        registry.register("discovery_registrations", "Registration calls by outcome", all.registrations.clone());
        registry.register("discovery_applies", "Apply and delete calls by outcome", all.applies.clone());
        registry.register("discovery_document_faults", "Faults found in documents", all.faults.clone());
        registry.register("discovery_store_errors", "Store operations that failed", all.store_errors.clone());
        let help = "Whether this replica keeps the mesh equal to Kubernetes";
        registry.register("discovery_controller_leading", help, all.controller_leading.clone());
        let help = "Transactions of the Kubernetes controller by outcome";
        registry.register("discovery_controller_writes", help, all.controller_writes.clone());
        let help = "Statuses written back to Kubernetes by outcome";
        registry.register("discovery_controller_statuses", help, all.controller_statuses.clone());
        all
    }
}

/// What the registry itself counts, looked up when somebody asks.
pub struct RegistryCounts(pub registry::Registry);

impl fmt::Debug for RegistryCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegistryCounts")
    }
}

impl Collector for RegistryCounts {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let mut one = |name: &str, help: &str, metric: &dyn Encode| metric.encode(&mut encoder, name, help);
        let (world, counters) = (self.0.world(), self.0.counters());
        let gauge = |number: u64| ConstGauge::new(number as i64);
        let counts = world.counts();
        one("discovery_registry_revision", "Store revision that the registry reflects", &gauge(world.revision()))?;
        one("discovery_services", "Services known", &gauge(counts.services as u64))?;
        one("discovery_endpoints", "Endpoints known", &gauge(counts.endpoints as u64))?;
        one("discovery_unreadable_values", "Store values that cannot be read now", &gauge(counters.unreadable()))?;
        one("discovery_braked_services", "Services whose vanished endpoints are kept", &gauge(counters.braking()))?;
        let connected = gauge(u64::from(counters.connected()));
        one("discovery_store_connected", "Whether the store's watch is alive", &connected)?;
        one("discovery_skipped_values", "Store values that could not be read", &ConstCounter::new(counters.skipped()))?;
        one("discovery_resyncs", "Times the store was read again", &ConstCounter::new(counters.resyncs()))?;
        one(
            "discovery_doubts",
            "Services looked up in the store because a proxy could not reach an endpoint",
            &ConstCounter::new(counters.doubts()),
        )?;
        one("discovery_brakes", "Times the brake went on", &ConstCounter::new(counters.brakes()))
    }
}

/// A metric under its name.
trait Encode {
    fn encode(&self, encoder: &mut DescriptorEncoder, name: &str, help: &str) -> fmt::Result;
}

impl<M: EncodeMetric> Encode for M {
    fn encode(&self, encoder: &mut DescriptorEncoder, name: &str, help: &str) -> fmt::Result {
        EncodeMetric::encode(self, encoder.encode_descriptor(name, help, None, self.metric_type())?)
    }
}
