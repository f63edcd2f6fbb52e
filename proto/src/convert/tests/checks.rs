//! Health checks and throttles of any kind, for the policies that have to survive the wire.
//!
//! And broken ones, each of which is named by its field.

use super::*;
use proptest::collection::vec;
use proptest::option::of;
use std::num::NonZeroU32;
use weft_model::health::{HealthCheck, Probe};
use weft_model::throttle::{K, Throttle};

fn any_probe() -> impl Strategy<Value = Probe> {
    let http = ("/[a-z?=/]{0,8}", of("[a-z]{1,8}"), vec(100u16..=599, 0..4));
    prop_oneof![
        Just(Probe::Tcp),
        http.prop_map(|(path, host, statuses)| Probe::Http { path, host, statuses }),
        "[a-z.]{0,8}".prop_map(|service| Probe::Grpc { service }),
    ]
}

prop_compose! {
    pub fn any_check()(
        probe in any_probe(),
        port in of(any_port()),
        interval in any_duration(),
        timeout in any_duration(),
        jitter_percent in 0u32..=100,
        healthy: NonZeroU32,
        unhealthy: NonZeroU32,
    ) -> HealthCheck { HealthCheck { probe, port, interval, timeout, jitter_percent, healthy, unhealthy } }
}

pub fn any_throttle() -> impl Strategy<Value = Throttle> {
    K.prop_map(|k| Throttle { k })
}

#[test]
fn broken_checks_are_named() {
    let refused = |change: fn(&mut v1::HealthCheck)| {
        let mut wire = v1::HealthCheck::from(&HealthCheck::of(Probe::Tcp));
        change(&mut wire);
        let policy = v1::TrafficPolicy { health_check: Some(wire), ..Default::default() };
        let field = TrafficPolicy::try_from(policy).unwrap_err().field;
        field.strip_prefix("health_check.").unwrap().to_owned()
    };
    fn http(path: &str, status: u32) -> Option<v1::health_check::Probe> {
        let probe = v1::HttpProbe { path: path.to_owned(), statuses: vec![status], ..Default::default() };
        Some(v1::health_check::Probe::Http(probe))
    }
    assert_eq!(refused(|c| c.probe = None), "probe");
    assert_eq!(refused(|c| c.probe = http("healthz", 200)), "http.path");
    assert_eq!(refused(|c| c.probe = http("/", 600)), "http.statuses[0]");
    assert_eq!(refused(|c| c.port = 65_536), "port");
    assert_eq!(refused(|c| c.interval_us = 0), "interval_us");
    assert_eq!(refused(|c| c.timeout_us = 0), "timeout_us");
    assert_eq!(refused(|c| c.jitter_percent = 101), "jitter_percent");
    assert_eq!(refused(|c| c.healthy = 0), "healthy");
    assert_eq!(refused(|c| c.unhealthy = 0), "unhealthy");
    for k in [0.0, 0.99, 101.0, f64::NAN, f64::INFINITY] {
        let policy = v1::TrafficPolicy { throttle: Some(v1::Throttle { k }), ..Default::default() };
        assert_eq!(TrafficPolicy::try_from(policy).unwrap_err().field, "throttle.k");
    }
}
