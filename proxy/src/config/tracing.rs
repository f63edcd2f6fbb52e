//! Which requests are recorded, and how their spans wait: the part of the configuration that OpenTelemetry has names for.
//!
//! Read from flags and from the `OTEL_*` variables of the OpenTelemetry specification. Without a collector there is no
//! tracing, and nothing here costs anything; faults are reported all the same.

use super::faults::{Faults, parsed};
use super::flags::TracingFlags;
pub use weft_telemetry::otlp::Limits;
use weft_telemetry::otlp::{Checked, bounded, exporter, wait};

/// The headers that carry a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `traceparent` and `tracestate`.
    TraceContext,
    /// `b3`.
    B3,
    /// `x-b3-traceid` and its like.
    B3Multi,
}

/// Which traces are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// What the caller has decided stands.
    pub parent_based: bool,
    /// Of traces that begin here, 0 to 1.
    pub ratio: f64,
}

/// How requests are traced.
#[derive(Debug, Clone)]
pub struct Tracing {
    pub sampling: Sampling,
    /// Requests that end in an error are recorded whatever the sampler says.
    pub errors: bool,
    /// Read in this order; a trace that begins here is written in the first. Not empty.
    pub forms: Vec<Form>,
    /// Of the spans.
    pub limits: Limits,
}

impl Faults {
    /// The collector and what it gets besides.
    pub(super) fn otlp(&mut self, flags: weft_telemetry::otlp::Flags) -> Checked {
        flags.check(&mut |flag, reason| self.add(flag, reason))
    }

    /// `None`: no collector, no tracing.
    pub(super) fn tracing(&mut self, flags: TracingFlags, collector: bool) -> Option<Tracing> {
        let flags = flags.without_empty();
        let wanted = self.take("--traces-exporter", &flags.traces_exporter, exporter);
        let sampling = match sampling(&flags.trace_sampler, &flags.trace_sampler_arg) {
            Ok(sampling) => sampling,
            Err((flag, reason)) => {
                self.add(flag, reason);
                Sampling { parent_based: true, ratio: 0.0 }
            }
        };
        let tracing = Tracing {
            sampling,
            errors: flags.trace_errors,
            forms: self.take("--trace-propagators", &flags.trace_propagators, forms),
            limits: self.limits([
                ("--span-queue", &flags.span_queue),
                ("--span-batch", &flags.span_batch),
                ("--span-delay", &flags.span_delay),
                ("--span-timeout", &flags.span_timeout),
            ]),
        };
        (collector && wanted).then_some(tracing)
    }

    /// Queue, batch, delay and time-out of one signal.
    pub(super) fn limits(&mut self, [queue, batch, delay, timeout]: [(&str, &str); 4]) -> Limits {
        let limits = Limits {
            queue: self.take(queue.0, queue.1, |text| bounded(text, 1..=65_536)),
            batch: self.take(batch.0, batch.1, |text| bounded(text, 1..=8_192)),
            delay: self.take(delay.0, delay.1, wait),
            timeout: self.take(timeout.0, timeout.1, wait),
        };
        if limits.batch > limits.queue && limits.queue > 0 {
            self.add(batch.0, format!("{} is more than {}, {}", limits.batch, queue.0, limits.queue));
        }
        limits
    }
}

fn sampling(name: &str, ratio: &str) -> Result<Sampling, (&'static str, String)> {
    let (parent_based, root) = name.strip_prefix("parentbased_").map_or((false, name), |root| (true, root));
    let ratio = match root {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => match parsed::<f64>(ratio) {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
            Ok(ratio) => return Err(("--trace-sampler-arg", format!("{ratio} is not between 0 and 1"))),
            Err(reason) => return Err(("--trace-sampler-arg", reason)),
        },
        _ => {
            let known = "always_on, always_off, traceidratio, each of them also behind parentbased_";
            return Err(("--trace-sampler", format!("{name:?} is none of {known}")));
        }
    };
    Ok(Sampling { parent_based, ratio })
}

fn forms(text: &str) -> Result<Vec<Form>, String> {
    let mut forms = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let form = match name {
            "tracecontext" => Form::TraceContext,
            "b3" => Form::B3,
            "b3multi" => Form::B3Multi,
            // Passes through as any other header does.
            "baggage" => continue,
            _ => return Err(format!("{name:?} is none of tracecontext, baggage, b3, b3multi")),
        };
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    if forms.is_empty() { Err(format!("{text:?} names no form that carries a trace")) } else { Ok(forms) }
}
