//! The mesh's namespace, what is in it that the mesh did not make, and its end; and those that ask for sidecars.
//!
//! A namespace takes everything in it along. It goes with the mesh only if nothing else is in it.

use crate::connect::cluster::words;
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use weft_inject::names::INJECT;

/// What is looked at: all else in a namespace is there for one of these, or made of them.
const KINDS: [(&str, &str, &str); 7] = [
    ("", "Pod", "pods"),
    ("", "Secret", "secrets"),
    ("", "ConfigMap", "configmaps"),
    ("", "Service", "services"),
    ("", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("apps", "Deployment", "deployments"),
    ("apps", "StatefulSet", "statefulsets"),
];
/// Kubernetes makes it in each namespace.
const EVERYWHERE: &str = "kube-root-ca.crt";
/// Deletion is asked about this often.
const LOOK: Duration = Duration::from_millis(500);

/// Whether it is there.
pub async fn exists(client: &Client, namespace: &str) -> Result<bool, String> {
    let found = Api::<Namespace>::all(client.clone()).get_opt(namespace).await;
    found.map(|found| found.is_some()).map_err(|error| format!("get namespace {namespace}: {}", words(&error)))
}

/// Namespaces that ask for sidecars.
pub async fn asking(client: &Client) -> kube::Result<Vec<String>> {
    let asking = ListParams::default().labels(&format!("{INJECT}=enabled"));
    let list = Api::<Namespace>::all(client.clone()).list(&asking).await?;
    Ok(list.items.into_iter().filter_map(|namespace| namespace.metadata.name).collect())
}

/// `Kind name` of what is in it and not of the release.
pub async fn strangers(client: &Client, namespace: &str, release: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for (group, kind, plural) in KINDS {
        let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
        let (group, kind, plural) = (group.to_owned(), kind.to_owned(), plural.to_owned());
        let resource = ApiResource { group, version: "v1".to_owned(), api_version, kind, plural };
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
        let list = api.list(&ListParams::default()).await;
        let list = list.map_err(|error| format!("list {} in {namespace}: {}", resource.plural, words(&error)))?;
        let strange = list.items.iter().filter(|object| is_strange(&resource.kind, object, release));
        found
            .extend(strange.filter_map(|object| Some(format!("{} {}", resource.kind, object.metadata.name.as_ref()?))));
    }
    Ok(found)
}

fn is_strange(kind: &str, object: &DynamicObject, release: &str) -> bool {
    let label = |name: &str| object.metadata.labels.as_ref().and_then(|labels| labels.get(name)).map(String::as_str);
    let ours = label("app.kubernetes.io/name").is_some_and(|name| name.starts_with("weft-"))
        && label("app.kubernetes.io/instance") == Some(release);
    let helms = label("owner") == Some("helm") && label("name") == Some(release);
    let everywhere = kind == "ConfigMap" && object.metadata.name.as_deref() == Some(EVERYWHERE);
    let token = object.data["type"] == "kubernetes.io/service-account-token";
    // What another object owns goes with that one.
    let owned = object.metadata.owner_references.iter().flatten().next().is_some();
    !(ours || helms || everywhere || token || owned || object.metadata.deletion_timestamp.is_some())
}

/// Deletes it and waits until it is gone; no wait at all: only asks for it.
pub async fn delete(client: &Client, namespace: &str, wait: Duration) -> Result<(), String> {
    let api = Api::<Namespace>::all(client.clone());
    let failed = |error: kube::Error| format!("delete namespace {namespace}: {}", words(&error));
    match api.delete(namespace, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
        answer => drop(answer.map_err(failed)?),
    }
    let deadline = Instant::now() + wait;
    while !wait.is_zero() {
        if api.get_opt(namespace).await.map_err(failed)?.is_none() {
            break;
        }
        if Instant::now() >= deadline {
            let limit = humantime::format_duration(wait);
            return Err(format!(
                "namespace {namespace} is still being deleted after {limit}; what holds it: \
                 kubectl get namespace {namespace} -o yaml"
            ));
        }
        sleep(LOOK).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_mesh_did_not_make_is_told_apart() {
        let strange = |kind: &str, labels: serde_json::Value, more: serde_json::Value| {
            let mut metadata = json!({ "name": "a", "namespace": "mesh", "labels": labels });
            metadata.as_object_mut().unwrap().extend(more["metadata"].as_object().cloned().unwrap_or_default());
            let mut object = json!({ "metadata": metadata });
            object["type"] = more["type"].clone();
            is_strange(kind, &serde_json::from_value(object).unwrap(), "weft")
        };
        let ours =
            |instance: &str| json!({ "app.kubernetes.io/name": "weft-etcd", "app.kubernetes.io/instance": instance });
        assert!(!strange("PersistentVolumeClaim", ours("weft"), json!({})));
        assert!(strange("Service", ours("other"), json!({})), "another release");
        assert!(!strange("Secret", json!({ "owner": "helm", "name": "weft" }), json!({})));
        assert!(strange("Secret", json!({ "owner": "helm", "name": "prometheus" }), json!({})));
        assert!(!strange("ConfigMap", json!({}), json!({ "metadata": { "name": EVERYWHERE } })));
        assert!(!strange("Secret", json!({}), json!({ "type": "kubernetes.io/service-account-token" })));
        assert!(!strange("Pod", json!({}), json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } })));
        assert!(strange("Secret", json!({}), json!({ "type": "kubernetes.io/tls" })), "a root that was brought");
        assert!(strange("Pod", json!({ "app": "mine" }), json!({})));
    }
}
