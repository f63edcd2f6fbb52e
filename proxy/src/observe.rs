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
use weft_telemetry::metrics::Registry;
use weft_telemetry::traces::{self, Export, ExportError, InstrumentationScope, KeyValue, Options, Spans, semantic};

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

/// Writes the access log.
#[derive(Debug)]
pub struct Access {
    pub log: AccessLog,
    pub lines: Lines,
}

/// What has to live as long as requests are told of.
#[derive(Default)]
pub struct Telling {
    pub export: Option<Export>,
    pub writer: Option<Writer>,
}

/// A place among the requests that are recorded.
#[derive(Debug)]
pub struct Place(Arc<Observer>);

impl Observer {
    /// With what carries on what it is told, if the configuration has somebody to tell. Inside a runtime.
    pub fn new(config: &Config, registry: &mut Registry) -> Result<(Arc<Self>, Telling), ExportError> {
        let mut telling = Telling::default();
        let tracer = match &config.tracing {
            None => None,
            Some(tracing) => {
                let (spans, export) = traces::channel(options(config, tracing), registry)?;
                telling.export = Some(export);
                Some(Tracer::new(tracing, spans))
            }
        };
        let access = config.access_log.clone().map(|log| {
            let (lines, writer) = lines::to_stdout(registry);
            telling.writer = Some(writer);
            Access { log, lines }
        });
        let unrecorded = registry.register(
            "requests_unrecorded",
            "Requests that left neither span nor line nor event, because too many were under way",
            Counter::default(),
        );
        let taps = Taps::new(config, registry);
        Ok((Arc::new(Self { tracer, access, taps, recorded: AtomicUsize::new(0), unrecorded }), telling))
    }

    /// Whether there is anybody who may want to be told of requests.
    pub fn listens(&self) -> bool {
        self.taps.on() || self.tracer.is_some() || self.access.is_some()
    }

    /// A place for one more request, if there is one.
    pub fn place(self: &Arc<Self>) -> Option<Place> {
        if self.recorded.fetch_add(1, Relaxed) >= MOST_RECORDED {
            self.recorded.fetch_sub(1, Relaxed);
            self.unrecorded.inc();
            return None;
        }
        Some(Place(Arc::clone(self)))
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

impl Drop for Place {
    fn drop(&mut self) {
        self.0.recorded.fetch_sub(1, Relaxed);
    }
}

fn options(config: &Config, tracing: &Tracing) -> Options {
    let registered = config.register.first().map(|registration| registration.service.name.clone());
    let name = tracing.service_name.clone().or(registered).unwrap_or_else(|| config.name.clone());
    let own = [
        KeyValue::new(semantic::SERVICE_NAME, name),
        KeyValue::new(semantic::SERVICE_NAMESPACE, config.namespace.clone()),
        KeyValue::new(semantic::SERVICE_INSTANCE_ID, config.name.clone()),
        KeyValue::new("telemetry.sdk.name", "opentelemetry"),
        KeyValue::new("telemetry.sdk.language", "rust"),
        KeyValue::new("weft.proxy.version", env!("CARGO_PKG_VERSION")),
    ];
    // What the user names wins over what the proxy knows, except for the name, which has a flag of its own.
    let named =
        tracing.resource.iter().filter(|(key, _)| tracing.service_name.is_none() || key != semantic::SERVICE_NAME);
    let named = named.map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    Options {
        endpoint: tracing.endpoint.clone(),
        protocol: tracing.protocol,
        resource: own.into_iter().chain(named).collect(),
        queue: tracing.queue,
        batch: tracing.batch,
        delay: tracing.delay,
        timeout: tracing.timeout,
    }
}
