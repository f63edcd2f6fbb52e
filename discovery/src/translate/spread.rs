//! `loadBalancer` of a `TrafficPolicy`, continued: which endpoints the balancer chooses among, and what they count for.
//!
//! Part of the policy's translation, below `balancer`. Each part is off unless it is asked for.

use super::fault::Faults;
use super::field;
use super::load_balancer::{LoadBalancerSpec, LoadReportsSpec, SlowStartSpec};
use std::num::NonZeroU32;
use std::time::Duration;
use weft_model::balance::LoadReports;
use weft_model::policy::{Spread, ZonePreference};

/// Requests in flight at which an endpoint has no headroom, unless the document says otherwise.
pub const IN_FLIGHT: i64 = 16;
/// Longer ramps and blackouts are taken for mistakes.
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Zones to fail over to.
const MAX_ZONES: usize = 100;

pub fn translate(spec: &LoadBalancerSpec, faults: &mut Faults) -> Spread {
    let percent = spec.panic_threshold.unwrap_or(0);
    let zone = spec.zone_aware.as_ref().and_then(|zone| {
        let given = zone.max_in_flight.unwrap_or(IN_FLIGHT);
        count(given, "spec.loadBalancer.zoneAware.maxInFlight", faults)
    });
    let max_load = spec.max_load_percent.and_then(|percent| {
        field::number(percent, 101, 10_000, "spec.loadBalancer.maxLoadPercent", faults).and_then(NonZeroU32::new)
    });
    Spread {
        panic_percent: field::number(percent, 0, 100, "spec.loadBalancer.panicThreshold", faults).unwrap_or_default(),
        slow_start: spec.slow_start.as_ref().and_then(|slow| slow_start(slow, faults)),
        subset: spec.subset_size.and_then(|size| count(size, "spec.loadBalancer.subsetSize", faults)),
        zone: zone.map(|max_in_flight| ZonePreference { max_in_flight }),
        failover: spec.failover.as_deref().map(|zones| failover(zones, faults)).unwrap_or_default(),
        max_load_percent: max_load,
        load_reports: spec.load_reports.as_ref().map(|spec| load_reports(spec, faults)),
    }
}

fn slow_start(spec: &SlowStartSpec, faults: &mut Faults) -> Option<Duration> {
    const AT: &str = "spec.loadBalancer.slowStart.window";
    let window = field::positive(&spec.window, AT, faults)?;
    at_most(HOUR, window, &spec.window, AT, faults)
}

fn failover(zones: &[String], faults: &mut Faults) -> Vec<String> {
    const AT: &str = "spec.loadBalancer.failover";
    if zones.is_empty() {
        faults.add(AT, "names no zone");
    }
    field::at_most(MAX_ZONES, zones.len(), AT, faults);
    let mut named: Vec<String> = Vec::new();
    for (index, zone) in zones.iter().enumerate() {
        let at = format!("{AT}[{index}]");
        let Some(zone) = field::subdomain(zone, &at, faults) else { continue };
        if named.contains(&zone) {
            faults.add(at, format_args!("{zone:?} is named twice"));
        }
        named.push(zone);
    }
    named
}

fn load_reports(spec: &LoadReportsSpec, faults: &mut Faults) -> LoadReports {
    const BLACKOUT: &str = "spec.loadBalancer.loadReports.blackout";
    const EXPIRY: &str = "spec.loadBalancer.loadReports.expiry";
    const PENALTY: &str = "spec.loadBalancer.loadReports.errorPenaltyPercent";
    let mut reports = LoadReports::default();
    if let Some(text) = spec.blackout.as_deref() {
        let given = field::duration(text, BLACKOUT, faults).and_then(|d| at_most(HOUR, d, text, BLACKOUT, faults));
        reports.blackout = given.unwrap_or_default();
    }
    if let Some(text) = spec.expiry.as_deref() {
        let given = field::positive(text, EXPIRY, faults).and_then(|d| at_most(DAY, d, text, EXPIRY, faults));
        reports.expiry = given.unwrap_or(reports.expiry);
    }
    if let Some(percent) = spec.error_penalty_percent {
        reports.error_penalty_percent = field::number(percent, 0, 1000, PENALTY, faults).unwrap_or_default();
    }
    reports
}

fn at_most(limit: Duration, given: Duration, text: &str, at: &str, faults: &mut Faults) -> Option<Duration> {
    if given > limit {
        faults.add(at, format_args!("{text:?} is longer than the {}s allowed", limit.as_secs()));
        return None;
    }
    Some(given)
}

/// A positive number of endpoints or requests.
pub fn count(given: i64, at: &str, faults: &mut Faults) -> Option<NonZeroU32> {
    field::number(given, 1, 1_000_000, at, faults).and_then(NonZeroU32::new)
}
