//! `loadBalancer` of a `TrafficPolicy`: what each algorithm becomes, and what mistakes are told.
//!
//! One row for each; the messages are compared letter by letter.

use std::num::NonZeroU32;
use std::time::Duration;
use weft_model::balance::LoadReports;
use weft_model::policy::{Balancer, HashKey, Spread};

/// What a policy with this `loadBalancer` says, or every fault in it.
fn read(given: &str) -> Result<(Balancer, Spread), Vec<String>> {
    crate::read(&format!("loadBalancer: {{{given}}}")).map(|policy| (policy.balancer, policy.spread))
}

/// Each of `table` is refused with what stands beside it.
fn refused(table: &[(&str, &str)]) {
    for (given, expected) in table {
        let told: Vec<String> = read(given).err().unwrap_or_default();
        assert!(told.contains(&format!("TrafficPolicy shop/x: spec.loadBalancer.{expected}")), "{given}: {told:?}");
    }
}

#[test]
fn what_is_wrong_with_an_algorithm_is_named_by_its_field() {
    refused(&[
        ("choices: 3", "choices: only for least-request and weighted-least-request, not for p2c-ewma"),
        ("algorithm: random, ewmaDecay: 1s", "ewmaDecay: only for p2c-ewma, not for random"),
        ("algorithm: maglev, hashOn: {header: a}, ringSize: 1024", "ringSize: only for ring-hash, not for maglev"),
        (
            "algorithm: source-ip-hash, hashOn: {header: a}",
            "hashOn: only for ring-hash and maglev, not for source-ip-hash",
        ),
        (
            "algorithm: ring-hash, hashOn: {header: a}, tableSize: 251",
            "tableSize: only for maglev and source-ip-hash, not for ring-hash",
        ),
        ("algorithm: least-request, choices: 0", "choices: 0 is out of range (1 to 100)"),
        ("algorithm: ring-hash", "hashOn: missing: say what sessions are told apart by"),
        (
            "algorithm: ring-hash, hashOn: {}",
            "hashOn: needs exactly one of sourceAddress: true, header, cookie, queryParam",
        ),
        (
            "algorithm: maglev, hashOn: {header: a, cookie: b}",
            "hashOn: needs exactly one of sourceAddress: true, header, cookie, queryParam",
        ),
        ("algorithm: maglev, hashOn: {header: 'a b'}", "hashOn.header: \"a b\" is not a header name (RFC 9110)"),
        ("algorithm: maglev, hashOn: {cookie: 'a;b'}", "hashOn.cookie: \"a;b\" is not the name of a cookie (RFC 6265)"),
        ("algorithm: maglev, hashOn: {queryParam: ''}", "hashOn.queryParam: is empty"),
        ("algorithm: maglev, hashOn: {ip: true}", "hashOn.ip: unknown field"),
        ("algorithm: ring-hash, hashOn: {header: a}, ringSize: 10", "ringSize: 10 is out of range (1024 to 1048576)"),
        ("algorithm: source-ip-hash, tableSize: 65536", "tableSize: 65536 is not a prime number"),
        ("algorithm: source-ip-hash, tableSize: 7", "tableSize: 7 is out of range (251 to 1048573)"),
    ]);
}

#[test]
fn what_is_wrong_with_the_spread_is_named_by_its_field() {
    refused(&[
        ("panicThreshold: 101", "panicThreshold: 101 is out of range (0 to 100)"),
        ("slowStart: {}", "slowStart.window: missing"),
        ("slowStart: {window: 0s}", "slowStart.window: must be longer than 0s"),
        ("slowStart: {window: 2h}", "slowStart.window: \"2h\" is longer than the 3600s allowed"),
        ("subsetSize: 0", "subsetSize: 0 is out of range (1 to 1000000)"),
        ("zoneAware: {maxInFlight: 0}", "zoneAware.maxInFlight: 0 is out of range (1 to 1000000)"),
        ("zoneAware: {zone: a}", "zoneAware.zone: unknown field"),
        ("maxInFlight: 3", "maxInFlight: only for nearest, not for p2c-ewma"),
        ("algorithm: nearest, maxInFlight: 0", "maxInFlight: 0 is out of range (1 to 1000000)"),
        ("algorithm: random, probesPerRequest: 3", "probesPerRequest: only for prequal, not for random"),
        ("algorithm: prequal, probesPerRequest: 11", "probesPerRequest: 11 is out of range (1 to 10)"),
        ("maxLoadPercent: 125", "maxLoadPercent: only for ring-hash and maglev and source-ip-hash, not for p2c-ewma"),
        ("algorithm: source-ip-hash, maxLoadPercent: 100", "maxLoadPercent: 100 is out of range (101 to 10000)"),
        ("failover: []", "failover: names no zone"),
        ("failover: [a, b, a]", "failover[2]: \"a\" is named twice"),
        (
            "failover: [a, 'B b']",
            "failover[1]: \"B b\" is not a DNS label: use 1 to 63 lower-case letters, digits and '-', starting and ending with \
             a letter or digit (RFC 1123)",
        ),
        (
            "algorithm: source-ip-hash, loadReports: {}",
            "loadReports: only for p2c-ewma and least-request and weighted-least-request and round-robin and \
             weighted-round-robin and random, not for source-ip-hash",
        ),
        ("loadReports: {expiry: 0s}", "loadReports.expiry: must be longer than 0s"),
        ("loadReports: {blackout: 2h}", "loadReports.blackout: \"2h\" is longer than the 3600s allowed"),
        ("loadReports: {errorPenaltyPercent: -1}", "loadReports.errorPenaltyPercent: -1 is out of range (0 to 1000)"),
    ]);
}

#[test]
fn what_is_right_becomes_a_balancer() {
    let user = || HashKey::Header("x-user".to_owned());
    for (given, expected) in [
        ("algorithm: least-request", Balancer::LeastRequest { choices: 2 }),
        ("algorithm: weighted-least-request, choices: 5", Balancer::LeastRequest { choices: 5 }),
        ("algorithm: round-robin", Balancer::RoundRobin),
        ("algorithm: weighted-round-robin", Balancer::RoundRobin),
        ("algorithm: random", Balancer::Random),
        ("algorithm: source-ip-hash", Balancer::Maglev { on: HashKey::SourceAddress, size: 65_537 }),
        (
            "algorithm: maglev, hashOn: {sourceAddress: true}, tableSize: 251",
            Balancer::Maglev { on: HashKey::SourceAddress, size: 251 },
        ),
        ("algorithm: nearest", Balancer::Nearest { max_in_flight: NonZeroU32::new(16).unwrap() }),
        ("algorithm: prequal", Balancer::Prequal { probes: 3 }),
        ("algorithm: prequal, probesPerRequest: 1", Balancer::Prequal { probes: 1 }),
        ("algorithm: ring-hash, hashOn: {header: X-User}", Balancer::RingHash { on: user(), points: 65_536 }),
    ] {
        assert_eq!(read(given).unwrap().0, expected, "{given}");
    }
    let (_, spread) = read("panicThreshold: 50, slowStart: {window: 30s}, subsetSize: 20, zoneAware: {}").unwrap();
    assert_eq!((spread.panic_percent, spread.slow_start), (50, Some(Duration::from_secs(30))));
    assert_eq!((spread.subset.unwrap().get(), spread.zone.unwrap().max_in_flight.get()), (20, 16));
    let (_, spread) = read("failover: [east, west], loadReports: {blackout: 0s, errorPenaltyPercent: 50}").unwrap();
    assert_eq!(spread.failover, ["east", "west"]);
    let reports = LoadReports { blackout: Duration::ZERO, error_penalty_percent: 50, ..LoadReports::default() };
    assert_eq!(spread.load_reports, Some(reports));
    let (_, spread) = read("algorithm: source-ip-hash, maxLoadPercent: 125").unwrap();
    assert_eq!(spread.max_load_percent, NonZeroU32::new(125));
}
