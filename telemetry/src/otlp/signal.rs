//! The three signals of OTLP: where their requests go, and what the answers say.
//!
//! Below the transport. Paths and methods are those of the protocol's specification.

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message;

/// A request of one signal.
pub(crate) trait Signal: Message + Clone + Default + 'static {
    type Answer: Message + Default + 'static;
    /// Of gRPC.
    const METHOD: &'static str;
    /// Of HTTP.
    const PATH: &'static str;

    /// How many items were not taken, and why.
    fn rejected(answer: Self::Answer) -> (i64, String);
}

impl Signal for ExportTraceServiceRequest {
    type Answer = ExportTraceServiceResponse;
    const METHOD: &'static str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    const PATH: &'static str = "/v1/traces";

    fn rejected(answer: Self::Answer) -> (i64, String) {
        answer.partial_success.map(|partial| (partial.rejected_spans, partial.error_message)).unwrap_or_default()
    }
}

impl Signal for ExportLogsServiceRequest {
    type Answer = ExportLogsServiceResponse;
    const METHOD: &'static str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    const PATH: &'static str = "/v1/logs";

    fn rejected(answer: Self::Answer) -> (i64, String) {
        answer.partial_success.map(|partial| (partial.rejected_log_records, partial.error_message)).unwrap_or_default()
    }
}

impl Signal for ExportMetricsServiceRequest {
    type Answer = ExportMetricsServiceResponse;
    const METHOD: &'static str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
    const PATH: &'static str = "/v1/metrics";

    fn rejected(answer: Self::Answer) -> (i64, String) {
        answer.partial_success.map(|partial| (partial.rejected_data_points, partial.error_message)).unwrap_or_default()
    }
}
