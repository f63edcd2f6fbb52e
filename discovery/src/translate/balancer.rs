//! `loadBalancer` of a `TrafficPolicy`: which balancer, and which endpoints it chooses among.
//!
//! Part of the policy's translation. A field that the chosen algorithm does not read is a fault, because whoever wrote it
//! expects something of it.

use super::fault::Faults;
use super::field;
use super::load_balancer::LoadBalancerSpec;
use super::spread::{self, IN_FLIGHT};
use weft_model::policy::{Balancer, HashKey, RING_POINTS, Spread, TABLE_SIZES, is_table_size};

const ALGORITHMS: &str = "p2c-ewma, least-request, weighted-least-request, round-robin, weighted-round-robin, random, \
                          source-ip-hash, ring-hash, maglev, nearest, prequal";
/// Points of a ring, unless the document says otherwise: 256 for each of 256 endpoints.
const RING: u32 = 65_536;
/// Entries of a table, unless the document says otherwise: 1 % even up to 650 endpoints (Maglev, section 5.3).
const TABLE: u32 = 65_537;
/// Endpoints asked for each request, unless the document says otherwise (Prequal, section 5.2).
const PROBES: i64 = 3;
/// Balancers that choose by weight at the moment of the pick.
const BY_WEIGHT: &[&str] =
    &["p2c-ewma", "least-request", "weighted-least-request", "round-robin", "weighted-round-robin", "random"];

pub fn translate(spec: LoadBalancerSpec, faults: &mut Faults) -> (Balancer, Spread) {
    misplaced(&spec, faults);
    (balancer(&spec, faults).unwrap_or_default(), spread::translate(&spec, faults))
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
        (spec.max_in_flight.is_some(), "maxInFlight", &["nearest"]),
        (spec.probes_per_request.is_some(), "probesPerRequest", &["prequal"]),
        (spec.max_load_percent.is_some(), "maxLoadPercent", &["ring-hash", "maglev", "source-ip-hash"]),
        (spec.load_reports.is_some(), "loadReports", BY_WEIGHT),
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
        Some("nearest") => {
            let most = spec.max_in_flight.unwrap_or(IN_FLIGHT);
            Balancer::Nearest { max_in_flight: spread::count(most, "spec.loadBalancer.maxInFlight", faults)? }
        }
        Some("prequal") => {
            let probes = spec.probes_per_request.unwrap_or(PROBES);
            Balancer::Prequal { probes: field::number(probes, 1, 10, "spec.loadBalancer.probesPerRequest", faults)? }
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
