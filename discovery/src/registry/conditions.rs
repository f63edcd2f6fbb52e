//! What becomes of a route, for each of its parents: the conditions that the Gateway API calls `Accepted` and `ResolvedRefs`.
//!
//! Pure and level triggered: of the world as it is, so that a service that comes later turns them. Whoever shows a route asks; nothing
//! is kept. What could not be translated never gets here: it is refused when it is applied, naming the field.

use super::references;
use super::world::World;
use crate::record::AttachedRoute;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use weft_model::route::{Parent, Route, RouteKind};
use weft_model::{Port, ServiceName};

/// Who says so, in `status.parents[].controllerName`.
pub const CONTROLLER: &str = "weft.dev/mesh";

/// A condition of one parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub kind: &'static str,
    pub holds: bool,
    pub reason: &'static str,
    pub message: String,
}

impl Condition {
    fn yes(kind: &'static str, message: &str) -> Self {
        Self { kind, holds: true, reason: kind, message: message.to_owned() }
    }

    fn no(kind: &'static str, reason: &'static str, message: String) -> Self {
        Self { kind, holds: false, reason, message }
    }
}

/// `Accepted` and `ResolvedRefs` of `attached` for `parent`.
pub fn of(attached: &AttachedRoute, parent: &Parent, world: &World) -> [Condition; 2] {
    conditions(attached, &BTreeSet::new(), parent, world)
}

/// `dropped`: rules of the document, by number, that the route has not.
fn conditions(attached: &AttachedRoute, dropped: &BTreeSet<usize>, parent: &Parent, world: &World) -> [Condition; 2] {
    [accepted(&attached.route, parent, world), resolved(&attached.route, dropped, &parent.service, world)]
}

fn accepted(route: &Route, parent: &Parent, world: &World) -> Condition {
    const KIND: &str = "Accepted";
    let service = &parent.service;
    let Some(known) = world.service(service) else {
        return Condition::no(KIND, "NoMatchingParent", format!("Service {service} does not exist"));
    };
    if let Some(port) = parent.port.filter(|port| known.view.service.port(port.get()).is_none()) {
        return Condition::no(KIND, "NoMatchingParent", format!("Service {service} has no port {port}"));
    }
    // GEP-1426, "Route types": on one port routes of one kind are in force, and among a consumer's or the producer's those of gRPC.
    let overruled = |other: &&Route| {
        other.kind == RouteKind::Grpc
            && other.namespace == route.namespace
            && (other.port.is_none() || other.port == parent.port)
    };
    if route.kind == RouteKind::Http
        && let Some(other) = known.view.routes.iter().find(overruled)
    {
        let message = format!("GRPCRoute {}/{} is in force there", other.namespace, other.name);
        return Condition::no(KIND, "Conflicted", message);
    }
    Condition::yes(KIND, "attached")
}

fn resolved(route: &Route, dropped: &BTreeSet<usize>, parent: &ServiceName, world: &World) -> Condition {
    const KIND: &str = "ResolvedRefs";
    let numbers = (0..).filter(|number| !dropped.contains(number));
    for (rule, n) in route.rules.iter().zip(numbers) {
        let backends = rule.backends.iter().enumerate();
        let backends =
            backends.map(|(m, b)| (format!("spec.rules[{n}].backendRefs[{m}]"), (&b.service, b.port, b.refused)));
        let mirrors =
            rule.mirrors.iter().map(|m| (format!("spec.rules[{n}].filters"), (&m.service, m.port, m.refused)));
        let unresolved = backends.chain(mirrors).find_map(|(at, (service, port, is_other))| {
            let (reason, what) = match is_other {
                true => {
                    ("InvalidKind", "is no Service; requests that it would have had are answered with 500".to_owned())
                }
                false => unresolved(route, parent, service, port, world)?,
            };
            Some(Condition::no(KIND, reason, format!("{at}: {what}")))
        });
        if let Some(condition) = unresolved {
            return condition;
        }
    }
    Condition::yes(KIND, "every backend is known")
}

fn unresolved(
    route: &Route,
    parent: &ServiceName,
    to: &ServiceName,
    port: Port,
    world: &World,
) -> Option<(&'static str, String)> {
    if references::refused(route, parent, to, world.grants().iter()) {
        return Some((
            "RefNotPermitted",
            format!("no ReferenceGrant in namespace {} allows Service {to}", to.namespace),
        ));
    }
    match world.service(to) {
        None => Some(("BackendNotFound", format!("Service {to} does not exist"))),
        Some(known) if known.view.service.port(port.get()).is_none() => {
            Some(("BackendNotFound", format!("Service {to} has no port {port}")))
        }
        Some(_) => None,
    }
}

/// `status` of the route's document. `dropped`: rules of the document, by number, that are not in force. `generation`: of the
/// document, where there is one.
pub fn status(attached: &AttachedRoute, dropped: &BTreeSet<usize>, generation: Option<i64>, world: &World) -> Value {
    let condition = |condition: Condition| {
        let status = if condition.holds { "True" } else { "False" };
        let mut value = json!({
            "type": condition.kind, "status": status, "reason": condition.reason, "message": condition.message,
        });
        if let Some(generation) = generation {
            value["observedGeneration"] = generation.into();
        }
        value
    };
    let parent = |parent: &Parent| {
        let mut named = json!({
            "group": "", "kind": "Service", "namespace": parent.service.namespace, "name": parent.service.name,
        });
        if let Some(port) = parent.port {
            named["port"] = port.get().into();
        }
        let conditions: Vec<Value> = conditions(attached, dropped, parent, world).into_iter().map(condition).collect();
        json!({ "parentRef": named, "controllerName": CONTROLLER, "conditions": conditions })
    };
    json!({ "parents": attached.parents.iter().map(parent).collect::<Vec<_>>() })
}

#[cfg(test)]
#[path = "conditions_tests.rs"]
mod tests;
