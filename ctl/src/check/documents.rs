//! The documents: do routes and policies lead somewhere, and has every service somebody to serve it?
//!
//! Pure. Routes are judged by the conditions that discovery computed for them, so that this page and `weftctl get routes` never
//! disagree.

use super::facts::{Documents, Facts};
use super::finding::Finding;
use serde_json::Value;
use std::collections::{BTreeSet, HashSet};
use weft_model::{Endpoint, ServiceName};
use weft_proto::v1;

pub fn findings(read: &Result<Documents, String>, facts: &Facts) -> Vec<Finding> {
    let documents = match read {
        Ok(documents) => documents,
        Err(error) => {
            let advice = "the documents could not be read: see discovery's log and its store";
            return vec![Finding::of("documents", "documents", [error.clone()], advice)];
        }
    };
    let braked: HashSet<&str> = facts
        .replicas
        .iter()
        .filter_map(|(_, answer)| answer.as_ref().ok())
        .flat_map(|heard| heard.status.braked.iter().map(String::as_str))
        .collect();
    vec![emptiness(documents, &braked), policies(documents), parents(documents), backends(documents)]
}

fn emptiness(documents: &Documents, braked: &HashSet<&str>) -> Finding {
    let ready = documents.endpoints.iter().filter(|endpoint| Endpoint::takes_new_work(endpoint));
    let served: BTreeSet<&ServiceName> = ready.map(|endpoint| &endpoint.service).collect();
    // What the brake keeps is still called, and told of elsewhere.
    let empty = documents.services.iter().map(|service| &service.name).filter(|name| !served.contains(name));
    let empty = empty.filter(|name| !braked.contains(full(name).as_str()));
    Finding::of(
        "endpoints",
        format!("services have ready endpoints ({})", documents.services.len()),
        empty.map(|name| format!("{} has none", full(name))),
        "start an instance whose proxy registers for it, apply an Endpoint, or delete the service",
    )
}

/// `namespace/name`, as people type it.
fn full(name: &ServiceName) -> String {
    format!("{}/{}", name.namespace, name.name)
}

fn policies(documents: &Documents) -> Finding {
    let known: HashSet<&ServiceName> = documents.services.iter().map(|service| &service.name).collect();
    let orphans = documents.policies.iter().flat_map(|(policy, targets)| {
        let missing = targets.iter().filter(|target| !known.contains(target));
        missing.map(move |target| format!("{policy} is for Service {}, which does not exist", full(target)))
    });
    Finding::of(
        "policies",
        format!("policies are for services that exist ({})", documents.policies.len()),
        orphans.collect::<Vec<_>>(),
        "nobody carries them out: correct spec.targetRefs, apply the service, or delete the policy",
    )
}

fn parents(documents: &Documents) -> Finding {
    Finding::of(
        "routes",
        format!("routes are accepted by their parents ({})", documents.routes.len()),
        documents.routes.iter().flat_map(|route| unmet(route, "Accepted")),
        "no request goes by them: correct spec.parentRefs, apply the service, or delete the route",
    )
}

fn backends(documents: &Documents) -> Finding {
    Finding::of(
        "backends",
        format!("routes lead to backends that may be used ({})", documents.routes.len()),
        documents.routes.iter().flat_map(|route| unmet(route, "ResolvedRefs")),
        "requests that they choose are answered with 500: correct the backendRefs, apply the service, or add a ReferenceGrant \
         in its namespace",
    )
}

/// What keeps the condition from holding, for each parent.
fn unmet(route: &v1::Object, kind: &str) -> BTreeSet<String> {
    let v1::Object { kind: document, namespace, name, .. } = route;
    let Ok(status) = serde_json::from_str::<Value>(&route.status_json) else { return BTreeSet::new() };
    let parents = status["parents"].as_array().into_iter().flatten();
    let conditions = parents.flat_map(|parent| parent["conditions"].as_array().into_iter().flatten());
    let unmet = conditions.filter(|condition| condition["type"] == kind && condition["status"] == "False");
    let told = |condition: &Value| condition["message"].as_str().unwrap_or_default().to_owned();
    unmet.map(|condition| format!("{document} {namespace}/{name}: {}", told(condition))).collect()
}
