//! `limits` and `faults` of a `TrafficPolicy`: what they become, and what mistakes are told.
//!
//! One row for each; the messages are compared letter by letter.

use crate::read;
use std::num::NonZeroU32;
use std::time::Duration;
use weft_model::faults::{Abort, Answer, Delay, Faults};
use weft_model::limits::{Concurrency, Limits, RateKey, RateLimit};
use weft_model::route::{Match, PathMatch};

fn some(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

#[test]
fn what_is_wrong_is_named_by_its_field() {
    let rates = (0..17).map(|_| "{requests: 1}").collect::<Vec<_>>().join(", ");
    let too_many = format!("limits: {{rate: [{rates}]}}");
    let table = [
        ("limits: {rate: [{}]}", "limits.rate[0].requests: missing"),
        (too_many.as_str(), "limits.rate: 17 are too many, at most 16"),
        ("limits: {rate: [{requests: 0}]}", "limits.rate[0].requests: 0 is out of range (1 to 1000000)"),
        ("limits: {rate: [{requests: 1, per: 0s}]}", "limits.rate[0].per: must be longer than 0s"),
        (
            "limits: {rate: [{requests: 1, per: 1500ms}]}",
            "limits.rate[0].per: \"1500ms\" is not a number of whole seconds, at most 24h",
        ),
        (
            "limits: {rate: [{requests: 1, per: 25h}]}",
            "limits.rate[0].per: \"25h\" is not a number of whole seconds, at most 24h",
        ),
        ("limits: {rate: [{requests: 1, burst: -1}]}", "limits.rate[0].burst: -1 is out of range (1 to 1000000)"),
        (
            "limits: {rate: [{requests: 1, key: user}]}",
            "limits.rate[0].key: \"user\" is none of service, identity and address",
        ),
        (
            "limits: {rate: [{requests: 1, name: a}, {requests: 2, name: a}]}",
            "limits.rate[1].name: \"a\" is the name of another limit too",
        ),
        (
            "limits: {rate: [{requests: 1, matches: [{path: {value: x}}]}]}",
            "limits.rate[0].matches[0].path.value: \"x\" must begin with '/'",
        ),
        ("limits: {rate: [{requests: 1, size: 3}]}", "limits.rate[0].size: unknown field"),
        ("limits: {concurrency: {}}", "limits.concurrency: needs exactly one of max and adaptive"),
        ("limits: {concurrency: {max: 1, adaptive: {}}}", "limits.concurrency: needs exactly one of max and adaptive"),
        ("limits: {concurrency: {max: 0}}", "limits.concurrency.max: 0 is out of range (1 to 1000000)"),
        (
            "limits: {concurrency: {adaptive: {min: 9, max: 8}}}",
            "limits.concurrency.adaptive.min: 9 is more than max, 8",
        ),
        ("limits: {connections: 0}", "limits.connections: 0 is out of range (1 to 1000000)"),
        ("faults: {}", "faults: needs delay, abort or both"),
        ("faults: {abort: {percent: 10}}", "faults.abort: needs exactly one of status and grpcStatus"),
        (
            "faults: {abort: {percent: 10, status: 500, grpcStatus: 1}}",
            "faults.abort: needs exactly one of status and grpcStatus",
        ),
        ("faults: {abort: {percent: 0, status: 500}}", "faults.abort.percent: 0 is out of range (1 to 100)"),
        ("faults: {abort: {percent: 5, status: 200}}", "faults.abort.status: 200 is out of range (400 to 599)"),
        ("faults: {abort: {percent: 5, grpcStatus: 17}}", "faults.abort.grpcStatus: 17 is out of range (1 to 16)"),
        ("faults: {delay: {percent: 101, duration: 1s}}", "faults.delay.percent: 101 is out of range (1 to 100)"),
        ("faults: {delay: {percent: 5}}", "faults.delay.duration: missing"),
        ("faults: {delay: {percent: 5, duration: 6m}}", "faults.delay.duration: \"6m\" is longer than the 5m allowed"),
    ];
    for (given, expected) in table {
        let told: Vec<String> = read(given).err().unwrap_or_default();
        assert!(told.contains(&format!("TrafficPolicy shop/x: spec.{expected}")), "{given}: {told:?}");
    }
}

#[test]
fn what_is_right_becomes_limits() {
    let given = "limits: {rate: [{requests: 100}, {name: logins, requests: 3, per: 1m, burst: 5, key: identity, \
                 matches: [{path: {value: /login}, method: POST}]}], concurrency: {adaptive: {max: 50}}, connections: 7}";
    let all = RateLimit {
        name: "rate-0".to_owned(),
        requests: some(100),
        per: Duration::from_secs(1),
        burst: some(100),
        key: RateKey::Service,
        matches: vec![],
    };
    let path = PathMatch::Prefix("/login".to_owned());
    let logins = RateLimit {
        name: "logins".to_owned(),
        requests: some(3),
        per: Duration::from_secs(60),
        burst: some(5),
        key: RateKey::Identity,
        matches: vec![Match { path, method: Some("POST".to_owned()), ..Match::default() }],
    };
    let concurrency = Some(Concurrency::Adaptive { min: some(3), max: some(50) });
    let limits = Limits { rate: vec![all, logins], concurrency, connections: Some(some(7)) };
    assert_eq!(read(given).unwrap().limits, limits);
    let fixed = read("limits: {concurrency: {max: 4}}").unwrap().limits;
    assert_eq!(fixed.concurrency, Some(Concurrency::Fixed { max: some(4) }));
    assert_eq!(read("retry: {attempts: 1}").unwrap().limits, Limits::default());
}

#[test]
fn what_is_right_becomes_faults() {
    let given = "faults: {delay: {percent: 10, duration: 2s}, abort: {percent: 5, status: 503}}";
    let delay = Some(Delay { percent: 10, duration: Duration::from_secs(2) });
    let abort = Some(Abort { percent: 5, answer: Answer::Status(503) });
    assert_eq!(read(given).unwrap().faults, Some(Faults { delay, abort, matches: vec![] }));
    let grpc = read("faults: {abort: {percent: 100, grpcStatus: 14}}").unwrap().faults.unwrap();
    assert_eq!(grpc.abort.unwrap().answer, Answer::GrpcStatus(14));
    assert_eq!(read("retry: {attempts: 1}").unwrap().faults, None);
}
