//! `outlierDetection` and `retry.backoff` of a `TrafficPolicy`: what they become, and what mistakes are told.
//!
//! One row for each; the messages are compared letter by letter.

use crate::read;
use std::num::NonZeroU32;
use std::time::Duration;
use weft_model::policy::{Backoff, CircuitBreaker, Hedge, OutlierDetection, SuccessRate};

#[test]
fn what_is_wrong_is_named_by_its_field() {
    let table = [
        ("outlierDetection", "maxEjectionPercent: 0", "maxEjectionPercent: 0 is out of range (1 to 100)"),
        ("outlierDetection", "maxEjectionPercent: 101", "maxEjectionPercent: 101 is out of range (1 to 100)"),
        ("outlierDetection", "baseEjectionTime: 0s", "baseEjectionTime: must be longer than 0s"),
        (
            "outlierDetection",
            "interval: -1s",
            "interval: \"-1s\" is not a duration such as 10s, 500ms or 1h30m (GEP-2257)",
        ),
        (
            "outlierDetection",
            "baseEjectionTime: 10s, maxEjectionTime: 9s",
            "maxEjectionTime: is shorter than baseEjectionTime",
        ),
        (
            "outlierDetection",
            "consecutiveGatewayErrors: -1",
            "consecutiveGatewayErrors: -1 is out of range (0 to 1000000)",
        ),
        (
            "outlierDetection",
            "consecutiveLocalFailures: 1000001",
            "consecutiveLocalFailures: 1000001 is out of range (0 to 1000000)",
        ),
        (
            "outlierDetection",
            "successRate: {minimumEndpoints: 1}",
            "successRate.minimumEndpoints: 1 is out of range (2 to 1000000)",
        ),
        (
            "outlierDetection",
            "successRate: {stdevFactor: 0}",
            "successRate.stdevFactor: 0 is out of range (1 to 1000000)",
        ),
        ("circuitBreaker", "maxRequests: 0", "maxRequests: 0 is out of range (1 to 1000000)"),
        ("circuitBreaker", "maxPendingRequests: -5", "maxPendingRequests: -5 is out of range (1 to 1000000)"),
        ("circuitBreaker", "maxRetries: 1000001", "maxRetries: 1000001 is out of range (1 to 1000000)"),
        ("circuitBreaker", "maxConnections: 0", "maxConnections: 0 is out of range (1 to 1000000)"),
        ("retry", "hedge: {after: 0s}", "hedge.after: must be longer than 0s"),
        (
            "retry",
            "hedge: {after: soon}",
            "hedge.after: \"soon\" is not a duration such as 10s, 500ms or 1h30m (GEP-2257)",
        ),
        ("retry", "hedge: {after: 2m}", "hedge.after: \"2m\" is longer than the 60s allowed"),
        ("retry", "hedge: {after: 1s, percentile: 100}", "hedge.percentile: 100 is out of range (1 to 99)"),
        ("retry", "attempts: 0, hedge: {after: 1s}", "hedge: needs attempts: asking a second endpoint is another try"),
        ("retry", "backoff: {base: 0s}", "backoff.base: must be longer than 0s"),
        ("retry", "backoff: {base: 1s, max: 500ms}", "backoff.max: is shorter than base"),
        ("retry", "backoff: {max: 2m}", "backoff.max: \"2m\" is longer than the 60s allowed"),
        ("retry", "backoff: {maxRetryAfter: 1h}", "backoff.maxRetryAfter: \"1h\" is longer than the 60s allowed"),
    ];
    for (part, given, fault) in table {
        let faults = read(&format!("{part}: {{{given}}}")).unwrap_err();
        assert_eq!(faults, [format!("TrafficPolicy shop/x: spec.{part}.{fault}")]);
    }
    let unknown = read("outlierDetection: {consecutive5xxErrors: 5}").unwrap_err();
    assert!(unknown[0].contains("consecutive5xxErrors"), "{unknown:?}");
}

#[test]
fn what_is_left_out_keeps_its_default() {
    let policy = read("timeouts: {}").unwrap();
    assert_eq!((policy.outlier, policy.breaker, policy.retry.backoff), (None, None, Backoff::default()));
    assert_eq!(read("outlierDetection: {}").unwrap().outlier, Some(OutlierDetection::default()));
    let long = read("outlierDetection: {baseEjectionTime: 10m}").unwrap().outlier.unwrap();
    assert_eq!(long.max_time, Duration::from_secs(600), "the longest is never shorter than the first");
    let backoff = read("retry: {backoff: {base: 1s, maxRetryAfter: 0s}}").unwrap().retry.backoff;
    let second = Duration::from_secs(1);
    assert_eq!(backoff, Backoff { base: second, max: second, max_retry_after: Duration::ZERO });
}

#[test]
fn what_is_given_is_taken() {
    let given = "outlierDetection: {consecutiveGatewayErrors: 0, consecutiveLocalFailures: 7, interval: 1s, \
                 baseEjectionTime: 2s, maxEjectionTime: 3s, maxEjectionPercent: 50, \
                 successRate: {minimumEndpoints: 3, minimumRequests: 10, stdevFactor: 1500}}";
    let wanted = OutlierDetection {
        gateway_errors: None,
        local_failures: NonZeroU32::new(7),
        success_rate: Some(SuccessRate { min_endpoints: 3, min_requests: 10, deviations: 1500 }),
        interval: Duration::from_secs(1),
        base_time: Duration::from_secs(2),
        max_time: Duration::from_secs(3),
        max_percent: 50,
    };
    assert_eq!(read(given).unwrap().outlier, Some(wanted));
    let bounds = CircuitBreaker {
        max_requests: NonZeroU32::new(3),
        max_pending: NonZeroU32::new(2),
        max_retries: None,
        max_connections: NonZeroU32::new(8),
    };
    let breaker = read("circuitBreaker: {maxRequests: 3, maxPendingRequests: 2, maxConnections: 8}").unwrap().breaker;
    assert_eq!(breaker, Some(bounds));
    let hedge = |given| read(&format!("retry: {{hedge: {{{given}}}}}")).unwrap().retry.hedge;
    let after = Duration::from_millis(50);
    assert_eq!(hedge("after: 50ms"), Some(Hedge { after, percentile: None }));
    assert_eq!(hedge("after: 50ms, percentile: 95"), Some(Hedge { after, percentile: NonZeroU32::new(95) }));
    assert_eq!(read("retry: {}").unwrap().retry.hedge, None);
}
