//! Carries out the faults that a service's policy asks for, before the request has an endpoint.
//!
//! **decide** -> here -> engines. A delay is part of the request's time-out, as if the endpoint had been slow; an abort is
//! answered here and so never tried again. Without such a policy it costs one comparison.

use super::Outbound;
use crate::error::Failure;
use crate::fault;
use crate::plan::{Plan, Target};
use crate::request::RequestView;

impl Outbound {
    /// `plan` as the faults leave it, or the failure in its place.
    pub(super) async fn suffer(&self, plan: Plan, request: &impl RequestView) -> Result<Plan, Failure> {
        let Target::Service { known, .. } = &plan.target else { return Ok(plan) };
        let (Some(matches), Some(faults)) = (&known.faults, &known.view.policy.faults) else { return Ok(plan) };
        if !matches.any(request) {
            return Ok(plan);
        }
        let verdict = fault::decide(faults, is_grpc(request), |most| fastrand::u32(..most));
        let metrics = &self.worker.shared.metrics;
        let mut left = plan.request_timeout;
        if let Some(delay) = verdict.delay {
            metrics.fault_injected(&known.view.service.name.to_string(), "delay");
            tokio::time::sleep(left.map_or(delay, |left| left.min(delay))).await;
            left = left.map(|left| left.saturating_sub(delay));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(Failure::RequestTimeout);
            }
        }
        if let Some(answer) = verdict.abort {
            metrics.fault_injected(&known.view.service.name.to_string(), "abort");
            return Err(Failure::Injected(answer));
        }
        Ok(Plan { request_timeout: left, ..plan })
    }
}

fn is_grpc(request: &impl RequestView) -> bool {
    let mut grpc = false;
    request.headers("content-type", &mut |value| {
        grpc = value.starts_with(b"application/grpc");
        true
    });
    grpc
}
