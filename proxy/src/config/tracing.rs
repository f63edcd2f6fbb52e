//! Where spans go and which requests are recorded: the part of the configuration that OpenTelemetry has names for.
//!
//! Read from flags and from the `OTEL_*` variables of the OpenTelemetry specification. Without an endpoint there is no
//! tracing, and nothing here costs anything; faults are reported all the same.

use super::faults::{Faults, duration, parsed};
use super::flags::TracingFlags;
use std::time::Duration;
pub use weft_telemetry::traces::Protocol;

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
    /// `http://host:port`.
    pub endpoint: String,
    pub protocol: Protocol,
    pub sampling: Sampling,
    /// Requests that end in an error are recorded whatever the sampler says.
    pub errors: bool,
    /// Read in this order; a trace that begins here is written in the first. Not empty.
    pub forms: Vec<Form>,
    pub service_name: Option<String>,
    pub resource: Vec<(String, String)>,
    /// Spans that may wait for their export.
    pub queue: usize,
    /// Spans of one export at most.
    pub batch: usize,
    /// How long a span waits for others.
    pub delay: Duration,
    /// How long one export may take.
    pub timeout: Duration,
}

impl Faults {
    /// `None`: no endpoint, no tracing.
    pub(super) fn tracing(&mut self, flags: TracingFlags) -> Option<Tracing> {
        let flags = flags.without_empty();
        let protocol = self.take("--otlp-protocol", &flags.otlp_protocol, protocol);
        let endpoint = flags.otlp_endpoint.filter(|text| !text.is_empty());
        let sampling = match sampling(&flags.trace_sampler, &flags.trace_sampler_arg) {
            Ok(sampling) => sampling,
            Err((flag, reason)) => {
                self.add(flag, reason);
                Sampling { parent_based: true, ratio: 0.0 }
            }
        };
        let queue = self.take("--span-queue", &flags.span_queue, |text| bounded(text, 1..=65_536));
        let batch = self.take("--span-batch", &flags.span_batch, |text| bounded(text, 1..=8_192));
        if batch > queue && queue > 0 {
            self.add("--span-batch", format!("{batch} is more than --span-queue, {queue}"));
        }
        let tracing = Tracing {
            endpoint: endpoint.as_deref().map(|text| self.take("--otlp-endpoint", text, collector)).unwrap_or_default(),
            protocol,
            sampling,
            errors: flags.trace_errors,
            forms: self.take("--trace-propagators", &flags.trace_propagators, forms),
            service_name: flags.otel_service_name.filter(|name| !name.is_empty()),
            resource: self.take("--otel-resource-attributes", &flags.otel_resource_attributes, attributes),
            queue,
            batch,
            delay: self.take("--span-delay", &flags.span_delay, wait),
            timeout: self.take("--span-timeout", &flags.span_timeout, wait),
        };
        endpoint.map(|_| tracing)
    }
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "grpc" => Ok(Protocol::Grpc),
        "http/protobuf" => Ok(Protocol::Http),
        _ => Err(format!("{text:?} is neither grpc nor http/protobuf")),
    }
}

fn collector(text: &str) -> Result<String, String> {
    let uri: http::Uri = text.parse().map_err(|error| format!("{text:?}: {error}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(host)) if !host.is_empty() => Ok(text.trim_end_matches('/').to_owned()),
        (Some("https"), _) => Err(format!("{text:?}: collectors are spoken to in plaintext; put one beside the proxy")),
        _ => Err(format!("{text:?} is not http://HOST:PORT")),
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

/// `key=value,key=value`; values may be percent-encoded, as in W3C Baggage.
fn attributes(text: &str) -> Result<Vec<(String, String)>, String> {
    text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).map(attribute).collect()
}

fn attribute(pair: &str) -> Result<(String, String), String> {
    let (key, value) = pair.split_once('=').ok_or_else(|| format!("{pair:?} is not KEY=VALUE"))?;
    let value = decoded(value.trim()).ok_or_else(|| format!("{pair:?}: a broken percent-encoding"))?;
    match key.trim() {
        "" => Err(format!("{pair:?} has no key")),
        key => Ok((key.to_owned(), value)),
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let (digits, after) = rest.split_at_checked(2)?;
                bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
                rest = after;
            }
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

fn bounded(text: &str, range: std::ops::RangeInclusive<usize>) -> Result<usize, String> {
    let number = parsed(text)?;
    match range.contains(&number) {
        true => Ok(number),
        false => Err(format!("{number} is not between {} and {}", range.start(), range.end())),
    }
}

/// A duration; a number alone is milliseconds, as OpenTelemetry's variables have it.
fn wait(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(0) => Err("must be longer than nothing".to_owned()),
        Ok(millis) => Ok(Duration::from_millis(millis)),
        Err(_) => duration(text),
    }
}
