//! What became of each document, for its status: whether it is accepted, and why not.
//!
//! Pure: verdicts and the world in, patches out, and only for what is said otherwise than it should be. Level triggered, like the
//! conditions themselves. What other controllers say about the same route stays.

use super::cluster::Cluster;
use super::document::Document;
use super::facts::ObjectName;
use crate::record::AttachedRoute;
use crate::registry::World;
use crate::registry::conditions::{self, CONTROLLER};
use crate::translate::{Fault, Kind, Object, Translated};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::SystemTime;

/// The longest message that the Gateway API's schema takes, in characters.
const LONGEST_MESSAGE: usize = 32_768;

/// What the translator said of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Route(Box<AttachedRoute>),
    Policy,
    /// A kind without status.
    Silent,
    Faulty(String),
}

/// A status to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    pub kind: Kind,
    pub name: ObjectName,
    /// Of the document that the status was made for: any other may say something else.
    pub version: String,
    pub status: Value,
}

impl Verdict {
    pub fn of(kind: Kind, translated: &Result<Translated, Vec<Fault>>) -> Self {
        match translated {
            _ if kind == Kind::ReferenceGrant => Self::Silent,
            Ok(Translated { object: Object::Route { parents, route }, .. }) => {
                Self::Route(Box::new(AttachedRoute { parents: parents.clone(), route: route.clone() }))
            }
            Ok(_) => Self::Policy,
            Err(faults) => {
                let faults: Vec<String> =
                    faults.iter().map(|fault| format!("{}: {}", fault.field, fault.reason)).collect();
                Self::Faulty(faults.join("; ").chars().take(LONGEST_MESSAGE).collect())
            }
        }
    }
}

/// The statuses that are not as they should be.
pub fn patches(
    cluster: &Cluster,
    verdicts: &BTreeMap<(Kind, ObjectName), Verdict>,
    world: &World,
    now: SystemTime,
) -> Vec<Patch> {
    let patch = |((kind, name), verdict): (&(Kind, ObjectName), &Verdict)| {
        let document = cluster.documents.get(kind)?.get(name)?;
        let status = status(*kind, document, verdict, world, now)?;
        Some(Patch { kind: *kind, name: name.clone(), version: document.version.clone(), status })
    };
    verdicts.iter().filter_map(patch).collect()
}

/// The status that `document` should have; `None`: it has it.
fn status(kind: Kind, document: &Document, verdict: &Verdict, world: &World, now: SystemTime) -> Option<Value> {
    let is_route = matches!(kind, Kind::HttpRoute | Kind::GrpcRoute);
    match verdict {
        Verdict::Silent => None,
        Verdict::Route(attached) => {
            let said = conditions::status(attached, Some(document.generation), world);
            parents(said["parents"].as_array()?.clone(), document, now)
        }
        Verdict::Faulty(why) if is_route => {
            let refs = document.value["spec"]["parentRefs"].as_array()?;
            let refused = refs.iter().map(|parent| {
                let conditions = [condition(false, "UnsupportedValue", why, document)];
                json!({ "parentRef": parent, "controllerName": CONTROLLER, "conditions": conditions })
            });
            parents(refused.collect(), document, now)
        }
        Verdict::Faulty(why) => own(condition(false, "Invalid", why, document), document, now),
        Verdict::Policy => own(condition(true, "Accepted", "in force", document), document, now),
    }
}

fn condition(holds: bool, reason: &str, message: &str, document: &Document) -> Value {
    let status = if holds { "True" } else { "False" };
    json!({
        "type": "Accepted", "status": status, "reason": reason, "message": message,
        "observedGeneration": document.generation,
    })
}

/// `status.parents` of a route, with those of other controllers.
fn parents(mut ours: Vec<Value>, document: &Document, now: SystemTime) -> Option<Value> {
    let present = document.status["parents"].as_array().cloned().unwrap_or_default();
    let (before, others): (Vec<Value>, Vec<Value>) =
        present.into_iter().partition(|parent| parent["controllerName"] == CONTROLLER);
    for parent in &mut ours {
        let same = before.iter().find(|old| same_parent(&old["parentRef"], &parent["parentRef"], document));
        dated(&mut parent["conditions"], same.map(|old| &old["conditions"]), now);
    }
    let is_said = ours == before;
    (!is_said).then(|| json!({ "parents": others.into_iter().chain(ours).collect::<Vec<_>>() }))
}

fn same_parent(one: &Value, other: &Value, document: &Document) -> bool {
    let own = &document.value["metadata"]["namespace"];
    let namespace = |parent: &Value| parent.get("namespace").unwrap_or(own).clone();
    one["name"] == other["name"] && one["port"] == other["port"] && namespace(one) == namespace(other)
}

/// `status.conditions` of a kind of our own.
fn own(condition: Value, document: &Document, now: SystemTime) -> Option<Value> {
    let mut conditions = json!([condition]);
    dated(&mut conditions, document.status.get("conditions"), now);
    (document.status.get("conditions") != Some(&conditions)).then(|| json!({ "conditions": conditions }))
}

/// Says since when each condition is as it is: since the last time it turned.
fn dated(conditions: &mut Value, before: Option<&Value>, now: SystemTime) {
    let before = before.and_then(Value::as_array).cloned().unwrap_or_default();
    for condition in conditions.as_array_mut().into_iter().flatten() {
        let same = before.iter().find(|old| old["type"] == condition["type"] && old["status"] == condition["status"]);
        let since = same.and_then(|old| old["lastTransitionTime"].as_str()).map(str::to_owned);
        let since = since.unwrap_or_else(|| humantime::format_rfc3339_seconds(now).to_string());
        condition["lastTransitionTime"] = since.into();
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
