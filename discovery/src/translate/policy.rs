//! Weft's `TrafficPolicy` document to the model's policy.
//!
//! What is left out keeps the model's default; what is given is checked against bounds that a proxy can carry. The
//! services it names need not exist yet.

use super::balancer::{self, LoadBalancerSpec};
use super::fault::Faults;
use super::field;
use serde::Deserialize;
use std::collections::BTreeSet;
use weft_model::policy::{CookieAffinity, Retry, Timeouts};
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
struct SessionAffinitySpec {
    /// A cookie that names the endpoint.
    cookie: CookieSpec,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct CookieSpec {
    /// The cookie's name (RFC 6265 token).
    name: String,
    /// How long the client keeps it; more than 0s. Left out: until the client's session ends.
    ttl: Option<String>,
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
        affinity: spec.session_affinity.and_then(|spec| affinity(spec.cookie, faults)),
        retry: spec.retry.map(|spec| retry(spec, faults)).unwrap_or(default.retry),
        timeouts: spec.timeouts.map(|spec| timeouts(spec, faults)).unwrap_or(default.timeouts),
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

fn affinity(spec: CookieSpec, faults: &mut Faults) -> Option<CookieAffinity> {
    field::cookie_name(&spec.name, "spec.sessionAffinity.cookie.name", faults);
    let ttl = spec.ttl.and_then(|ttl| field::positive(&ttl, "spec.sessionAffinity.cookie.ttl", faults));
    Some(CookieAffinity { name: spec.name, ttl })
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
    retry
}

fn timeouts(spec: TimeoutsSpec, faults: &mut Faults) -> Timeouts {
    let mut timeouts = Timeouts::default();
    if let Some(text) = spec.connect {
        timeouts.connect = field::positive(&text, "spec.timeouts.connect", faults).unwrap_or(timeouts.connect);
    }
    timeouts.request = field::limit(spec.request.as_deref(), "spec.timeouts.request", faults);
    timeouts
}
