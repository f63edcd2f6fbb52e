//! Weft's `TrafficPolicy` document to the model's policy.
//!
//! What is left out keeps the model's default; what is given is checked against bounds that a proxy can carry. The
//! services it names need not exist yet.

use super::balancer;
use super::breaker::{self, CircuitBreakerSpec};
use super::fault::Faults;
use super::faults::{self, FaultsSpec};
use super::field;
use super::health::{self, HealthCheckSpec, ThrottleSpec};
use super::limits::{self, LimitsSpec};
use super::load_balancer::LoadBalancerSpec;
use super::outlier::{self, OutlierDetectionSpec};
use super::session::{self, SessionAffinitySpec};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;
use weft_model::policy::{Backoff, Hedge, Retry, Timeouts};
use weft_model::{ServiceName, TrafficPolicy};

/// `spec` of `weft.dev/v1alpha1 TrafficPolicy`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TrafficPolicySpec {
    /// The Services the policy is for, of the policy's own namespace; at least one. A Service has one policy at most.
    target_refs: Vec<TargetRef>,
    /// How an endpoint is chosen for a request.
    load_balancer: Option<LoadBalancerSpec>,
    /// Keeps a client with the endpoint that served it first.
    session_affinity: Option<SessionAffinitySpec>,
    /// Which failures are tried again, and how often.
    retry: Option<RetrySpec>,
    /// Bounds on waiting.
    timeouts: Option<TimeoutsSpec>,
    /// Active checks of the endpoints. Default: none.
    health_check: Option<HealthCheckSpec>,
    /// Holds requests back while the service refuses most of them. Default: none.
    throttle: Option<ThrottleSpec>,
    /// What each endpoint takes at most; the sidecar beside it refuses the rest.
    limits: Option<LimitsSpec>,
    /// Failures made on purpose by the clients' sidecars, for tests.
    faults: Option<FaultsSpec>,
    /// Leaves endpoints out for a while that answer badly. Left out: nobody is.
    outlier_detection: Option<OutlierDetectionSpec>,
    /// Bounds on what one proxy does with the service at the same time. Left out: none.
    circuit_breaker: Option<CircuitBreakerSpec>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TargetRef {
    /// Empty, the default: the core group.
    group: Option<String>,
    /// `Service`, the default.
    kind: Option<String>,
    /// The Service's name.
    name: String,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct RetrySpec {
    /// Tries after the first, 0 to 10; 0 turns retries off. Default 2.
    attempts: Option<i64>,
    /// Every request may be repeated, whatever its method. Default false.
    non_idempotent: Option<bool>,
    /// Statuses worth another try, 400 to 599. Default 502, 503, 504.
    status_codes: Option<Vec<i64>>,
    /// One try, from sending to the response head; more than 0s. Default: no limit of its own.
    per_try_timeout: Option<String>,
    /// Bodies up to so many bytes are kept for another try; longer ones are not tried again. 0 to 16777216. Default 65536.
    replay_bytes: Option<i64>,
    /// How many retries the service may get in all.
    budget: Option<BudgetSpec>,
    /// How long to wait before another try.
    backoff: Option<BackoffSpec>,
    /// Sends a request that has no answer yet to another endpoint as well, and takes the answer that comes first. Left out: never.
    hedge: Option<HedgeSpec>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct HedgeSpec {
    /// How long the answer is waited for, counted from the end of the request; more than 0s, at most 1m. Required.
    after: String,
    /// Not before this percentile of the latest latencies either, 1 to 99. Left out: after `after`.
    percentile: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct BackoffSpec {
    /// Pauses are random below a bound that starts from this and doubles with every try; more than 0s, at most 1m. Default 20ms.
    base: Option<String>,
    /// The highest bound, at least base, at most 1m. Default 250ms, or base if that is longer.
    max: Option<String>,
    /// How long an answer's `retry-after` is waited for at most; 0s: not at all; at most 1m. Default 1s.
    max_retry_after: Option<String>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct BudgetSpec {
    /// Retries may be this share of requests, 0 to 100 percent. Default 20.
    percent: Option<i64>,
    /// And this many per second besides, 0 to 1000000. Default 10.
    min_per_second: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct TimeoutsSpec {
    /// TCP and TLS handshakes with an endpoint; more than 0s. Default 1s.
    connect: Option<String>,
    /// A whole request, unless its route says otherwise; 0s or left out: no limit.
    request: Option<String>,
}

/// A replay buffer is held once per request in flight.
const MAX_REPLAY_BYTES: i64 = 16 * 1024 * 1024;

/// The services the policy is for, and the policy.
pub fn translate(namespace: &str, spec: TrafficPolicySpec, faults: &mut Faults) -> (Vec<ServiceName>, TrafficPolicy) {
    if spec.target_refs.is_empty() {
        faults.add("spec.targetRefs", "a policy needs at least one target");
    }
    let targets = targets(namespace, &spec.target_refs, faults);
    let default = TrafficPolicy::default();
    let (balancer, spread) = spec.load_balancer.map(|spec| balancer::translate(spec, faults)).unwrap_or_default();
    let policy = TrafficPolicy {
        balancer,
        spread,
        affinity: spec.session_affinity.and_then(|spec| session::affinity(spec, faults)),
        retry: spec.retry.map(|spec| retry(spec, faults)).unwrap_or(default.retry),
        timeouts: spec.timeouts.map(|spec| timeouts(spec, faults)).unwrap_or(default.timeouts),
        health_check: spec.health_check.and_then(|spec| health::translate(spec, faults)),
        throttle: spec.throttle.and_then(|spec| health::throttle(spec, faults)),
        limits: spec.limits.map(|spec| limits::translate(spec, faults)).unwrap_or_default(),
        faults: spec.faults.and_then(|spec| faults::translate(spec, faults)),
        breaker: spec.circuit_breaker.map(|spec| breaker::translate(&spec, faults)),
        outlier: spec.outlier_detection.map(|spec| outlier::translate(&spec, faults)),
    };
    (targets, policy)
}

/// The services of `namespace` that a policy names.
pub fn targets(namespace: &str, refs: &[TargetRef], faults: &mut Faults) -> Vec<ServiceName> {
    let mut seen = BTreeSet::new();
    for (index, target) in refs.iter().enumerate() {
        let at = format!("spec.targetRefs[{index}]");
        field::service_kind(target.group.as_deref(), target.kind.as_deref(), "Service", &at, faults);
        let Some(name) = field::service(namespace, &target.name, format!("{at}.name"), faults) else { continue };
        if !seen.insert(name) {
            faults.add(format!("{at}.name"), format_args!("{:?} is named twice", target.name));
        }
    }
    seen.into_iter().collect()
}

fn retry(spec: RetrySpec, faults: &mut Faults) -> Retry {
    let mut retry = Retry::default();
    if let Some(attempts) = spec.attempts {
        retry.attempts = field::number(attempts, 0, 10, "spec.retry.attempts", faults).unwrap_or_default();
    }
    retry.non_idempotent = spec.non_idempotent.unwrap_or(retry.non_idempotent);
    if let Some(codes) = spec.status_codes {
        let checked = codes.iter().enumerate().filter_map(|(index, code)| {
            field::number(*code, 400, 599, format!("spec.retry.statusCodes[{index}]"), faults)
        });
        retry.statuses = checked.collect();
    }
    retry.per_try_timeout =
        spec.per_try_timeout.and_then(|text| field::positive(&text, "spec.retry.perTryTimeout", faults));
    if let Some(bytes) = spec.replay_bytes {
        let checked = field::number(bytes, 0, MAX_REPLAY_BYTES, "spec.retry.replayBytes", faults);
        retry.replay_bytes = checked.unwrap_or_default();
    }
    if let Some(percent) = spec.budget.as_ref().and_then(|budget| budget.percent) {
        let checked = field::number(percent, 0, 100, "spec.retry.budget.percent", faults);
        retry.budget_percent = checked.unwrap_or_default();
    }
    if let Some(rate) = spec.budget.as_ref().and_then(|budget| budget.min_per_second) {
        let checked = field::number(rate, 0, 1_000_000, "spec.retry.budget.minPerSecond", faults);
        retry.budget_min_per_second = checked.unwrap_or_default();
    }
    if let Some(spec) = spec.backoff {
        retry.backoff = backoff(&spec, faults);
    }
    retry.hedge = spec.hedge.and_then(|spec| hedge(&spec, faults));
    if retry.hedge.is_some() && retry.attempts == 0 {
        faults.add("spec.retry.hedge", "needs attempts: asking a second endpoint is another try");
    }
    retry
}

fn hedge(spec: &HedgeSpec, faults: &mut Faults) -> Option<Hedge> {
    let at = "spec.retry.hedge";
    let percentile = spec.percentile.map(|given| field::number(given, 1, 99, format!("{at}.percentile"), faults));
    let after = field::positive(&spec.after, &format!("{at}.after"), faults)?;
    if after > LONGEST_PAUSE {
        faults
            .add(format!("{at}.after"), format_args!("{:?} is longer than the {LONGEST_PAUSE:?} allowed", spec.after));
    }
    Some(Hedge { after, percentile: percentile.flatten().and_then(NonZeroU32::new) })
}

/// Longer pauses are taken for mistakes.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

fn backoff(spec: &BackoffSpec, faults: &mut Faults) -> Backoff {
    let mut pause = |given: &Option<String>, name: &str, zero: bool| {
        let at = format!("spec.retry.backoff.{name}");
        let text = given.as_ref()?;
        let pause = if zero { field::duration(text, &at, faults)? } else { field::positive(text, &at, faults)? };
        if pause > LONGEST_PAUSE {
            faults.add(at, format_args!("{text:?} is longer than the {LONGEST_PAUSE:?} allowed"));
        }
        Some(pause)
    };
    let default = Backoff::default();
    let base = pause(&spec.base, "base", false).unwrap_or(default.base);
    let max = pause(&spec.max, "max", false);
    let max_retry_after = pause(&spec.max_retry_after, "maxRetryAfter", true).unwrap_or(default.max_retry_after);
    if max.is_some_and(|max| max < base) {
        faults.add("spec.retry.backoff.max", "is shorter than base");
    }
    Backoff { base, max: max.unwrap_or(default.max.max(base)), max_retry_after }
}

fn timeouts(spec: TimeoutsSpec, faults: &mut Faults) -> Timeouts {
    let mut timeouts = Timeouts::default();
    if let Some(text) = spec.connect {
        timeouts.connect = field::positive(&text, "spec.timeouts.connect", faults).unwrap_or(timeouts.connect);
    }
    timeouts.request = field::limit(spec.request.as_deref(), "spec.timeouts.request", faults);
    timeouts
}
