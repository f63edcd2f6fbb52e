//! Spans on their way to an OpenTelemetry Collector, by OTLP.
//!
//! [`Spans`] is what the request path holds: a bounded queue that is never waited for. [`Export`] takes from it on the control
//! runtime. A collector that is slow or gone costs what the queue holds, and a counter.

use crate::metrics::Registry;
use crate::otlp::{self, Collector, Counts, Limits, Queue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};

pub use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
pub use opentelemetry::{InstrumentationScope, Key, KeyValue, Value};
pub use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
/// The names of OpenTelemetry's semantic conventions.
pub use opentelemetry_semantic_conventions::attribute as semantic;

/// Takes finished spans. Cheap to clone.
pub type Spans = Queue<SpanData>;

/// Sends them on.
pub type Export = otlp::Export<SpanData, ExportTraceServiceRequest>;

/// Both ends of the way to the collector, which is not connected yet. Inside a runtime.
pub fn channel(collector: Collector, limits: Limits, registry: &mut Registry) -> (Spans, Export) {
    let counts = Counts::default();
    registry.register("spans_exported", "Spans that the collector has taken", counts.exported.clone());
    registry.register(
        "spans_dropped",
        "Spans that were lost: the queue was full, or the collector did not take them",
        counts.dropped.clone(),
    );
    otlp::channel((collector, limits), "spans", request, counts)
}

/// Spans of one program: they have the scope of the first in common.
fn request(spans: Vec<SpanData>, resource: Resource) -> ExportTraceServiceRequest {
    let scope = spans.first().map(|span| common::InstrumentationScope::from((&span.instrumentation_scope, None)));
    let spans = spans.into_iter().map(Into::into).collect();
    let scope_spans = vec![ScopeSpans { scope, spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::{Flags, Settings};
    use clap::Parser;
    use std::time::Duration;
    use tokio::time::timeout;
    use tokio_util::sync::CancellationToken;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        flags: Flags,
    }

    fn settings(endpoint: &str, protocol: &str) -> Settings {
        let args = ["program", &format!("--otlp-endpoint={endpoint}"), &format!("--otlp-protocol={protocol}")];
        let flags = Program::try_parse_from(args).unwrap().flags;
        flags.check(&mut |flag, reason| panic!("{flag}: {reason}")).collector.unwrap()
    }

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
        let (delay, limit) = (Duration::from_millis(20), Duration::from_millis(300));
        for address in [silent.local_addr().unwrap(), gone] {
            for protocol in ["grpc", "http/protobuf"] {
                let mut registry = Registry::new("weft-proxy", "1.2.3");
                let collector = Collector::new(&settings(&format!("http://{address}"), protocol), Vec::new());
                let limits = Limits { queue: 10, batch: 4, delay, timeout: limit };
                let (spans, export) = channel(collector, limits, &mut registry);
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
}
