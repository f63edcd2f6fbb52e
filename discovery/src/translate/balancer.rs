//! `loadBalancer` of a `TrafficPolicy`: which balancer, and which endpoints it chooses among.
//!
//! Part of the policy's translation. A field that the chosen algorithm does not read is a fault, because whoever wrote it
//! expects something of it.

use super::fault::Faults;
use super::field;
use serde::Deserialize;
use std::num::NonZeroU32;
use weft_model::policy::{Balancer, HashKey, RING_POINTS, Spread, TABLE_SIZES, ZonePreference, is_table_size};

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerSpec {
    /// `p2c-ewma` (default), `least-request`, `weighted-least-request`, `round-robin`, `weighted-round-robin`, `random`,
    /// `source-ip-hash`, `ring-hash` or `maglev`.
    algorithm: Option<String>,
    /// `p2c-ewma`: the time in which a latency loses all but 1/e of its weight; more than 0s. Default 10s.
    ewma_decay: Option<String>,
    /// `least-request`: random endpoints to compare, 1 to 100. Default 2.
    choices: Option<i64>,
    /// `ring-hash`, `maglev`: what sessions are told apart by; one of its fields.
    hash_on: Option<HashOnSpec>,
    /// `ring-hash`: points on the ring, 1024 to 1048576. Default 65536.
    ring_size: Option<i64>,
    /// `maglev`, `source-ip-hash`: entries of the table, a prime from 251 to 1048573. Default 65537.
    table_size: Option<i64>,
    /// When fewer than so many percent of the endpoints are usable, all are used, 0 to 100. Default 0: never.
    panic_threshold: Option<i64>,
    /// New endpoints come to their share by and by.
    slow_start: Option<SlowStartSpec>,
    /// Each proxy uses so many of the endpoints; 1 or more. Default: all.
    subset_size: Option<i64>,
    /// Endpoints of the proxy's own zone come first.
    zone_aware: Option<ZoneAwareSpec>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct HashOnSpec {
    /// True: the address of the client's end of the connection.
    source_address: Option<bool>,
    /// The value of this header.
    header: Option<String>,
    /// The value of this cookie.
    cookie: Option<String>,
    /// The value of this query parameter.
    query_param: Option<String>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct SlowStartSpec {
    /// The time in which a new endpoint comes to its full weight; more than 0s, at most 1h.
    window: String,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct ZoneAwareSpec {
    /// An endpoint with so many requests in flight from one worker, times its weight, has no headroom
    /// left, and other zones help. 1 to 1000000. Default 16.
    max_in_flight: Option<i64>,
}

const ALGORITHMS: &str = "p2c-ewma, least-request, weighted-least-request, round-robin, weighted-round-robin, random, \
                          source-ip-hash, ring-hash, maglev";
/// Points of a ring, unless the document says otherwise: 256 for each of 256 endpoints.
const RING: u32 = 65_536;
/// Entries of a table, unless the document says otherwise: 1 % even up to 650 endpoints (Maglev, section 5.3).
const TABLE: u32 = 65_537;
/// Requests in flight at which an endpoint has no headroom, unless the document says otherwise.
const IN_FLIGHT: NonZeroU32 = NonZeroU32::new(16).expect("16 is not 0");
/// Longer ramps are taken for mistakes.
const LONGEST_RAMP: i64 = 3600;

pub fn translate(spec: LoadBalancerSpec, faults: &mut Faults) -> (Balancer, Spread) {
    misplaced(&spec, faults);
    (balancer(&spec, faults).unwrap_or_default(), spread(&spec, faults))
}

/// Fields of other algorithms.
fn misplaced(spec: &LoadBalancerSpec, faults: &mut Faults) {
    let algorithm = spec.algorithm.as_deref().unwrap_or("p2c-ewma");
    for (given, field, readers) in [
        (spec.ewma_decay.is_some(), "ewmaDecay", &["p2c-ewma"][..]),
        (spec.choices.is_some(), "choices", &["least-request", "weighted-least-request"]),
        (spec.hash_on.is_some(), "hashOn", &["ring-hash", "maglev"]),
        (spec.ring_size.is_some(), "ringSize", &["ring-hash"]),
        (spec.table_size.is_some(), "tableSize", &["maglev", "source-ip-hash"]),
    ] {
        if given && !readers.contains(&algorithm) && ALGORITHMS.split(", ").any(|known| known == algorithm) {
            let reason = format!("only for {}, not for {algorithm}", readers.join(" and "));
            faults.add(format!("spec.loadBalancer.{field}"), reason);
        }
    }
}

fn balancer(spec: &LoadBalancerSpec, faults: &mut Faults) -> Option<Balancer> {
    Some(match spec.algorithm.as_deref() {
        None | Some("p2c-ewma") => {
            let decay = field::positive(spec.ewma_decay.as_deref()?, "spec.loadBalancer.ewmaDecay", faults)?;
            Balancer::P2cEwma { decay }
        }
        Some("least-request" | "weighted-least-request") => {
            let choices = spec.choices.unwrap_or(2);
            Balancer::LeastRequest { choices: field::number(choices, 1, 100, "spec.loadBalancer.choices", faults)? }
        }
        Some("round-robin" | "weighted-round-robin") => Balancer::RoundRobin,
        Some("random") => Balancer::Random,
        Some("source-ip-hash") => Balancer::Maglev { on: HashKey::SourceAddress, size: table_size(spec, faults)? },
        Some("ring-hash") => {
            let (low, high) = (i64::from(*RING_POINTS.start()), i64::from(*RING_POINTS.end()));
            let given = spec.ring_size.unwrap_or(i64::from(RING));
            let points = field::number(given, low, high, "spec.loadBalancer.ringSize", faults);
            Balancer::RingHash { on: hash_on(spec, faults)?, points: points? }
        }
        Some("maglev") => {
            let size = table_size(spec, faults);
            Balancer::Maglev { on: hash_on(spec, faults)?, size: size? }
        }
        Some(other) => {
            let reason = format_args!("{other:?} is not supported, only {ALGORITHMS}").to_string();
            faults.add("spec.loadBalancer.algorithm", reason);
            return None;
        }
    })
}

fn table_size(spec: &LoadBalancerSpec, faults: &mut Faults) -> Option<u32> {
    const AT: &str = "spec.loadBalancer.tableSize";
    let given = spec.table_size.unwrap_or(i64::from(TABLE));
    let size = field::number(given, i64::from(*TABLE_SIZES.start()), i64::from(*TABLE_SIZES.end()), AT, faults)?;
    if !is_table_size(size) {
        faults.add(AT, format_args!("{size} is not a prime number"));
        return None;
    }
    Some(size)
}

fn hash_on(spec: &LoadBalancerSpec, faults: &mut Faults) -> Option<HashKey> {
    const AT: &str = "spec.loadBalancer.hashOn";
    let Some(on) = &spec.hash_on else {
        faults.add(AT, "missing: say what sessions are told apart by");
        return None;
    };
    match (on.source_address, on.header.as_deref(), on.cookie.as_deref(), on.query_param.as_deref()) {
        (Some(true), None, None, None) => Some(HashKey::SourceAddress),
        (None, Some(name), None, None) => field::header_name(name, format!("{AT}.header"), faults).map(HashKey::Header),
        (None, None, Some(name), None) => field::cookie_name(name, format!("{AT}.cookie"), faults).map(HashKey::Cookie),
        (None, None, None, Some("")) => {
            faults.add(format!("{AT}.queryParam"), "is empty");
            None
        }
        (None, None, None, Some(name)) => Some(HashKey::QueryParam(name.to_owned())),
        _ => {
            faults.add(AT, "needs exactly one of sourceAddress: true, header, cookie, queryParam");
            None
        }
    }
}

fn spread(spec: &LoadBalancerSpec, faults: &mut Faults) -> Spread {
    let percent = spec.panic_threshold.unwrap_or(0);
    let zone = spec.zone_aware.as_ref().and_then(|zone| {
        let max_in_flight = match zone.max_in_flight {
            Some(given) => count(given, 1_000_000, "spec.loadBalancer.zoneAware.maxInFlight", faults)?,
            None => IN_FLIGHT,
        };
        Some(ZonePreference { max_in_flight })
    });
    let slow_start = spec.slow_start.as_ref().and_then(|slow| {
        const AT: &str = "spec.loadBalancer.slowStart.window";
        let window = field::positive(&slow.window, AT, faults)?;
        if window.as_secs() > LONGEST_RAMP.unsigned_abs() {
            faults.add(AT, format_args!("{:?} is longer than the {LONGEST_RAMP}s allowed", slow.window));
        }
        Some(window)
    });
    Spread {
        panic_percent: field::number(percent, 0, 100, "spec.loadBalancer.panicThreshold", faults).unwrap_or_default(),
        slow_start,
        subset: spec.subset_size.and_then(|size| count(size, 1_000_000, "spec.loadBalancer.subsetSize", faults)),
        zone,
    }
}

fn count(given: i64, most: i64, at: &str, faults: &mut Faults) -> Option<NonZeroU32> {
    field::number(given, 1, most, at, faults).and_then(NonZeroU32::new)
}
