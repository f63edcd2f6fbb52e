//! `healthCheck` and `throttle` of a `TrafficPolicy`: what they become, and what mistakes are told.
//!
//! One row for each; the messages are compared letter by letter.

use crate::read;
use std::time::Duration;
use weft_model::health::{HealthCheck, Probe};

#[test]
fn checks_are_read_with_their_defaults() {
    let check = |given: &str| read(&format!("healthCheck: {{{given}}}")).unwrap().health_check.unwrap();
    assert_eq!(check("tcp: {}"), HealthCheck::of(Probe::Tcp));
    let plain = Probe::Http { path: "/healthz".to_owned(), host: None, statuses: Vec::new() };
    assert_eq!(check("http: {path: /healthz}"), HealthCheck::of(plain));
    assert_eq!(check("grpc: {}"), HealthCheck::of(Probe::Grpc { service: String::new() }));
    let full = "http: {path: '/h?deep=1', host: 'a.b:8080', expectedStatuses: [200, 429]}, port: 8080, interval: 500ms, \
                timeout: 250ms, jitter: 0, healthyThreshold: 1, unhealthyThreshold: 5";
    let full = check(full);
    let probe = Probe::Http { path: "/h?deep=1".into(), host: Some("a.b:8080".into()), statuses: vec![200, 429] };
    assert_eq!((&full.probe, full.port.map(|port| port.get())), (&probe, Some(8080)));
    assert_eq!((full.interval, full.timeout), (Duration::from_millis(500), Duration::from_millis(250)));
    assert_eq!((full.jitter_percent, full.healthy.get(), full.unhealthy.get()), (0, 1, 5));
    assert_eq!(read("retry: {}").unwrap().health_check, None);
}

#[test]
fn throttles_are_read_with_their_defaults() {
    assert_eq!(read("throttle: {}").unwrap().throttle.unwrap().k, 2.0);
    assert_eq!(read("throttle: {k: 1.1}").unwrap().throttle.unwrap().k, 1.1);
    assert_eq!(read("retry: {}").unwrap().throttle, None);
}

#[test]
fn what_is_wrong_is_named_by_its_field() {
    let long = format!("healthCheck: {{http: {{path: /{}}}}}", "x".repeat(1024));
    let table = [
        ("healthCheck: {}", "healthCheck: needs exactly one of tcp, http, grpc"),
        ("healthCheck: {tcp: {}, grpc: {}}", "healthCheck: needs exactly one of tcp, http, grpc"),
        ("healthCheck: {http: {}}", "healthCheck.http.path: missing"),
        ("healthCheck: {http: {path: h}}", "healthCheck.http.path: \"h\" is not a path that begins with / (RFC 9110)"),
        (
            "healthCheck: {http: {path: '/a b'}}",
            "healthCheck.http.path: \"/a b\" is not a path that begins with / (RFC 9110)",
        ),
        (&long, "healthCheck.http.path: longer than 1024 bytes"),
        (
            "healthCheck: {http: {path: /, host: 'a b'}}",
            "healthCheck.http.host: \"a b\" is not a host, or a host and port (RFC 3986)",
        ),
        (
            "healthCheck: {http: {path: /, expectedStatuses: [200, 99]}}",
            "healthCheck.http.expectedStatuses[1]: 99 is out of range (100 to 599)",
        ),
        (
            "healthCheck: {grpc: {service: 'a/b'}}",
            "healthCheck.grpc.service: \"a/b\" is not the name of a gRPC service",
        ),
        ("healthCheck: {tcp: {port: 1}}", "healthCheck.tcp.port: unknown field"),
        ("healthCheck: {tcp: {}, port: 0}", "healthCheck.port: 0 is not a port (1 to 65535)"),
        ("healthCheck: {tcp: {}, interval: 99ms}", "healthCheck.interval: 99ms is out of range (100ms to 3600s)"),
        ("healthCheck: {tcp: {}, interval: 2h}", "healthCheck.interval: 2h is out of range (100ms to 3600s)"),
        ("healthCheck: {tcp: {}, timeout: 0s}", "healthCheck.timeout: must be longer than 0s"),
        ("healthCheck: {tcp: {}, timeout: 61s}", "healthCheck.timeout: 61s is out of range (1ns to 60s)"),
        ("healthCheck: {tcp: {}, jitter: 101}", "healthCheck.jitter: 101 is out of range (0 to 100)"),
        ("healthCheck: {tcp: {}, healthyThreshold: 0}", "healthCheck.healthyThreshold: 0 is out of range (1 to 100)"),
        (
            "healthCheck: {tcp: {}, unhealthyThreshold: 101}",
            "healthCheck.unhealthyThreshold: 101 is out of range (1 to 100)",
        ),
        ("throttle: {k: 0.9}", "throttle.k: 0.9 is out of range (1 to 100)"),
        ("throttle: {k: -1}", "throttle.k: -1 is out of range (1 to 100)"),
        ("throttle: {K: 2}", "throttle.K: unknown field"),
    ];
    for (given, expected) in table {
        assert_eq!(read(given), Err(vec![format!("TrafficPolicy shop/x: spec.{expected}")]), "{given}");
    }
}
