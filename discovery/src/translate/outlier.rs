//! `outlierDetection` of a `TrafficPolicy`: when endpoints are left out, for how long, and how many.
//!
//! Part of the policy's translation. What is left out keeps the model's default.

use super::fault::Faults;
use super::field;
use serde::Deserialize;
use std::num::NonZeroU32;
use weft_model::policy::{OutlierDetection, SuccessRate};

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct OutlierDetectionSpec {
    /// Answers 502, 503 or 504 (gRPC: UNAVAILABLE) in a row that eject an endpoint, 0 to 1000000; 0: none do. Default 5.
    consecutive_gateway_errors: Option<i64>,
    /// Failures to connect, resets before an answer and tries without an answer in time, in a row, that eject an endpoint, 0
    /// to 1000000; 0: none do. Default 5.
    consecutive_local_failures: Option<i64>,
    /// Ejects endpoints whose share of successes is far below that of the others. Left out: they are not compared.
    success_rate: Option<SuccessRateSpec>,
    /// How often success rates are compared; an endpoint that stays in for so long has one ejection forgotten. More than 0s.
    /// Default 10s.
    interval: Option<String>,
    /// How long the first ejection lasts; the n-th in a row lasts n times as long. More than 0s. Default 30s.
    base_ejection_time: Option<String>,
    /// The longest ejection, at least baseEjectionTime. Default 5m, or baseEjectionTime if that is longer.
    max_ejection_time: Option<String>,
    /// At most this share of the endpoints is out at once, 1 to 100 percent; one always may be. Default 10.
    max_ejection_percent: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct SuccessRateSpec {
    /// Only so many endpoints with enough requests are compared, 2 to 1000000. Default 5.
    minimum_endpoints: Option<i64>,
    /// Requests within the interval without which an endpoint is not judged, 1 to 1000000. Default 100.
    minimum_requests: Option<i64>,
    /// How far below the mean is too far: standard deviations in thousandths, 1 to 1000000. Default 1900.
    stdev_factor: Option<i64>,
}

const AT: &str = "spec.outlierDetection";
const MOST: i64 = 1_000_000;

pub fn translate(spec: &OutlierDetectionSpec, faults: &mut Faults) -> OutlierDetection {
    let default = OutlierDetection::default();
    let mut row = |given: Option<i64>, name: &str, default: Option<NonZeroU32>| match given {
        Some(given) => field::number(given, 0, MOST, format!("{AT}.{name}"), faults).and_then(NonZeroU32::new),
        None => default,
    };
    let gateway_errors = row(spec.consecutive_gateway_errors, "consecutiveGatewayErrors", default.gateway_errors);
    let local_failures = row(spec.consecutive_local_failures, "consecutiveLocalFailures", default.local_failures);
    let mut time = |given: &Option<String>, name: &str| {
        given.as_ref().and_then(|text| field::positive(text, &format!("{AT}.{name}"), faults))
    };
    let interval = time(&spec.interval, "interval").unwrap_or(default.interval);
    let base_time = time(&spec.base_ejection_time, "baseEjectionTime").unwrap_or(default.base_time);
    let given_max = time(&spec.max_ejection_time, "maxEjectionTime");
    if given_max.is_some_and(|max| max < base_time) {
        faults.add(format!("{AT}.maxEjectionTime"), "is shorter than baseEjectionTime");
    }
    let percent = spec.max_ejection_percent.unwrap_or(i64::from(default.max_percent));
    OutlierDetection {
        gateway_errors,
        local_failures,
        success_rate: spec.success_rate.as_ref().map(|spec| success_rate(spec, faults)),
        interval,
        base_time,
        max_time: given_max.unwrap_or(default.max_time.max(base_time)),
        max_percent: field::number(percent, 1, 100, format!("{AT}.maxEjectionPercent"), faults).unwrap_or_default(),
    }
}

fn success_rate(spec: &SuccessRateSpec, faults: &mut Faults) -> SuccessRate {
    let default = SuccessRate::default();
    let mut number = |given: Option<i64>, low: i64, name: &str, default: u32| match given {
        Some(given) => field::number(given, low, MOST, format!("{AT}.successRate.{name}"), faults).unwrap_or(default),
        None => default,
    };
    SuccessRate {
        min_endpoints: number(spec.minimum_endpoints, 2, "minimumEndpoints", default.min_endpoints),
        min_requests: number(spec.minimum_requests, 1, "minimumRequests", default.min_requests),
        deviations: number(spec.stdev_factor, 1, "stdevFactor", default.deviations),
    }
}
