//! When an endpoint is left out because of what its answers are like, and for how long.
//!
//! Pure, with injected time; asked after every try of a service whose policy has `outlierDetection`. The rules are Envoy's outlier
//! detection. What is counted belongs to one worker; a [`Mark`], the ejection itself, is in force for all of them. Whoever is
//! ejected is passed over as if it could not be reached.

use crate::error::Failure;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use weft_model::policy::{OutlierDetection, SuccessRate};

/// Why an endpoint is ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    GatewayErrors,
    LocalFailures,
    SuccessRate,
}

impl Cause {
    /// The word in metrics and logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::GatewayErrors => "gateway-errors",
            Self::LocalFailures => "local-failures",
            Self::SuccessRate => "success-rate",
        }
    }
}

/// An endpoint is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    pub cause: Cause,
    pub until: Instant,
}

/// What a try says about its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Good,
    /// 502, 503, 504 or what stands for them.
    GatewayError,
    /// Not reached, cut off or not heard of in time.
    LocalFailure,
    /// Another server error: counts in the success rate only.
    ServerError,
}

impl Seen {
    /// `None`: nothing about the endpoint. An endpoint that drains, a connection that had grown old and a client that left
    /// are no fault of it.
    pub fn of(failure: Option<&Failure>) -> Option<Self> {
        Some(match failure {
            None => Self::Good,
            Some(Failure::Unwelcome(502..=504) | Failure::MalformedResponse(_)) => Self::GatewayError,
            Some(Failure::Unwelcome(_)) => Self::ServerError,
            Some(
                Failure::ConnectRefused
                | Failure::ConnectTimeout
                | Failure::ConnectFailed(_)
                | Failure::TlsFailed(_)
                | Failure::PeerIdentity(_)
                | Failure::Unreached
                | Failure::ResetBeforeResponse
                | Failure::TryTimeout,
            ) => Self::LocalFailure,
            Some(_) => return None,
        })
    }
}

/// What one worker has seen of an endpoint lately.
#[derive(Debug, Default)]
pub struct Record {
    gateway_errors: Cell<u32>,
    local_failures: Cell<u32>,
    good: Cell<u32>,
    all: Cell<u32>,
}

impl Record {
    /// Takes note; the cause when a row is complete, which then starts over.
    pub fn note(&self, seen: Seen, policy: &OutlierDetection) -> Option<Cause> {
        self.all.set(self.all.get().saturating_add(1));
        self.good.set(self.good.get().saturating_add(u32::from(seen == Seen::Good)));
        // An answer of whatever kind shows that the endpoint can be reached; a failure to reach it says nothing of its answers.
        let (row, limit, cause) = match seen {
            Seen::GatewayError => {
                self.local_failures.set(0);
                (&self.gateway_errors, policy.gateway_errors?, Cause::GatewayErrors)
            }
            Seen::LocalFailure => (&self.local_failures, policy.local_failures?, Cause::LocalFailures),
            Seen::Good | Seen::ServerError => {
                self.gateway_errors.set(0);
                self.local_failures.set(0);
                return None;
            }
        };
        row.set(row.get().saturating_add(1));
        if row.get() < limit.get() {
            return None;
        }
        row.set(0);
        Some(cause)
    }

    /// Successes and all since the last call.
    pub fn take(&self) -> (u32, u32) {
        (self.good.take(), self.all.take())
    }
}

/// Which of the endpoints, given as successes and all, answer far worse than the others.
pub fn below(rates: &[(u32, u32)], policy: &SuccessRate) -> Vec<usize> {
    let judged = |(_, all): &(u32, u32)| *all >= policy.min_requests.max(1);
    let rate = |(good, all): &(u32, u32)| f64::from(*good) / f64::from(*all);
    let n = rates.iter().filter(|rate| judged(rate)).count();
    if n < usize::try_from(policy.min_endpoints).unwrap_or(usize::MAX).max(2) {
        return Vec::new();
    }
    let mean = rates.iter().filter(|r| judged(r)).map(rate).sum::<f64>() / n as f64;
    let variance = rates.iter().filter(|r| judged(r)).map(|r| (rate(r) - mean).powi(2)).sum::<f64>() / n as f64;
    let least = mean - variance.sqrt() * f64::from(policy.deviations) / 1000.0;
    (0..rates.len()).filter(|at| judged(&rates[*at]) && rate(&rates[*at]) < least).collect()
}

/// Whether one more may go, of `endpoints` of which `out` are out: within the share, but one always may.
pub fn may_eject(out: usize, endpoints: usize, policy: &OutlierDetection) -> bool {
    out == 0 || (out + 1) * 100 <= endpoints * usize::try_from(policy.max_percent).unwrap_or(100)
}

/// One endpoint's ejection, shared by all workers: written seldom, by one at a time; read for every pick without a lock.
#[derive(Debug, Clone)]
pub struct Mark(Arc<Marked>);

#[derive(Debug)]
struct Marked {
    epoch: Instant,
    /// Microseconds after `epoch`; 0: never ejected.
    until: AtomicU64,
    cause: AtomicU8,
    /// Ejections in a row.
    times: AtomicU32,
}

impl Mark {
    /// Not ejected. Ejections begin after `epoch`.
    pub fn new(epoch: Instant) -> Self {
        let marked = Marked { epoch, until: AtomicU64::new(0), cause: AtomicU8::new(0), times: AtomicU32::new(0) };
        Self(Arc::new(marked))
    }

    /// Whether it is out at `now`.
    pub fn is_out(&self, now: Instant) -> bool {
        match self.0.until.load(Ordering::Relaxed) {
            0 => false,
            until => now.saturating_duration_since(self.0.epoch) < Duration::from_micros(until),
        }
    }

    /// Why and until when it is out, if it is.
    pub fn ejection(&self, now: Instant) -> Option<Ejection> {
        let cause = match self.0.cause.load(Ordering::Relaxed) {
            0 => Cause::GatewayErrors,
            1 => Cause::LocalFailures,
            _ => Cause::SuccessRate,
        };
        let until = self.0.epoch + Duration::from_micros(self.0.until.load(Ordering::Relaxed));
        self.is_out(now).then_some(Ejection { cause, until })
    }

    /// Nobody else holds it.
    pub fn is_unused(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// It has been ejected before.
    pub fn was_out(&self) -> bool {
        self.0.times.load(Ordering::Relaxed) > 0
    }

    /// Ejects it at `now`; gives the time it is out, which grows with every ejection and shrinks with every interval
    /// without one.
    pub fn eject(&self, cause: Cause, policy: &OutlierDetection, now: Instant) -> Duration {
        let marked = &*self.0;
        let now = now.saturating_duration_since(marked.epoch);
        let ended = Duration::from_micros(marked.until.load(Ordering::Relaxed));
        let behaved = now.saturating_sub(ended).as_nanos() / policy.interval.as_nanos().max(1);
        let before = marked.times.load(Ordering::Relaxed);
        let times = before.saturating_sub(u32::try_from(behaved).unwrap_or(u32::MAX)).saturating_add(1);
        let time = policy.base_time.saturating_mul(times).min(policy.max_time.max(policy.base_time));
        // What has reached the longest time grows no further, or it would take as long to be forgotten.
        let grows = policy.base_time.saturating_mul(times.saturating_sub(1)) < policy.max_time;
        marked.times.store(if grows { times } else { before.min(times).max(1) }, Ordering::Relaxed);
        marked.cause.store(cause as u8, Ordering::Relaxed);
        let until = now.saturating_add(time).as_micros();
        marked.until.store(u64::try_from(until).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
        time
    }
}

#[cfg(test)]
#[path = "eject_tests.rs"]
mod tests;
