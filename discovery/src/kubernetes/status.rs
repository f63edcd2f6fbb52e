//! What became of each document, for its status: whether it is accepted, and why not.
//!
//! Pure: verdicts and the world in, patches out, and only for what is said otherwise than it should be. Level triggered, like the
//! conditions themselves. What other controllers say about the same route stays.

use super::cluster::Cluster;
use super::document::{Document, is_route};
use super::facts::ObjectName;
use super::partial::Partial;
use crate::record::AttachedRoute;
use crate::registry::World;
use crate::registry::conditions::{self, CONTROLLER};
use crate::translate::{Fault, Kind, Object};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

/// The types of conditions that are ours to write.
const OURS: [&str; 3] = ["Accepted", "ResolvedRefs", "PartiallyInvalid"];
/// The longest message that the Gateway API's schema takes, in characters.
const LONGEST_MESSAGE: usize = 32_768;

/// What the translator said of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Route {
        attached: Box<AttachedRoute>,
        /// Rules that are not in force, and why not.
        dropped: BTreeSet<usize>,
        why: String,
    },
    /// A route that is attached to no Service any more.
    Detached,
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
    pub fn of(kind: Kind, translated: &Result<Partial, Vec<Fault>>) -> Self {
        match translated {
            _ if kind == Kind::ReferenceGrant => Self::Silent,
            Ok(partial) => match &partial.translated.object {
                Object::Route { parents, route } => Self::Route {
                    attached: Box::new(AttachedRoute { parents: parents.clone(), route: route.clone() }),
                    dropped: partial.dropped.clone(),
                    why: told(&partial.faults),
                },
                _ => Self::Policy,
            },
            Err(faults) => Self::Faulty(told(faults).chars().take(LONGEST_MESSAGE).collect()),
        }
    }
}

fn told(faults: &[Fault]) -> String {
    let faults: Vec<String> = faults.iter().map(|fault| format!("{}: {}", fault.field, fault.reason)).collect();
    faults.join("; ")
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
    match verdict {
        Verdict::Silent => None,
        Verdict::Detached => parents(Vec::new(), document, now),
        Verdict::Route { attached, dropped, why } => {
            let mut said = conditions::status(attached, dropped, Some(document.generation), world);
            let ours = said["parents"].as_array_mut()?;
            if !dropped.is_empty() {
                ours.iter_mut().for_each(|parent| partly(parent, why, document));
            }
            parents(std::mem::take(ours), document, now)
        }
        Verdict::Faulty(why) if is_route(kind) => {
            let refs = document.value["spec"]["parentRefs"].as_array()?;
            let refused = refs.iter().map(|parent| {
                let conditions = [condition("Accepted", false, "UnsupportedValue", why, document)];
                json!({ "parentRef": parent, "controllerName": CONTROLLER, "conditions": conditions })
            });
            parents(refused.collect(), document, now)
        }
        Verdict::Faulty(why) => own(condition("Accepted", false, "Invalid", why, document), document, now),
        Verdict::Policy => own(condition("Accepted", true, "Accepted", "in force", document), document, now),
    }
}

/// Says of a parent that accepts the route that not all of it is in force.
fn partly(parent: &mut Value, why: &str, document: &Document) {
    let Some(conditions) = parent["conditions"].as_array_mut() else { return };
    if conditions.iter().any(|condition| condition["type"] == "Accepted" && condition["status"] == "True") {
        // The Gateway API has the message begin like this.
        let message: String = format!("Dropped Rule: {why}").chars().take(LONGEST_MESSAGE).collect();
        conditions.push(condition("PartiallyInvalid", true, "UnsupportedValue", &message, document));
    }
}

fn condition(kind: &str, holds: bool, reason: &str, message: &str, document: &Document) -> Value {
    let status = if holds { "True" } else { "False" };
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
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
    let Some(conditions) = conditions.as_array_mut() else { return };
    for condition in conditions.iter_mut() {
        let same = before.iter().find(|old| old["type"] == condition["type"] && old["status"] == condition["status"]);
        let since = same.and_then(|old| old["lastTransitionTime"].as_str()).map(str::to_owned);
        let since = since.unwrap_or_else(|| humantime::format_rfc3339_seconds(now).to_string());
        condition["lastTransitionTime"] = since.into();
    }
    // Whoever else says something here says it in another type.
    let others = before.into_iter().filter(|old| !OURS.iter().any(|ours| old["type"] == **ours));
    conditions.extend(others);
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
