//! What this proxy tells of single requests, and to whom: spans to a collector, lines to the access log, events to watchers.
//!
//! Made once from the configuration; read by every worker without a lock. Where nothing is configured and nobody watches, a request
//! pays for one look at that.

use crate::config::{AccessLog, Config, Form, Tracing};
use crate::tap::Taps;
use crate::trace::Sampler;
use prometheus_client::metrics::counter::Counter;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use weft_telemetry::lines::{self, Lines, Writer};
use weft_telemetry::logs::Format;
use weft_telemetry::metrics::{Push, Registry};
use weft_telemetry::otlp::{Collector, Settings};
use weft_telemetry::records::{self, Records};
use weft_telemetry::traces::{self, InstrumentationScope, KeyValue, Spans, semantic};

/// Requests that may be recorded at the same time; others go on unrecorded and are counted.
const MOST_RECORDED: usize = 8 * 1024;

/// Records requests.
#[derive(Debug)]
pub struct Observer {
    pub tracer: Option<Tracer>,
    pub access: Option<Access>,
    pub taps: Taps,
    recorded: AtomicUsize,
    unrecorded: Counter,
}

/// Sends spans.
#[derive(Debug)]
pub struct Tracer {
    pub sampler: Sampler,
    pub forms: Vec<Form>,
    /// Errors are told of whatever the sampler says.
    pub errors: bool,
    pub spans: Spans,
    pub scope: InstrumentationScope,
}

/// Writes the access log: as lines, as records, or both.
#[derive(Debug)]
pub struct Access {
    pub log: AccessLog,
    pub lines: Option<(Lines, Format)>,
    pub records: Option<Records>,
}

/// What has to live as long as requests are told of.
#[derive(Default)]
pub struct Telling {
    pub spans: Option<traces::Export>,
    pub records: Option<records::Export>,
    pub metrics: Option<Push>,
    pub writer: Option<Writer>,
}

impl Observer {
    /// With what carries on what it is told, if the configuration has somebody to tell. Inside a runtime.
    pub fn new(config: &Config, registry: &mut Registry) -> (Arc<Self>, Telling) {
        let mut telling = Telling::default();
        let collector = config.otlp.collector.as_ref().map(|settings| collector(config, settings));
        let tracer = collector.clone().zip(config.tracing.as_ref()).map(|(collector, tracing)| {
            let (spans, export) = traces::channel(collector, tracing.limits, registry);
            telling.spans = Some(export);
            Tracer::new(tracing, spans)
        });
        telling.metrics = collector
            .clone()
            .zip(config.otlp.metrics)
            .map(|(collector, pushing)| Push::new(collector, pushing, registry));
        let access = config.access_log.clone().map(|log| {
            let lines = log.format.map(|format| {
                let (lines, writer) = lines::to_stdout(registry);
                telling.writer = Some(writer);
                (lines, format)
            });
            let records = collector.zip(log.records).map(|(collector, limits)| {
                let (records, export) = records::channel(collector, limits, registry);
                telling.records = Some(export);
                records
            });
            Access { log, lines, records }
        });
        let unrecorded = registry.register(
            "requests_unrecorded",
            "Requests that left neither span nor line nor event, because too many were under way",
            Counter::default(),
        );
        let taps = Taps::new(config, registry);
        (Arc::new(Self { tracer, access, taps, recorded: AtomicUsize::new(0), unrecorded }), telling)
    }

    /// Whether there is anybody who may want to be told of requests.
    pub fn listens(&self) -> bool {
        self.taps.on() || self.tracer.is_some() || self.access.is_some()
    }

    /// One more request is recorded, if that may be; [`Observer::leave`] has to follow then.
    pub fn enter(&self) -> bool {
        let room = self.recorded.fetch_add(1, Relaxed) < MOST_RECORDED;
        if !room {
            self.leave();
            self.unrecorded.inc();
        }
        room
    }

    /// A request that was recorded has ended.
    pub fn leave(&self) {
        self.recorded.fetch_sub(1, Relaxed);
    }
}

impl Tracer {
    fn new(tracing: &Tracing, spans: Spans) -> Self {
        Self {
            sampler: Sampler::new(tracing.sampling),
            forms: tracing.forms.clone(),
            errors: tracing.errors,
            spans,
            scope: InstrumentationScope::builder("weft-proxy").with_version(env!("CARGO_PKG_VERSION")).build(),
        }
    }

    /// The form in which a trace is written that begins here.
    pub fn first(&self) -> Form {
        self.forms.first().copied().unwrap_or(Form::TraceContext)
    }
}

/// The collector, and what it is told of this proxy.
fn collector(config: &Config, settings: &Settings) -> Collector {
    let registered = config.register.first().map(|registration| registration.service.name.clone());
    let own = [
        KeyValue::new(semantic::SERVICE_NAME, registered.unwrap_or_else(|| config.name.clone())),
        KeyValue::new(semantic::SERVICE_NAMESPACE, config.namespace.clone()),
        KeyValue::new(semantic::SERVICE_INSTANCE_ID, config.name.clone()),
        KeyValue::new("telemetry.sdk.name", "opentelemetry"),
        KeyValue::new("telemetry.sdk.language", "rust"),
        KeyValue::new("weft.proxy.version", env!("CARGO_PKG_VERSION")),
    ];
    Collector::new(settings, own.into())
}
