//! What `weftctl check` has learned before it judges: answers of replicas, of every connected sidecar, and the documents.
//!
//! Data only. What could not be had is an error in the place of the answer, never an empty answer. Clocks are intervals: how far
//! another machine's clock is off cannot be known better than by the time its answer took.

use crate::connect::CallError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use weft_model::{Endpoint, Service, ServiceName};
use weft_proto::v1;

/// What was learned; `None` where nobody could be asked, because no replica answers.
#[derive(Debug, Default)]
pub struct Facts {
    pub replicas: Vec<(String, Result<Heard, CallError>)>,
    /// PEM.
    pub anchors: Option<Result<String, String>>,
    pub certificates: Option<Result<Vec<v1::Certificate>, String>>,
    pub documents: Option<Result<Documents, String>>,
    pub sidecars: Vec<Sidecar>,
    /// Pods that slipped through injection; `None`: discovery was not found in a cluster.
    pub without_sidecar: Option<Result<Vec<String>, String>>,
}

/// What a replica said of itself.
#[derive(Debug, Clone)]
pub struct Heard {
    pub status: v1::StatusResponse,
    /// `None`: an older version, which does not tell the time.
    pub offset: Option<Offset>,
}

/// A connected proxy, and what it said of itself or why it said nothing.
#[derive(Debug, Clone)]
pub struct Sidecar {
    pub proxy: v1::Proxy,
    pub told: Result<Told, String>,
}

impl Sidecar {
    /// `namespace/name`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.proxy.namespace, self.proxy.name)
    }
}

/// A proxy's answer to the question `check`.
#[derive(Debug, Clone)]
pub struct Told {
    pub said: Said,
    pub offset: Offset,
}

/// The same on the wire.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    /// `None`: there is none to look for (`--check-port 0`).
    pub redirect: Option<Redirect>,
    pub certificate: Validity,
    pub now_us: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Redirect {
    /// `None`: it is in place.
    pub fault: Option<String>,
}

/// Seconds since the epoch.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Validity {
    pub not_before: i64,
    pub not_after: i64,
}

/// How far a clock is ahead of ours: somewhere between the two, microseconds, negative for behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    pub least: i64,
    pub most: i64,
}

impl Offset {
    /// A clock that stood at `now_us` at some time between these two of ours.
    pub fn between(asked: SystemTime, heard: SystemTime, now_us: u64) -> Self {
        let ours = |at: SystemTime| micros(at.duration_since(UNIX_EPOCH).unwrap_or_default());
        let theirs = i64::try_from(now_us).unwrap_or(i64::MAX);
        let (early, late) = (ours(asked).min(ours(heard)), ours(heard).max(ours(asked)));
        Self { least: theirs.saturating_sub(late), most: theirs.saturating_sub(early) }
    }

    /// The same as seen from the machine whose clock is at `other`.
    pub fn from(self, other: Self) -> Self {
        Self { least: self.least.saturating_sub(other.most), most: self.most.saturating_sub(other.least) }
    }

    /// By how much it is certainly further off than `bound`, and whether ahead.
    pub fn beyond(self, bound: Duration) -> Option<(Duration, bool)> {
        let bound = micros(bound);
        if self.least > bound {
            return Some((Duration::from_micros(self.least.unsigned_abs()), true));
        }
        (self.most < -bound).then(|| (Duration::from_micros(self.most.unsigned_abs()), false))
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// The documents in force, as far as they are checked.
#[derive(Debug, Default)]
pub struct Documents {
    pub services: Vec<Service>,
    pub endpoints: Vec<Endpoint>,
    /// As they were listed: their conditions are judged.
    pub routes: Vec<v1::Object>,
    /// Kind and name of each policy, and the services it is for.
    pub policies: Vec<(String, Vec<ServiceName>)>,
}

/// The targets of a policy of any kind.
#[derive(Deserialize)]
struct Attached {
    #[serde(default)]
    targets: Vec<ServiceName>,
}

impl Documents {
    /// `policies`: of all kinds.
    pub fn read(
        services: &[v1::Object],
        endpoints: &[v1::Object],
        routes: Vec<v1::Object>,
        policies: &[v1::Object],
    ) -> Result<Self, String> {
        let policy = |object: &v1::Object| {
            let v1::Object { kind, namespace, name, .. } = object;
            Ok((format!("{kind} {namespace}/{name}"), model::<Attached>(object)?.targets))
        };
        Ok(Self {
            services: services.iter().map(model).collect::<Result<_, _>>()?,
            endpoints: endpoints.iter().map(model).collect::<Result<_, _>>()?,
            routes,
            policies: policies.iter().map(policy).collect::<Result<_, String>>()?,
        })
    }
}

fn model<M: DeserializeOwned>(object: &v1::Object) -> Result<M, String> {
    serde_json::from_str(&object.model_json)
        .map_err(|error| format!("{} {}/{}: {error}", object.kind, object.namespace, object.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_told_apart_only_as_far_as_the_answer_allows() {
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        let quick = Offset::between(at(1000), at(1000), 1_060_000_000);
        assert_eq!(quick.beyond(Duration::from_secs(5)), Some((Duration::from_secs(60), true)));
        let slow = Offset::between(at(1000), at(1070), 1_060_000_000);
        assert_eq!(slow.beyond(Duration::from_secs(5)), None, "it may have been asked at any time of these 70 s");
        let behind = Offset::between(at(1000), at(1001), 900_000_000);
        assert_eq!(behind.beyond(Duration::from_secs(5)), Some((Duration::from_secs(100), false)));
        assert_eq!(quick.from(quick), Offset { least: 0, most: 0 });
        // Our own clock was set back between asking and hearing.
        assert_eq!(Offset::between(at(1010), at(1000), 1_005_000_000).beyond(Duration::from_secs(5)), None);
    }
}
