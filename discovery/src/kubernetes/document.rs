//! Routes, grants and policies of a cluster, as documents for the one translator.
//!
//! Pure. What Kubernetes adds to a document (managed fields, owners, times) is dropped as it comes in. A route that is attached
//! to no Service is a gateway's and none of ours, once nothing is said of it in our name; of one that is attached to both, the
//! mesh sees its Services alone.

use super::partial::{self, Partial};
use crate::registry::conditions::CONTROLLER;
use crate::translate::{Fault, Kind, translate_value};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// What `kubectl apply` keeps for itself: the whole document once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A document and what was said about it last.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// With `apiVersion`, `kind`, `metadata` and `spec` only.
    pub value: Value,
    pub generation: i64,
    /// For a write that must not overwrite somebody else's.
    pub version: String,
    pub status: Value,
}

/// How the API server serves a kind.
pub fn resource(kind: Kind) -> ApiResource {
    let (group, version) = match kind {
        Kind::HttpRoute | Kind::GrpcRoute => ("gateway.networking.k8s.io", "v1"),
        // Served by every release of the Gateway API that there is; v1 is not.
        Kind::ReferenceGrant => ("gateway.networking.k8s.io", "v1beta1"),
        _ => ("weft.dev", "v1alpha1"),
    };
    let plural = match kind {
        Kind::TrafficPolicy => "trafficpolicies",
        Kind::AuthorizationPolicy => "authorizationpolicies",
        Kind::NamespacePolicy => "namespacepolicies",
        Kind::HttpRoute => "httproutes",
        Kind::GrpcRoute => "grpcroutes",
        Kind::ReferenceGrant => "referencegrants",
        Kind::Service => "services",
        Kind::Endpoint => "endpoints",
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind.name()), plural)
}

impl Document {
    /// `None`: none of ours.
    pub fn read(kind: Kind, object: DynamicObject) -> Option<Self> {
        let DynamicObject { metadata, mut data, .. } = object;
        let status = data.get_mut("status").map(Value::take).unwrap_or_default();
        let mut spec = data.get_mut("spec").map(Value::take).unwrap_or_default();
        if is_route(kind) && !keep_services(&mut spec) && !is_spoken_for(&status) {
            return None;
        }
        let mut named = Map::new();
        named.insert("name".to_owned(), metadata.name?.into());
        named.insert("namespace".to_owned(), metadata.namespace.unwrap_or_default().into());
        if let Some(labels) = metadata.labels.filter(|labels| !labels.is_empty()) {
            named.insert("labels".to_owned(), json!(labels));
        }
        let annotations = metadata.annotations.unwrap_or_default().into_iter();
        let annotations: Map<String, Value> =
            annotations.filter(|(key, _)| key != LAST_APPLIED).map(|(key, value)| (key, value.into())).collect();
        if !annotations.is_empty() {
            named.insert("annotations".to_owned(), annotations.into());
        }
        let resource = resource(kind);
        let value = json!({
            "apiVersion": resource.api_version, "kind": resource.kind, "metadata": named, "spec": spec,
        });
        let generation = metadata.generation.unwrap_or_default();
        Some(Self { value, generation, version: metadata.resource_version.unwrap_or_default(), status })
    }

    /// As far as it can be in force.
    pub fn translate(&self, kind: Kind, trust_domain: &str) -> Result<Partial, Vec<Fault>> {
        if is_route(kind) {
            return partial::translate(&self.value, trust_domain);
        }
        let translated = translate_value(self.value.clone(), trust_domain)?;
        Ok(Partial { translated, dropped: BTreeSet::new(), faults: Vec::new() })
    }

    /// It was attached to a Service and is no more; what is left are words of ours.
    pub fn is_detached(&self, kind: Kind) -> bool {
        is_route(kind) && self.value["spec"]["parentRefs"].as_array().is_none_or(Vec::is_empty)
    }
}

pub fn is_route(kind: Kind) -> bool {
    matches!(kind, Kind::HttpRoute | Kind::GrpcRoute)
}

/// Whether its status has a word of ours.
fn is_spoken_for(status: &Value) -> bool {
    status["parents"].as_array().into_iter().flatten().any(|parent| parent["controllerName"] == CONTROLLER)
}

/// Leaves only the parents that are Services; `false`: there are none.
fn keep_services(spec: &mut Value) -> bool {
    let Some(parents) = spec.get_mut("parentRefs").and_then(Value::as_array_mut) else { return false };
    let text = |parent: &Value, field: &str| parent.get(field).and_then(Value::as_str).map(str::to_owned);
    parents.retain(|parent| {
        let group = text(parent, "group");
        text(parent, "kind").as_deref() == Some("Service") && group.is_none_or(|group| group.is_empty())
    });
    !parents.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: Kind, spec: Value) -> DynamicObject {
        let value = json!({
            "apiVersion": resource(kind).api_version, "kind": kind.name(),
            "metadata": {
                "name": "split", "namespace": "shop", "generation": 3, "resourceVersion": "77", "uid": "u",
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "managedFields": [{"manager": "kubectl"}],
                "annotations": {LAST_APPLIED: "{}", "owner": "shop"},
            },
            "spec": spec,
            "status": {"parents": []},
        });
        serde_json::from_value(value).unwrap()
    }

    fn route(parents: Value) -> Option<Document> {
        let rules =
            json!([{"backendRefs": [{"group": "", "kind": "Service", "name": "cart", "port": 80, "weight": 1}]}]);
        Document::read(Kind::HttpRoute, object(Kind::HttpRoute, json!({"parentRefs": parents, "rules": rules})))
    }

    #[test]
    fn a_document_is_what_a_person_wrote() {
        let document = route(json!([{"group": "", "kind": "Service", "name": "cart", "port": 80}])).unwrap();
        let metadata = json!({"name": "split", "namespace": "shop", "annotations": {"owner": "shop"}});
        assert_eq!(document.value["metadata"], metadata);
        assert_eq!((document.generation, document.version.as_str()), (3, "77"));
        let translated = document.translate(Kind::HttpRoute, "weft.local").unwrap().translated;
        assert_eq!((translated.kind, translated.name.as_str()), (Kind::HttpRoute, "split"));
    }

    #[test]
    fn what_is_attached_to_gateways_is_theirs() {
        let gateway = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"});
        assert!(route(json!([gateway])).is_none());
        assert!(route(json!([{"name": "edge"}])).is_none(), "a Gateway by default");
        let both = route(json!([gateway, {"group": "", "kind": "Service", "name": "cart"}])).unwrap();
        assert!(both.translate(Kind::HttpRoute, "weft.local").is_ok());
        // What was said of it when it had another parent has to be taken back.
        let mut spoken = object(Kind::HttpRoute, json!({"parentRefs": [{"name": "edge"}], "rules": []}));
        spoken.data["status"] = json!({"parents": [{"controllerName": CONTROLLER}]});
        assert!(Document::read(Kind::HttpRoute, spoken.clone()).unwrap().is_detached(Kind::HttpRoute));
        spoken.data["status"] = json!({"parents": [{"controllerName": "example.com/gateway"}]});
        assert!(Document::read(Kind::HttpRoute, spoken).is_none());
    }

    #[test]
    fn faults_name_the_field() {
        let document =
            Document::read(Kind::TrafficPolicy, object(Kind::TrafficPolicy, json!({"targetRef": {}}))).unwrap();
        let faults = document.translate(Kind::TrafficPolicy, "weft.local").unwrap_err();
        assert!(faults.iter().all(|fault| fault.document == "TrafficPolicy shop/split"), "{faults:?}");
    }
}
