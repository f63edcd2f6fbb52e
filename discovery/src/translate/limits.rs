//! `limits` of a `TrafficPolicy`: rate, concurrency and connections.
//!
//! Part of the policy's translation. Limits of nothing are refused, and two limits of one name, which clients could not tell
//! apart in the `RateLimit` field.

use super::fault::Faults;
use super::{field, matching};
use gateway_api::httproutes::HttpRouteRulesMatches;
use serde::Deserialize;
use std::collections::HashSet;
use std::num::NonZeroU32;
use std::time::Duration;
use weft_model::limits::{Concurrency, Limits, RateKey, RateLimit};
use weft_model::route::Match;

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LimitsSpec {
    /// How many requests an endpoint takes in a time, 16 at most. All that match a request have to admit it; the rest gets
    /// 429 and `weft-reason: rate-limited`.
    #[serde(default)]
    rate: Vec<RateSpec>,
    /// How many requests an endpoint has under way at once; the rest gets 503 and `weft-reason: overloaded`, and may be
    /// tried at another endpoint.
    concurrency: Option<ConcurrencySpec>,
    /// How many connections clients may have open to an endpoint's sidecar, 1 to 1000000; more are reset. Default: any number.
    connections: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct RateSpec {
    /// A DNS label, as clients see it in the `RateLimit` field. Default: `rate-` and its number in the list, from 0.
    name: Option<String>,
    /// Requests in each `per`, 1 to 1000000.
    requests: i64,
    /// Whole seconds, 1s to 24h. Default `1s`.
    per: Option<String>,
    /// Requests that may come at once after a pause, 1 to 1000000. Default: `requests`.
    burst: Option<i64>,
    /// Who shares the limit: all clients (`service`, the default), those of one SPIFFE `identity` (those without by address),
    /// or those at one `address`.
    key: Option<String>,
    /// The requests that the limit is for, as an HTTPRoute's `matches`, 8 at most. Default: all.
    matches: Option<Vec<HttpRouteRulesMatches>>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ConcurrencySpec {
    /// A fixed number, 1 to 1000000.
    max: Option<i64>,
    /// A number that follows the latencies seen, in place of `max`.
    adaptive: Option<AdaptiveSpec>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct AdaptiveSpec {
    /// Never fewer, and so many while the latency without load is measured; 1 to 1000000. Default 3.
    min: Option<i64>,
    /// Never more; 1 to 1000000. Default 1000.
    max: Option<i64>,
}

const MOST: i64 = 1_000_000;
const LONGEST: Duration = Duration::from_secs(24 * 3600);

pub fn translate(spec: LimitsSpec, faults: &mut Faults) -> Limits {
    field::at_most(16, spec.rate.len(), "spec.limits.rate", faults);
    let mut names = HashSet::new();
    let mut rates = Vec::new();
    for (index, spec) in spec.rate.into_iter().enumerate() {
        let at = format!("spec.limits.rate[{index}]");
        let limit = rate(spec, index, &at, faults);
        if let Some(twice) = limit.as_ref().filter(|limit| !names.insert(limit.name.clone())) {
            faults.add(format!("{at}.name"), format_args!("{:?} is the name of another limit too", twice.name));
        }
        rates.extend(limit);
    }
    Limits {
        rate: rates,
        concurrency: spec.concurrency.and_then(|spec| concurrency(&spec, faults)),
        connections: spec.connections.and_then(|given| count(given, "spec.limits.connections", faults)),
    }
}

fn rate(spec: RateSpec, index: usize, at: &str, faults: &mut Faults) -> Option<RateLimit> {
    let name = match spec.name {
        Some(name) => field::label(&name, format!("{at}.name"), faults),
        None => Some(format!("rate-{index}")),
    };
    let requests = count(spec.requests, &format!("{at}.requests"), faults);
    let burst = match spec.burst {
        Some(burst) => count(burst, &format!("{at}.burst"), faults),
        None => requests,
    };
    let per = match spec.per {
        Some(text) => per(&text, &format!("{at}.per"), faults),
        None => Some(Duration::from_secs(1)),
    };
    let key = match spec.key.as_deref() {
        None | Some("service") => Some(RateKey::Service),
        Some("identity") => Some(RateKey::Identity),
        Some("address") => Some(RateKey::Address),
        Some(other) => {
            faults.add(format!("{at}.key"), format_args!("{other:?} is none of service, identity and address"));
            None
        }
    };
    let matches = matches(spec.matches, &format!("{at}.matches"), faults);
    Some(RateLimit { name: name?, requests: requests?, per: per?, burst: burst?, key: key?, matches })
}

fn per(text: &str, at: &str, faults: &mut Faults) -> Option<Duration> {
    let per = field::positive(text, at, faults)?;
    if per.subsec_nanos() != 0 || per > LONGEST {
        faults.add(at, format_args!("{text:?} is not a number of whole seconds, at most 24h"));
        return None;
    }
    Some(per)
}

/// As in an HTTPRoute.
pub fn matches(spec: Option<Vec<HttpRouteRulesMatches>>, at: &str, faults: &mut Faults) -> Vec<Match> {
    let spec = spec.unwrap_or_default();
    field::at_most(8, spec.len(), at, faults);
    spec.into_iter().enumerate().map(|(n, spec)| matching::http(spec, &format!("{at}[{n}]"), faults)).collect()
}

fn concurrency(spec: &ConcurrencySpec, faults: &mut Faults) -> Option<Concurrency> {
    const AT: &str = "spec.limits.concurrency";
    match (spec.max, &spec.adaptive) {
        (Some(max), None) => Some(Concurrency::Fixed { max: count(max, &format!("{AT}.max"), faults)? }),
        (None, Some(adaptive)) => {
            let min = count(adaptive.min.unwrap_or(3), &format!("{AT}.adaptive.min"), faults);
            let max = count(adaptive.max.unwrap_or(1000), &format!("{AT}.adaptive.max"), faults);
            let (min, max) = (min?, max?);
            if min > max {
                faults.add(format!("{AT}.adaptive.min"), format_args!("{min} is more than max, {max}"));
            }
            Some(Concurrency::Adaptive { min, max })
        }
        _ => {
            faults.add(AT, "needs exactly one of max and adaptive");
            None
        }
    }
}

fn count(given: i64, at: &str, faults: &mut Faults) -> Option<NonZeroU32> {
    field::number(given, 1, MOST, at, faults).and_then(NonZeroU32::new)
}
