//! `healthCheck` and `throttle` of a `TrafficPolicy`: when a service's clients stop sending requests to it.
//!
//! Part of the policy's translation. Bounds keep checks from becoming a load of their own.

use super::fault::Faults;
use super::field;
use serde::Deserialize;
use std::num::NonZeroU32;
use std::time::Duration;
use weft_model::health::{HealthCheck, Probe};
use weft_model::throttle::{K, Throttle};

/// How the proxies of a service's clients check its endpoints. Exactly one of `tcp`, `http` and `grpc`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HealthCheckSpec {
    /// An endpoint is healthy when a connection can be made: `tcp: {}`.
    tcp: Option<TcpSpec>,
    /// An endpoint is healthy when GET gets an expected status.
    http: Option<HttpSpec>,
    /// An endpoint is healthy when `grpc.health.v1.Health/Check` answers SERVING.
    grpc: Option<GrpcSpec>,
    /// Number of the service's port that is checked. Default: the service's first port.
    port: Option<i64>,
    /// Pause between two checks of one endpoint. Default 10s; 100ms to 1h.
    interval: Option<String>,
    /// How long one check may take, connection included. Default 1s; more than 0s, up to 1m.
    timeout: Option<String>,
    /// Each pause is longer by up to so many percent of `interval`, at random. Default 10; 0 to 100.
    jitter: Option<i64>,
    /// Checks in a row that have to be passed before an endpoint is used again. Default 2; 1 to 100.
    healthy_threshold: Option<i64>,
    /// Checks in a row that have to be failed before an endpoint is passed over. Default 3; 1 to 100.
    unhealthy_threshold: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct TcpSpec {}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct HttpSpec {
    /// Path of the GET, with the query if there is one. Begins with `/`; up to 1024 bytes.
    path: String,
    /// The authority that is asked for. Default: the service's name and namespace.
    host: Option<String>,
    /// Statuses that mean healthy, each 100 to 599. Default: 200 to 299.
    expected_statuses: Option<Vec<i64>>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct GrpcSpec {
    /// The gRPC service that is asked about. Default empty: the server as a whole. Up to 256 bytes.
    service: Option<String>,
}

/// How the proxies of a service's clients hold requests back while it refuses most of them.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ThrottleSpec {
    /// So many requests are let through for each that the service accepts, over two minutes. Default 2; 1 to 100.
    k: Option<f64>,
}

const AT: &str = "spec.healthCheck";
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);
const LONGEST_PATH: usize = 1024;
const LONGEST_SERVICE: usize = 256;
const DEFAULT_K: f64 = 2.0;

pub fn translate(spec: HealthCheckSpec, faults: &mut Faults) -> Option<HealthCheck> {
    let probe = match (spec.tcp, spec.http, spec.grpc) {
        (Some(TcpSpec {}), None, None) => Some(Probe::Tcp),
        (None, Some(spec), None) => http(spec, faults),
        (None, None, Some(spec)) => grpc(spec.service.unwrap_or_default(), faults),
        _ => {
            faults.add(AT, "needs exactly one of tcp, http, grpc");
            None
        }
    };
    let default = HealthCheck::of(Probe::Tcp);
    let mut threshold = |given: Option<i64>, default: NonZeroU32, field: &str| match given {
        Some(given) => field::number(given, 1, 100, format!("{AT}.{field}"), faults).and_then(NonZeroU32::new),
        None => Some(default),
    };
    let healthy = threshold(spec.healthy_threshold, default.healthy, "healthyThreshold");
    let unhealthy = threshold(spec.unhealthy_threshold, default.unhealthy, "unhealthyThreshold");
    let port = spec.port.map(|port| field::port(port, format!("{AT}.port"), faults));
    let interval = within(spec.interval, default.interval, SHORTEST_INTERVAL, LONGEST_INTERVAL, "interval", faults);
    let timeout = within(spec.timeout, default.timeout, Duration::from_nanos(1), LONGEST_TIMEOUT, "timeout", faults);
    let jitter = match spec.jitter {
        Some(given) => field::number(given, 0, 100, format!("{AT}.jitter"), faults),
        None => Some(default.jitter_percent),
    };
    Some(HealthCheck {
        probe: probe?,
        port: port.flatten(),
        interval: interval?,
        timeout: timeout?,
        jitter_percent: jitter?,
        healthy: healthy?,
        unhealthy: unhealthy?,
    })
}

fn within(
    given: Option<String>,
    default: Duration,
    low: Duration,
    high: Duration,
    field: &str,
    faults: &mut Faults,
) -> Option<Duration> {
    let at = format!("{AT}.{field}");
    let Some(given) = given else { return Some(default) };
    let value = field::positive(&given, &at, faults)?;
    if !(low..=high).contains(&value) {
        faults.add(at, format_args!("{given} is out of range ({low:?} to {high:?})"));
        return None;
    }
    Some(value)
}

fn http(spec: HttpSpec, faults: &mut Faults) -> Option<Probe> {
    let at = |field: &str| format!("{AT}.http.{field}");
    let path = &spec.path;
    if path.len() > LONGEST_PATH {
        faults.add(at("path"), format_args!("longer than {LONGEST_PATH} bytes"));
    } else if !path.starts_with('/') || path.contains('#') || http::uri::PathAndQuery::try_from(path.as_str()).is_err()
    {
        faults.add(at("path"), format_args!("{path:?} is not a path that begins with / (RFC 9110)"));
    }
    if let Some(host) = spec.host.as_deref().filter(|host| http::uri::Authority::try_from(*host).is_err()) {
        faults.add(at("host"), format_args!("{host:?} is not a host, or a host and port (RFC 3986)"));
    }
    let given = spec.expected_statuses.unwrap_or_default();
    let checked = given.iter().enumerate().filter_map(|(index, status)| {
        field::number(*status, 100, 599, at(&format!("expectedStatuses[{index}]")), faults)
    });
    Some(Probe::Http { statuses: checked.collect(), path: spec.path, host: spec.host })
}

fn grpc(service: String, faults: &mut Faults) -> Option<Probe> {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if service.len() > LONGEST_SERVICE || !service.bytes().all(sound) {
        faults.add(format!("{AT}.grpc.service"), format_args!("{service:?} is not the name of a gRPC service"));
        return None;
    }
    Some(Probe::Grpc { service })
}

pub fn throttle(spec: ThrottleSpec, faults: &mut Faults) -> Option<Throttle> {
    let k = spec.k.unwrap_or(DEFAULT_K);
    if !K.contains(&k) {
        faults.add("spec.throttle.k", format_args!("{k} is out of range ({} to {})", K.start(), K.end()));
        return None;
    }
    Some(Throttle { k })
}
