//! `faults` of a `TrafficPolicy`: what fails on purpose, and for which requests.
//!
//! Part of the policy's translation. A fault that nobody would meet is a mistake, and told as one.

use super::fault::Faults;
use super::{field, limits};
use gateway_api::httproutes::HttpRouteRulesMatches;
use serde::Deserialize;
use std::time::Duration;
use weft_model::faults::{self as model, Abort, Answer, Delay};

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FaultsSpec {
    /// Requests that wait before they are sent.
    delay: Option<DelaySpec>,
    /// Requests that are answered by the mesh in place of an endpoint, with `weft-reason: fault-injected`.
    abort: Option<AbortSpec>,
    /// The requests that this is for, as an HTTPRoute's `matches`, 8 at most. Default: all.
    matches: Option<Vec<HttpRouteRulesMatches>>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct DelaySpec {
    /// How many of a hundred, 1 to 100.
    percent: i64,
    /// How long they wait, more than 0s and at most 5m; it is part of the request's time-out.
    duration: String,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct AbortSpec {
    /// How many of a hundred, 1 to 100.
    percent: i64,
    /// The HTTP status, 400 to 599; gRPC clients get the code that belongs to it.
    status: Option<i64>,
    /// The gRPC status code, 1 to 16, in place of `status`: only gRPC requests are aborted.
    grpc_status: Option<i64>,
}

const LONGEST: Duration = Duration::from_secs(300);

pub fn translate(spec: FaultsSpec, faults: &mut Faults) -> Option<model::Faults> {
    if spec.delay.is_none() && spec.abort.is_none() {
        faults.add("spec.faults", "needs delay, abort or both");
    }
    let delay = spec.delay.and_then(|spec| delay(&spec, faults));
    let abort = spec.abort.and_then(|spec| abort(&spec, faults));
    Some(model::Faults { delay, abort, matches: limits::matches(spec.matches, "spec.faults.matches", faults) })
}

fn delay(spec: &DelaySpec, faults: &mut Faults) -> Option<Delay> {
    const AT: &str = "spec.faults.delay.duration";
    let percent = field::number(spec.percent, 1, 100, "spec.faults.delay.percent", faults);
    let duration = field::positive(&spec.duration, AT, faults)?;
    if duration > LONGEST {
        faults.add(AT, format_args!("{:?} is longer than the 5m allowed", spec.duration));
    }
    Some(Delay { percent: percent?, duration })
}

fn abort(spec: &AbortSpec, faults: &mut Faults) -> Option<Abort> {
    let percent = field::number(spec.percent, 1, 100, "spec.faults.abort.percent", faults);
    let answer = match (spec.status, spec.grpc_status) {
        (Some(status), None) => field::number(status, 400, 599, "spec.faults.abort.status", faults).map(Answer::Status),
        (None, Some(code)) => {
            field::number(code, 1, 16, "spec.faults.abort.grpcStatus", faults).map(Answer::GrpcStatus)
        }
        _ => {
            faults.add("spec.faults.abort", "needs exactly one of status and grpcStatus");
            None
        }
    };
    Some(Abort { percent: percent?, answer: answer? })
}
