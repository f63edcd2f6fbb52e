//! The flags by which every program is told of a collector, under the variables that OpenTelemetry names.
//!
//! Text until all of them are checked together; each fault names its flag, or flag and variable where both are long. An empty
//! variable is one that is not set, as OpenTelemetry has it.

use super::collector::{Protocol, Settings};
use super::tls::{self, Files};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde::Serialize;
use std::time::Duration;

/// How a collector is reached, and whether it gets metrics.
#[derive(Debug, Clone, clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
// The programs' own are called so, too.
#[group(skip)]
pub struct Flags {
    /// OpenTelemetry Collector; what it is sent is said by --traces-exporter, --metrics-exporter and --logs-exporter
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "http[s]://HOST:PORT", help_heading = HEADING)]
    pub otlp_endpoint: Option<String>,
    /// How the collector is spoken to: grpc or http/protobuf [default: grpc]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_PROTOCOL", value_name = "PROTOCOL", help_heading = HEADING)]
    pub otlp_protocol: Option<String>,
    /// Sent to the collector with every request
    #[arg(long, env = "OTEL_EXPORTER_OTLP_HEADERS", value_name = "KEY=VALUE,..", hide_env_values = true, help_heading = HEADING)]
    pub otlp_headers: Option<String>,
    /// File with the authorities that the collector's certificate is checked against, PEM [default: those that the machine
    /// trusts]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CERTIFICATE", value_name = "FILE", help_heading = HEADING)]
    pub otlp_certificate: Option<String>,
    /// File with the certificate that is shown to the collector, PEM
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", value_name = "FILE", help_heading = HEADING)]
    pub otlp_client_certificate: Option<String>,
    /// File with its key, PEM
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CLIENT_KEY", value_name = "FILE", help_heading = HEADING)]
    pub otlp_client_key: Option<String>,
    /// Name of what sends [default: a proxy's first service, otherwise --name; the program's name elsewhere]
    #[arg(long, env = "OTEL_SERVICE_NAME", value_name = "NAME", help_heading = HEADING)]
    pub otel_service_name: Option<String>,
    /// More attributes of what sends
    #[arg(long, env = "OTEL_RESOURCE_ATTRIBUTES", value_name = "KEY=VALUE,..", help_heading = HEADING)]
    pub otel_resource_attributes: Option<String>,
    /// Whether metrics are sent to the collector, too: otlp or none [default: none]
    #[arg(long, env = "OTEL_METRICS_EXPORTER", value_name = "EXPORTER", help_heading = HEADING)]
    pub metrics_exporter: Option<String>,
    /// How often; a number alone is milliseconds [default: 60s]
    #[arg(long, env = "OTEL_METRIC_EXPORT_INTERVAL", value_name = "DURATION", help_heading = HEADING)]
    pub metric_interval: Option<String>,
    /// How long that may take; a number alone is milliseconds [default: 30s]
    #[arg(long, env = "OTEL_METRIC_EXPORT_TIMEOUT", value_name = "DURATION", help_heading = HEADING)]
    pub metric_timeout: Option<String>,
}

const HEADING: &str = "OpenTelemetry";

/// How often metrics are sent, and how long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushing {
    pub interval: Duration,
    pub timeout: Duration,
}

/// What the flags mean.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// `None`: there is no collector.
    pub collector: Option<Settings>,
    /// `None`: it gets no metrics.
    pub metrics: Option<Pushing>,
}

/// Takes a flag and what is wrong with it.
type Fault<'a> = &'a mut dyn FnMut(&str, String);

impl Flags {
    /// All faults go to `fault`; after one, what is returned is to be used by nobody.
    pub fn check(self, fault: Fault<'_>) -> Checked {
        let flags = self.without_empty();
        let protocol = flags.otlp_protocol.as_deref().unwrap_or("grpc");
        let protocol = take("--otlp-protocol", protocol, protocol_of, fault);
        let headers = flags.otlp_headers.as_deref().unwrap_or_default();
        let headers = take("--otlp-headers", headers, headers_of, fault);
        let attributes = flags.otel_resource_attributes.as_deref().unwrap_or_default();
        let attributes = take("--otel-resource-attributes", attributes, self::attributes, fault);
        let interval = take("--metric-interval", flags.metric_interval.as_deref().unwrap_or("60s"), wait, fault);
        let timeout = take("--metric-timeout", flags.metric_timeout.as_deref().unwrap_or("30s"), wait, fault);
        let wanted = take("--metrics-exporter", flags.metrics_exporter.as_deref().unwrap_or("none"), exporter, fault);
        let files = Files {
            authorities: flags.otlp_certificate.as_deref(),
            certificate: flags.otlp_client_certificate.as_deref(),
            key: flags.otlp_client_key.as_deref(),
        };
        let Some(endpoint) = flags.otlp_endpoint.as_deref() else {
            if wanted {
                fault("--metrics-exporter", "otlp needs --otlp-endpoint".to_owned());
            }
            return Checked::default();
        };
        let endpoint = take("--otlp-endpoint", endpoint, endpoint_of, fault);
        let secured = if endpoint.starts_with("https:") { tls::client(files) } else { Ok(tls::none()) };
        let tls = secured.unwrap_or_else(|(flag, reason)| {
            fault(flag, reason);
            tls::none()
        });
        let service_name = flags.otel_service_name;
        let collector = Settings { endpoint, protocol, headers, tls, service_name, attributes };
        Checked { collector: Some(collector), metrics: wanted.then_some(Pushing { interval, timeout }) }
    }

    fn without_empty(self) -> Self {
        let filled = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        Self {
            otlp_endpoint: filled(self.otlp_endpoint),
            otlp_protocol: filled(self.otlp_protocol),
            otlp_headers: filled(self.otlp_headers),
            otlp_certificate: filled(self.otlp_certificate),
            otlp_client_certificate: filled(self.otlp_client_certificate),
            otlp_client_key: filled(self.otlp_client_key),
            otel_service_name: filled(self.otel_service_name),
            otel_resource_attributes: filled(self.otel_resource_attributes),
            metrics_exporter: filled(self.metrics_exporter),
            metric_interval: filled(self.metric_interval),
            metric_timeout: filled(self.metric_timeout),
        }
    }
}

fn take<T: Default>(flag: &str, text: &str, read: fn(&str) -> Result<T, String>, fault: Fault<'_>) -> T {
    read(text).unwrap_or_else(|reason| {
        fault(flag, reason);
        T::default()
    })
}

fn protocol_of(text: &str) -> Result<Protocol, String> {
    match text {
        "grpc" => Ok(Protocol::Grpc),
        "http/protobuf" => Ok(Protocol::Http),
        _ => Err(format!("{text:?} is neither grpc nor http/protobuf")),
    }
}

/// `otlp` or `none`, for any signal.
pub fn exporter(text: &str) -> Result<bool, String> {
    match text {
        "otlp" => Ok(true),
        "none" => Ok(false),
        _ => Err(format!("{text:?} is neither otlp nor none")),
    }
}

fn endpoint_of(text: &str) -> Result<String, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{text:?}: {error}"))?;
    match (uri.scheme_str(), uri.host(), uri.query()) {
        (Some("http" | "https"), Some(host), None) if !host.is_empty() => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err(format!("{text:?} is neither http://HOST:PORT nor https://HOST:PORT")),
    }
}

fn headers_of(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (key, value) in attributes(text).map_err(|_| "is not KEY=VALUE,.. (percent-encoded where needed)".to_owned())? {
        // Values may be secret: they are not repeated.
        let name: HeaderName = key.parse().map_err(|_| format!("{key:?} is no name of a header"))?;
        let mut value = HeaderValue::from_str(&value).map_err(|_| format!("the value of {key:?} cannot be sent"))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
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

/// A number within `range`.
pub fn bounded(text: &str, range: std::ops::RangeInclusive<usize>) -> Result<usize, String> {
    let number = text.parse().map_err(|error| format!("{text:?}: {error}"))?;
    match range.contains(&number) {
        true => Ok(number),
        false => Err(format!("{number} is not between {} and {}", range.start(), range.end())),
    }
}

/// A duration that is not nothing; a number alone is milliseconds, as OpenTelemetry's variables have it.
pub fn wait(text: &str) -> Result<Duration, String> {
    let duration = match text.parse() {
        Ok(millis) => Ok(Duration::from_millis(millis)),
        Err(_) => humantime::parse_duration(text),
    };
    match duration {
        Ok(duration) if duration.is_zero() => Err("must be longer than nothing".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{text:?}: {error} (write 100ms, 30s, 5m)")),
    }
}

#[cfg(test)]
#[path = "flags_tests.rs"]
mod tests;
