//! Pods that matter to an installation: those of the mesh that are not ready yet and why, and those of users that have a sidecar.
//!
//! What a pod comes to is decided without input or output. Finished pods and those that are going are none.

use crate::connect::cluster::{each, words};
use crate::print::plain;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::Client;
use kube::api::{Api, ListParams};
use weft_inject::names::PROXY;

/// Of all pods that the chart makes.
const OURS: &str = "app.kubernetes.io/part-of=weft";

/// `namespace/name` of every pod that has a sidecar.
pub async fn meshed(client: &Client) -> Result<Vec<String>, String> {
    let mut meshed = Vec::new();
    let see = |pod: &Pod| meshed.extend(has_sidecar(pod).then(|| name(pod)));
    each(&Api::all(client.clone()), see).await.map_err(|error| format!("list pods: {}", words(&error)))?;
    Ok(meshed)
}

fn has_sidecar(pod: &Pod) -> bool {
    let spec = pod.spec.iter();
    let mut containers = spec.flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    lives(pod) && containers.any(|container| container.name == PROXY)
}

/// It has neither ended nor is it going.
pub fn lives(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
}

/// `namespace/name`
pub fn name(pod: &Pod) -> String {
    let [namespace, name] =
        [&pod.metadata.namespace, &pod.metadata.name].map(|text| text.as_deref().unwrap_or_default());
    format!("{namespace}/{name}")
}

/// How the mesh's own pods are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub ready: usize,
    /// Those that are not: name and reason.
    pub waiting: Vec<String>,
}

/// Of the pods in the mesh's namespace.
pub async fn standing(client: &Client, namespace: &str) -> Result<Standing, kube::Error> {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace).list(&ListParams::default().labels(OURS)).await?;
    Ok(judged(&pods.items))
}

fn judged(pods: &[Pod]) -> Standing {
    let mut standing = Standing::default();
    for pod in pods.iter().filter(|pod| lives(pod)) {
        match why_not_ready(pod) {
            None => standing.ready += 1,
            Some(reason) => standing.waiting.push(format!("{}: {}", name(pod), plain(&reason))),
        }
    }
    standing
}

/// The first thing that is in the way, from the bottom up; `None`: it is ready.
fn why_not_ready(pod: &Pod) -> Option<String> {
    let Some(status) = &pod.status else { return Some("nobody has seen to it yet".to_owned()) };
    let conditions = || status.conditions.iter().flatten();
    if conditions().any(|condition| condition.type_ == "Ready" && condition.status == "True") {
        return None;
    }
    let scheduled = conditions().find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = scheduled {
        return Some(condition.message.clone().unwrap_or_else(|| "no node takes it".to_owned()));
    }
    let mut containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    Some(containers.find_map(held).unwrap_or_else(|| "not ready yet".to_owned()))
}

fn held(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    let told = |reason: &Option<String>, message: &Option<String>| {
        let words: Vec<&str> = [reason, message].into_iter().flatten().map(String::as_str).collect();
        format!("{}: {}", container.name, words.join(": "))
    };
    if let Some(waiting) = &state.waiting {
        return Some(told(&waiting.reason, &waiting.message));
    }
    let ended = state.terminated.as_ref().filter(|ended| ended.exit_code != 0);
    ended.map(|ended| format!("{} ended with status {}", container.name, ended.exit_code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(spec: Value, status: Value) -> Pod {
        let metadata = json!({ "name": "a", "namespace": "mesh" });
        serde_json::from_value(json!({ "metadata": metadata, "spec": spec, "status": status })).unwrap()
    }

    #[test]
    fn a_sidecar_is_one_of_either_kind_in_a_pod_that_lives() {
        let native = || json!({ "containers": [{ "name": "app" }], "initContainers": [{ "name": "weft-proxy" }] });
        let classic = json!({ "containers": [{ "name": "app" }, { "name": "weft-proxy" }] });
        assert!(has_sidecar(&pod(native(), json!({ "phase": "Running" }))));
        assert!(has_sidecar(&pod(classic, json!({ "phase": "Pending" }))));
        assert!(!has_sidecar(&pod(native(), json!({ "phase": "Succeeded" }))), "a Job that has ended");
        assert!(!has_sidecar(&pod(json!({ "containers": [{ "name": "app" }] }), json!({}))));
    }

    #[test]
    fn what_is_in_the_way_of_a_pod_is_told() {
        let condition = |type_: &str, status: &str, message: &str| json!({ "conditions": [{ "type": type_, "status": status, "message": message }] });
        let spec = || json!({ "containers": [] });
        let ready = pod(spec(), condition("Ready", "True", ""));
        let unbound = pod(spec(), condition("PodScheduled", "False", "unbound PersistentVolumeClaims"));
        let pull = json!({ "name": "etcd", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "waiting": { "reason": "ErrImagePull", "message": "no such\u{1b} host" } } });
        let pull = pod(spec(), json!({ "containerStatuses": [pull] }));
        let young = pod(spec(), json!({ "phase": "Pending" }));
        let standing = judged(&[ready, unbound, pull, young]);
        assert_eq!(standing.ready, 1);
        assert_eq!(
            standing.waiting,
            [
                "mesh/a: unbound PersistentVolumeClaims",
                "mesh/a: etcd: ErrImagePull: no such\\u{1b} host",
                "mesh/a: not ready yet"
            ]
        );
    }
}
