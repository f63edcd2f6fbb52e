//! Whether a pod gets a sidecar: what its namespace says, what it says itself, and what must never get one.
//!
//! The first question about every pod. What must never get one is exempt whatever anybody says; then the pod has the last
//! word over its namespace. A word that is neither yes nor no is a fault, never a guess.

use crate::annotations::switch;
use crate::names::{INJECT, INJECTED, PROXY, SYSTEM_NAMESPACES};
use crate::refusal::Faults;
use crate::settings::Settings;
use serde_json::Value;
use std::fmt;

/// The namespace that a pod is made in.
#[derive(Debug, Clone, Copy)]
pub struct Namespace<'a> {
    pub name: &'a str,
    /// Its label `weft.dev/inject`.
    pub label: Option<&'a str>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Inject,
    Skip(Skip),
}

/// Why a pod stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    SystemNamespace,
    MeshNamespace,
    HostNetwork,
    Windows,
    Mirror,
    AlreadyInjected,
    OptedOut,
    NotAsked,
}

impl Skip {
    /// One word, for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SystemNamespace => "system-namespace",
            Self::MeshNamespace => "mesh-namespace",
            Self::HostNetwork => "host-network",
            Self::Windows => "windows",
            Self::Mirror => "mirror-pod",
            Self::AlreadyInjected => "already-injected",
            Self::OptedOut => "opted-out",
            Self::NotAsked => "not-asked",
        }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SystemNamespace => "the namespace is Kubernetes' own",
            Self::MeshNamespace => "the namespace is the mesh's own",
            Self::HostNetwork => "it uses the node's network, where a redirect would catch everybody's traffic",
            Self::Windows => "it runs on Windows",
            Self::Mirror => "it mirrors a static pod, which runs already",
            Self::AlreadyInjected => "it has its sidecar already",
            Self::OptedOut => "weft.dev/inject is disabled",
            Self::NotAsked => "neither the namespace nor the pod asks for it (weft.dev/inject: enabled)",
        })
    }
}

/// Whether `pod`, a Pod or a pod template, gets a sidecar.
pub(crate) fn decide(settings: &Settings, namespace: Namespace<'_>, pod: &Value, faults: &mut Faults) -> Decision {
    judge(&settings.mesh_namespace, namespace, pod, faults)
}

/// Whether a pod that lives should have a sidecar and has none. What contradicts itself asks for nothing.
pub fn lacks_sidecar(mesh_namespace: &str, namespace: Namespace<'_>, pod: &Value) -> bool {
    let mut faults = Faults::default();
    let decision = judge(mesh_namespace, namespace, pod, &mut faults);
    decision == Decision::Inject && faults.or(()).is_ok()
}

fn judge(mesh_namespace: &str, namespace: Namespace<'_>, pod: &Value, faults: &mut Faults) -> Decision {
    if let Some(exempt) = exempt(mesh_namespace, namespace.name, pod) {
        return Decision::Skip(exempt);
    }
    let of_pod = asked(&pod["metadata"]["labels"][INJECT], "label", faults);
    let annotated = asked(&pod["metadata"]["annotations"][INJECT], "annotation", faults);
    if let (Some(label), Some(annotation)) = (of_pod, annotated)
        && label != annotation
    {
        faults.add(INJECT, "the pod's label and its annotation contradict each other; allowed: the same in both");
    }
    match of_pod.or(annotated) {
        Some(true) => Decision::Inject,
        Some(false) => Decision::Skip(Skip::OptedOut),
        // Whatever else a namespace's label says is nothing that its pods could mend.
        None if namespace.label == Some("enabled") => Decision::Inject,
        None if namespace.label == Some("disabled") => Decision::Skip(Skip::OptedOut),
        None => Decision::Skip(Skip::NotAsked),
    }
}

fn exempt(mesh_namespace: &str, namespace: &str, pod: &Value) -> Option<Skip> {
    let spec = &pod["spec"];
    let containers = |list: &str| spec[list].as_array().map(Vec::as_slice).unwrap_or_default();
    let proxy = || containers("initContainers").iter().chain(containers("containers")).any(|c| c["name"] == PROXY);
    let annotated = |key: &str| !pod["metadata"]["annotations"][key].is_null();
    let reasons = [
        (SYSTEM_NAMESPACES.contains(&namespace), Skip::SystemNamespace),
        (namespace == mesh_namespace, Skip::MeshNamespace),
        (spec["hostNetwork"] == true, Skip::HostNetwork),
        (spec["os"]["name"] == "windows", Skip::Windows),
        (annotated("kubernetes.io/config.mirror"), Skip::Mirror),
        (annotated(INJECTED) && proxy(), Skip::AlreadyInjected),
    ];
    reasons.into_iter().find_map(|(holds, skip)| holds.then_some(skip))
}

fn asked(value: &Value, place: &str, faults: &mut Faults) -> Option<bool> {
    let asked = match value {
        Value::Null => return None,
        Value::String(text) => switch(text),
        other => Err(format!("{other} is no text; put it into quotes")),
    };
    asked
        .map_err(|reason| faults.add(INJECT, format!("the pod's {place}: {reason}; allowed: enabled or disabled")))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::settings;
    use serde_json::json;

    fn said(namespace: &str, label: Option<&str>, pod: &Value) -> Result<Decision, String> {
        let mut faults = Faults::default();
        let decision = decide(&settings(&[]), Namespace { name: namespace, label }, pod, &mut faults);
        faults.or(decision).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn the_pod_has_the_last_word_over_its_namespace() {
        use super::Skip::{NotAsked, OptedOut};
        use Decision::{Inject, Skip};
        let (yes, no) = (Some("enabled"), Some("disabled"));
        // label of the namespace, label of the pod, annotation of the pod
        let table = [
            (None, None, None, Skip(NotAsked)),
            (yes, None, None, Inject),
            (no, None, None, Skip(OptedOut)),
            (Some("yes"), None, None, Skip(NotAsked)),
            (None, yes, None, Inject),
            (None, None, yes, Inject),
            (no, yes, None, Inject),
            (no, None, yes, Inject),
            (yes, no, None, Skip(OptedOut)),
            (yes, None, no, Skip(OptedOut)),
            (None, yes, yes, Inject),
            (yes, no, no, Skip(OptedOut)),
        ];
        for (namespace, label, annotation, expected) in table {
            let mut pod = json!({"metadata": {"labels": {}, "annotations": {}}, "spec": {}});
            for (list, value) in [("labels", label), ("annotations", annotation)] {
                if let Some(value) = value {
                    pod["metadata"][list][INJECT] = value.into();
                }
            }
            assert_eq!(said("shop", namespace, &pod), Ok(expected), "{namespace:?} {label:?} {annotation:?}");
        }
    }

    #[test]
    fn some_pods_are_never_injected() {
        let asked = |spec: Value| json!({"metadata": {"labels": {INJECT: "enabled"}}, "spec": spec});
        for (namespace, skip) in [
            ("kube-system", Skip::SystemNamespace),
            ("kube-public", Skip::SystemNamespace),
            ("kube-node-lease", Skip::SystemNamespace),
            ("weft-system", Skip::MeshNamespace),
        ] {
            assert_eq!(said(namespace, Some("enabled"), &asked(json!({}))), Ok(Decision::Skip(skip)), "{namespace}");
        }
        let table =
            [(json!({"hostNetwork": true}), Skip::HostNetwork), (json!({"os": {"name": "windows"}}), Skip::Windows)];
        for (spec, skip) in table {
            assert_eq!(said("shop", None, &asked(spec)), Ok(Decision::Skip(skip)));
        }
        let mirror = json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x", INJECT: "enabled"}}});
        assert_eq!(said("shop", None, &mirror), Ok(Decision::Skip(Skip::Mirror)));
    }

    #[test]
    fn injected_means_annotation_and_container() {
        let pod = |annotation: bool, list: &str| {
            let mut pod = json!({"metadata": {"labels": {INJECT: "enabled"}, "annotations": {}}, "spec": {}});
            if annotation {
                pod["metadata"]["annotations"][INJECTED] = "0.1.0".into();
            }
            pod["spec"][list] = json!([{"name": PROXY}]);
            pod
        };
        let already = Ok(Decision::Skip(Skip::AlreadyInjected));
        assert_eq!(said("shop", None, &pod(true, "initContainers")), already);
        assert_eq!(said("shop", None, &pod(true, "containers")), already);
        assert_eq!(said("shop", None, &pod(false, "containers")), Ok(Decision::Inject));
        assert_eq!(said("shop", None, &pod(true, "volumes")), Ok(Decision::Inject));
    }

    #[test]
    fn a_word_that_is_neither_yes_nor_no_is_a_fault() {
        for (list, value) in
            [("labels", json!("true")), ("annotations", json!("on")), ("labels", json!(true)), ("labels", json!(""))]
        {
            let pod = json!({"metadata": {list: {INJECT: value}}});
            let refusal = said("shop", None, &pod).unwrap_err();
            assert!(refusal.starts_with(INJECT) && refusal.ends_with("enabled or disabled"), "{refusal}");
        }
        let torn = json!({"metadata": {"labels": {INJECT: "enabled"}, "annotations": {INJECT: "disabled"}}});
        assert!(said("shop", None, &torn).unwrap_err().contains("contradict"));
    }
}
