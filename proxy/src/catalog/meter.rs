//! What is counted of the catalog: whether discovery is heard, how much is known, what was refused.
//!
//! Written by the stream and by the disk's keeper, read at scrapes. All series are fixed, whatever comes over the wire.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use weft_telemetry::metrics::Registry;

/// The catalog's metrics; clones share them.
#[derive(Debug, Clone, Default)]
pub struct CatalogMetrics {
    pub(super) connected: Gauge,
    pub(super) revision: Gauge,
    pub(super) subscriptions: Gauge,
    pub(super) messages: Counter,
    pub(super) refused: Counter,
    pub(super) broken: Counter,
    pub(super) renewed: Counter,
    pub(super) saves_failed: Counter,
}

impl CatalogMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let m = Self::default();
        registry.register("discovery_connected", "1 while the stream from discovery is up", m.connected.clone());
        registry.register("discovery_revision", "Highest store revision in force", m.revision.clone());
        let help = "Services and addresses subscribed to";
        registry.register("discovery_subscriptions", help, m.subscriptions.clone());
        registry.register("discovery_messages", "Messages taken from discovery", m.messages.clone());
        let help = "Messages from discovery that were refused as malformed";
        registry.register("discovery_messages_refused", help, m.refused.clone());
        let help = "Streams from discovery that broke or could not be opened";
        registry.register("discovery_streams_broken", help, m.broken.clone());
        let help = "Services asked for afresh because an endpoint could not be reached";
        registry.register("discovery_renewals", help, m.renewed.clone());
        let help = "Attempts to save the catalog to disk that failed";
        registry.register("catalog_saves_failed", help, m.saves_failed.clone());
        m
    }
}
