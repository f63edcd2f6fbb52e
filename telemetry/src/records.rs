//! Log records on their way to an OpenTelemetry Collector, by OTLP: the access log, beside or in place of its lines.
//!
//! The same bounded queue as spans have: never waited for, and what does not fit is counted.

use crate::metrics::Registry;
use crate::otlp::{self, Collector, Counts, Limits, Queue};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::transform::common::tonic::Attributes;
use std::time::{SystemTime, UNIX_EPOCH};

/// Takes records. Cheap to clone.
pub type Records = Queue<Record>;

/// Sends them on.
pub type Export = otlp::Export<Record, ExportLogsServiceRequest>;

/// What happened.
#[derive(Debug, Clone)]
pub struct Record {
    pub time: SystemTime,
    /// Somebody should look at it.
    pub error: bool,
    /// For people; one line.
    pub body: String,
    pub attributes: Vec<KeyValue>,
    /// The trace that it belongs to, and the span.
    pub trace: Option<(u128, u64)>,
}

/// Both ends of the way to the collector, which is not connected yet. Inside a runtime.
pub fn channel(collector: Collector, limits: Limits, registry: &mut Registry) -> (Records, Export) {
    let counts = Counts::default();
    registry.register("log_records_exported", "Log records that the collector has taken", counts.exported.clone());
    registry.register(
        "log_records_dropped",
        "Log records that were lost: the queue was full, or the collector did not take them",
        counts.dropped.clone(),
    );
    otlp::channel((collector, limits), "log records", request, counts)
}

fn request(records: Vec<Record>, resource: Resource) -> ExportLogsServiceRequest {
    let scope = InstrumentationScope::builder("weft-access-log").build();
    let scope = Some(common::InstrumentationScope::from((&scope, None)));
    let log_records = records.into_iter().map(log_record).collect();
    let scope_logs = vec![ScopeLogs { scope, log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { resource: Some(resource), scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }
}

fn log_record(record: Record) -> LogRecord {
    let nanos = |time: SystemTime| {
        u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
    };
    let (severity, word) = if record.error { (SeverityNumber::Error, "ERROR") } else { (SeverityNumber::Info, "INFO") };
    let (trace_id, span_id) = record
        .trace
        .map_or_else(Default::default, |(trace, span)| (trace.to_be_bytes().to_vec(), span.to_be_bytes().to_vec()));
    LogRecord {
        time_unix_nano: nanos(record.time),
        observed_time_unix_nano: nanos(SystemTime::now()),
        severity_number: severity.into(),
        severity_text: word.to_owned(),
        body: Some(common::AnyValue { value: Some(Value::StringValue(record.body)) }),
        attributes: Attributes::from(record.attributes).0,
        // Sampled: it can be looked up.
        flags: u32::from(record.trace.is_some()),
        trace_id,
        span_id,
        ..LogRecord::default()
    }
}
