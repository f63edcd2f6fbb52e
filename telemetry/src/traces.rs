//! Spans on their way to an OpenTelemetry Collector, by OTLP.
//!
//! [`Spans`] is what the request path holds: a bounded queue that is never waited for. [`Export`] takes from it on the control
//! runtime. A collector that is slow or gone costs what the queue holds, and a counter. The SDK's own batch processor is not used:
//! it needs a thread of its own, cannot drive the HTTP client, and does not tell how much it has dropped.

use crate::metrics::Registry;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::trace::SpanExporter as _;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

pub use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
pub use opentelemetry::{InstrumentationScope, Key, KeyValue, Value};
pub use opentelemetry_sdk::Resource;
pub use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
/// The names of OpenTelemetry's semantic conventions.
pub use opentelemetry_semantic_conventions::attribute as semantic;

/// How a collector is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    #[default]
    Grpc,
    /// Protobuf over HTTP/1.1.
    Http,
}

/// Where spans go and how many may wait.
#[derive(Debug, Clone)]
pub struct Options {
    /// `http://host:port`, without the signal's path.
    pub endpoint: String,
    pub protocol: Protocol,
    /// What sends them.
    pub resource: Vec<KeyValue>,
    /// Spans that may wait.
    pub queue: usize,
    /// Spans of one export.
    pub batch: usize,
    /// How long a span waits for others.
    pub delay: Duration,
    /// How long one export may take.
    pub timeout: Duration,
}

/// The collector's address cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("spans cannot be exported to {endpoint}: {reason}")]
pub struct ExportError {
    endpoint: String,
    reason: String,
}

/// Steps into which the wait for a full batch is cut.
const STEPS: u32 = 10;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Dropped {
    reason: &'static str,
}

#[derive(Debug, Clone, Default)]
struct Counts {
    exported: Counter,
    dropped: Family<Dropped, Counter>,
    /// One of `dropped`, at hand for the request path.
    full: Counter,
}

/// Takes finished spans. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Spans {
    queue: Sender<SpanData>,
    counts: Counts,
}

/// Sends them on.
pub struct Export {
    queue: Receiver<SpanData>,
    exporter: SpanExporter,
    options: Options,
    counts: Counts,
    /// The last export failed: said once, not each time.
    failing: bool,
}

/// Both ends of the way to the collector, which is not connected yet. Inside a runtime.
pub fn channel(options: Options, registry: &mut Registry) -> Result<(Spans, Export), ExportError> {
    let counts = Counts::register(registry);
    let refused =
        |error: &dyn std::fmt::Display| ExportError { endpoint: options.endpoint.clone(), reason: error.to_string() };
    let exporter = match options.protocol {
        Protocol::Grpc => {
            let tonic = SpanExporter::builder().with_tonic().with_endpoint(&options.endpoint);
            tonic.with_timeout(options.timeout).build()
        }
        Protocol::Http => {
            let path = format!("{}/v1/traces", options.endpoint);
            SpanExporter::builder().with_http().with_endpoint(path).with_timeout(options.timeout).build()
        }
    };
    let mut exporter = exporter.map_err(|error| refused(&error))?;
    exporter.set_resource(&Resource::builder_empty().with_attributes(options.resource.iter().cloned()).build());
    let (sender, queue) = mpsc::channel(options.queue.max(1));
    let spans = Spans { queue: sender, counts: counts.clone() };
    Ok((spans, Export { queue, exporter, options, counts, failing: false }))
}

impl Counts {
    fn register(registry: &mut Registry) -> Self {
        let mut counts = Self::default();
        registry.register("spans_exported", "Spans that the collector has taken", counts.exported.clone());
        registry.register(
            "spans_dropped",
            "Spans that were lost: the queue was full, or the collector did not take them",
            counts.dropped.clone(),
        );
        counts.full = counts.dropped.get_or_create_owned(&Dropped { reason: "queue-full" });
        counts.failed();
        counts
    }

    fn failed(&self) -> Counter {
        self.dropped.get_or_create_owned(&Dropped { reason: "export-failed" })
    }
}

impl Spans {
    /// Hands a span over, unless too many wait already. Never waits.
    pub fn send(&self, span: SpanData) {
        match self.queue.try_send(span) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
                self.counts.full.inc();
            }
        }
    }
}

impl Export {
    /// Exports until `ended`, then what is left, once.
    pub async fn run(mut self, ended: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                first = self.queue.recv() => match first {
                    Some(first) => batch.push(first),
                    None => return,
                },
                () = ended.cancelled() => return,
            }
            self.gather(&ended).await;
            while batch.len() < self.options.batch
                && let Ok(next) = self.queue.try_recv()
            {
                batch.push(next);
            }
            self.export(std::mem::take(&mut batch)).await;
        }
    }

    /// Waits until a batch is full or its time has come; in steps, so that the request path wakes nobody up.
    async fn gather(&self, ended: &CancellationToken) {
        let due = Instant::now() + self.options.delay;
        let step = self.options.delay / STEPS;
        while self.queue.len() + 1 < self.options.batch && Instant::now() < due && !ended.is_cancelled() {
            let next = due.min(Instant::now() + step);
            tokio::select! {
                () = sleep_until(next) => {}
                () = ended.cancelled() => {}
            }
        }
    }

    async fn export(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len() as u64;
        let result = timeout(self.options.timeout, self.exporter.export(batch)).await;
        let result = result.map_err(|_| "time-out".to_owned()).and_then(|r| r.map_err(|error| error.to_string()));
        match result {
            Ok(()) => {
                self.counts.exported.inc_by(spans);
                self.failing = false;
            }
            Err(error) => {
                self.counts.failed().inc_by(spans);
                if !std::mem::replace(&mut self.failing, true) {
                    let collector = &self.options.endpoint;
                    tracing::warn!(collector, error, "spans could not be exported; traffic goes on without");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span() -> SpanData {
        SpanData {
            span_context: SpanContext::NONE,
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Client,
            name: "GET".into(),
            start_time: std::time::SystemTime::now(),
            end_time: std::time::SystemTime::now(),
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::default(),
        }
    }

    fn options(endpoint: String, protocol: Protocol) -> Options {
        let (delay, timeout) = (Duration::from_millis(20), Duration::from_millis(300));
        Options { endpoint, protocol, resource: Vec::new(), queue: 10, batch: 4, delay, timeout }
    }

    fn value(registry: &Registry, line: &str) -> u64 {
        let text = registry.encode().unwrap();
        let found = text.lines().find_map(|l| l.strip_prefix(line)).unwrap_or_else(|| panic!("{line} in\n{text}"));
        found.trim().parse().unwrap()
    }

    #[tokio::test]
    async fn a_collector_that_is_gone_or_silent_costs_a_counter() {
        // Accepts nobody: connections are made by the kernel, and nothing is ever answered.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for address in [silent.local_addr().unwrap(), gone] {
            for protocol in [Protocol::Grpc, Protocol::Http] {
                let mut registry = Registry::new("weft-proxy", "1.2.3");
                let (spans, export) = channel(options(format!("http://{address}"), protocol), &mut registry).unwrap();
                (0..15).for_each(|_| spans.send(span()));
                assert_eq!(value(&registry, "weft_spans_dropped_total{reason=\"queue-full\"}"), 5);
                drop(spans);
                // Ends when nobody can send any more and everything has been tried.
                timeout(Duration::from_secs(60), export.run(CancellationToken::new())).await.unwrap();
                assert_eq!(value(&registry, "weft_spans_dropped_total{reason=\"export-failed\"}"), 10);
                assert_eq!(value(&registry, "weft_spans_exported_total"), 0);
            }
        }
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_used_is_named() {
        let mut registry = Registry::new("weft-proxy", "1.2.3");
        let error = channel(options("https://c:1".to_owned(), Protocol::Grpc), &mut registry).err().unwrap();
        assert!(error.to_string().contains("https://c:1"), "{error}");
    }
}
