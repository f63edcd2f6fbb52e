//! How long one request may take, and what is said when that is over: by its client's deadline, its route or its policy.
//!
//! Between the engines and the story: a request that nobody waits for any more is refused before anything else is decided
//! about it. Costs requests without a deadline a look at two header names.

use super::{Plan, Planned, Story};
use crate::deadline::{Deadline, GRPC_TIMEOUT};
use crate::error::Failure;
use crate::request::RequestView;
use crate::route::Carried;
use std::time::{Duration, Instant, SystemTime};
use tokio::time::timeout_at;
use weft_model::route::HeaderEdit;

/// Has `story` decide about `request`, as long as there is time for it.
pub async fn decide(story: &impl Story, request: &impl RequestView) -> Result<Planned, Failure> {
    let now = Instant::now();
    let Some(deadline) = Deadline::of(request, now, SystemTime::now) else { return story.plan(request).await };
    if deadline.passed(now) {
        return Err(Failure::DeadlineExceeded);
    }
    // A backend that nobody has called yet may have to be asked for.
    let planned = timeout_at(deadline.at.into(), story.plan(request)).await;
    Ok(match planned.unwrap_or(Err(Failure::DeadlineExceeded))? {
        Planned::Forward(plan) => {
            let deadline = match plan.rule.as_ref().and_then(Carried::request_headers).is_some_and(edits_timeout) {
                true => deadline.untold(),
                false => deadline.within(now, plan.request_timeout),
            };
            Planned::Forward(Plan { deadline: Some(deadline), ..plan })
        }
        redirect @ Planned::Redirect(_) => redirect,
    })
}

/// `work` of one try, whose time is over at `end`.
pub async fn within<T>(
    end: Option<tokio::time::Instant>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match end {
        None => work.await,
        Some(end) => timeout_at(end, work).await.unwrap_or(Err(Failure::TryTimeout)),
    }
}

/// A route that says itself what endpoints are told has the last word.
fn edits_timeout(edit: &HeaderEdit) -> bool {
    edit.set.iter().chain(&edit.add).map(|(name, _)| name).chain(&edit.remove).any(|name| name == GRPC_TIMEOUT)
}

impl Plan {
    /// When a request that began at `started` has to be over, and what is said then.
    pub fn end(&self, started: Instant) -> Option<(tokio::time::Instant, Failure)> {
        let limit = self.request_timeout.and_then(|limit| started.checked_add(limit));
        let limit = limit.map(|at| (at.into(), Failure::RequestTimeout));
        let deadline = self.deadline.map(|deadline| (deadline.at.into(), Failure::DeadlineExceeded));
        limit.into_iter().chain(deadline).min_by_key(|(at, _)| *at)
    }

    /// What `grpc-timeout` has to say to the endpoint, if the client has set it.
    pub fn grpc_timeout(&self) -> Option<String> {
        self.deadline.and_then(|deadline| deadline.grpc_timeout(Instant::now()))
    }

    /// Whether a try that begins after `pause` begins before the client's deadline.
    pub(super) fn has_time_for(&self, pause: Duration, now: Instant) -> bool {
        self.deadline.is_none_or(|deadline| !deadline.passed(now + pause))
    }
}
