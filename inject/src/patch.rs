//! The JSON Patch (RFC 6902) that makes a pod a meshed one.
//!
//! Adds parts and re-points probes; whatever the pod had keeps its place and its order. A pod that would not work with a
//! sidecar as it is (names or ports that are taken, the sidecar's own user) is refused, naming the field.

use crate::annotations::{Choices, unknown};
use crate::decide::{Decision, Namespace, decide};
use crate::names::{DEFAULT_CONTAINER, INJECTED, PROXY, PROXY_UID, REDIRECT, TRUST_ANCHORS, VOLUMES};
use crate::probes;
use crate::refusal::{Faults, Refusal};
use crate::settings::{Settings, Style};
use crate::sidecar::{Parts, is_taken};
use json_patch::{AddOperation, Patch, PatchOperation, ReplaceOperation, jsonptr::PointerBuf};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// What becomes of a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub decision: Decision,
    /// Empty unless the pod is injected.
    pub patch: Patch,
    /// What whoever made the pod should know.
    pub warnings: Vec<String>,
}

/// Kubernetes' own default.
const GRACE: u64 = 30;

/// Decides about `pod`, a Pod or a pod template, and makes the patch. Fails naming all that is wrong with it.
pub fn inject(settings: &Settings, namespace: Namespace<'_>, pod: &Value) -> Result<Outcome, Refusal> {
    let mut faults = Faults::default();
    let decision = decide(settings, namespace, pod, &mut faults);
    if let Decision::Skip(_) = decision {
        return faults.or(Outcome { decision, patch: Patch::default(), warnings: Vec::new() });
    }
    let none = Map::new();
    let annotations = pod["metadata"]["annotations"].as_object().unwrap_or(&none);
    let choices = Choices::read(annotations, &mut faults);
    let spec = &pod["spec"];
    let grace = Duration::from_secs(spec["terminationGracePeriodSeconds"].as_u64().unwrap_or(GRACE).max(1));
    let (rewritten, table) = match choices.rewrite_probes {
        Some(false) => Default::default(),
        _ => probes::rewrite(spec),
    };
    let parts = Parts { settings, choices: &choices, probes: table, grace };
    misshapen(pod, &mut faults);
    conflicts(spec, &parts, &mut faults);
    let mut editor = Editor { pod, operations: Vec::new() };
    for probes::Rewritten { at: (list, index, fields), probe } in rewritten {
        let index = index.to_string();
        editor.replace(&[&["spec", list, &index][..], fields].concat(), probe);
    }
    editor.annotate(&parts);
    editor.insert_containers(&parts);
    editor.append(&["spec", "volumes"], parts.volumes());
    let warnings = unknown(annotations);
    faults.or(Outcome { decision, patch: Patch(editor.operations), warnings })
}

/// What is not of the shape that parts could be added to. The API server sends no such pods; files may be anything.
fn misshapen(pod: &Value, faults: &mut Faults) {
    let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
    let mappings = [("metadata", metadata), ("metadata.annotations", &metadata["annotations"]), ("spec", spec)];
    for (at, _) in mappings.into_iter().filter(|(_, value)| !value.is_null() && !value.is_object()) {
        faults.add(at, "is no mapping");
    }
    let lists = [("spec.initContainers", &spec["initContainers"]), ("spec.volumes", &spec["volumes"])];
    for (at, _) in lists.into_iter().filter(|(_, value)| !value.is_null() && !value.is_array()) {
        faults.add(at, "is no list");
    }
}

/// What stands in the way of a sidecar.
fn conflicts(spec: &Value, parts: &Parts<'_>, faults: &mut Faults) {
    let Some(containers) = spec["containers"].as_array().filter(|containers| !containers.is_empty()) else {
        return faults.add("spec.containers", "a pod has one at least");
    };
    let named = |value: &Value, names: &[&str]| value["name"].as_str().is_some_and(|name| names.contains(&name));
    let initial = spec["initContainers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let all = [("initContainers", initial), ("containers", containers)];
    for (list, container) in all.iter().flat_map(|(list, all)| all.iter().map(move |container| (list, container))) {
        let at = format!("spec.{list}[{}]", container["name"].as_str().unwrap_or("?"));
        if named(container, &[PROXY, REDIRECT]) {
            faults.add(
                &at,
                "the name is the mesh's own; give the container another, or remove what is left of a sidecar",
            );
        }
        runs_as_proxy(&format!("{at}.securityContext"), &container["securityContext"], faults);
        for port in container["ports"].as_array().into_iter().flatten() {
            if let Some(port) = port["containerPort"].as_u64().filter(|port| is_taken(*port)) {
                faults.add(&format!("{at}.ports"), format!("{port} is a port of the sidecar; choose another"));
            }
        }
    }
    runs_as_proxy("spec.securityContext", &spec["securityContext"], faults);
    for volume in spec["volumes"].as_array().into_iter().flatten().filter(|volume| named(volume, &VOLUMES)) {
        faults.add(&format!("spec.volumes[{}]", volume["name"].as_str().unwrap_or("?")), "the name is the mesh's own");
    }
    let resources = parts.resources();
    let pairs = [
        ("cpu", &resources.cpu_request, &resources.cpu_limit),
        ("memory", &resources.memory_request, &resources.memory_limit),
    ];
    for (what, request, limit) in pairs {
        if let (Some(request), Some(limit)) = (request, limit)
            && request.exceeds(limit)
        {
            let (request, limit) = (request.as_str(), limit.as_str());
            faults.add(
                &format!("weft.dev/{what}-request"),
                format!("{request} is more than the limit {limit}; allowed: at most weft.dev/{what}-limit"),
            );
        }
    }
    if let Some(drain) = parts.choices.drain_timeout.filter(|drain| *drain > parts.grace) {
        let (drain, grace) = (humantime::format_duration(drain), humantime::format_duration(parts.grace));
        faults.add(
            "weft.dev/drain-timeout",
            format!(
                "{drain} is longer than the pod has; allowed: at most spec.terminationGracePeriodSeconds ({grace})"
            ),
        );
    }
}

/// Connections of the sidecar's user are not led through the sidecar, or they would run in circles.
fn runs_as_proxy(at: &str, context: &Value, faults: &mut Faults) {
    if context["runAsUser"].as_u64() == Some(PROXY_UID.into()) {
        faults.add(
            &format!("{at}.runAsUser"),
            format!("{PROXY_UID} is the sidecar's own user, whose traffic bypasses the mesh; choose another"),
        );
    }
}

/// Collects operations on a pod.
struct Editor<'a> {
    pod: &'a Value,
    operations: Vec<PatchOperation>,
}

impl Editor<'_> {
    fn add(&mut self, path: &[&str], value: Value) {
        let path = PointerBuf::from_tokens(path.iter().copied());
        self.operations.push(PatchOperation::Add(AddOperation { path, value }));
    }

    fn replace(&mut self, path: &[&str], value: Value) {
        let path = PointerBuf::from_tokens(path.iter().copied());
        self.operations.push(PatchOperation::Replace(ReplaceOperation { path, value }));
    }

    fn has(&self, path: &[&str]) -> bool {
        path.iter().try_fold(self.pod, |at, key| at.get(key)).is_some_and(|found| !found.is_null())
    }

    /// Puts `values` at the end of the list.
    fn append(&mut self, list: &[&str], values: Vec<Value>) {
        if !self.has(list) {
            return self.add(list, Value::Array(values));
        }
        for value in values {
            self.add(&[list, &["-"]].concat(), value);
        }
    }

    fn annotate(&mut self, parts: &Parts<'_>) {
        let mut ours = Map::from_iter([
            (INJECTED.to_owned(), env!("CARGO_PKG_VERSION").into()),
            (TRUST_ANCHORS.to_owned(), parts.settings.trust_anchors.clone().into()),
        ]);
        // A classic sidecar comes first, where kubectl would take it for the container that is meant.
        if parts.style() == Style::Classic && !self.has(&["metadata", "annotations", DEFAULT_CONTAINER]) {
            ours.insert(DEFAULT_CONTAINER.to_owned(), self.pod["spec"]["containers"][0]["name"].clone());
        }
        if !self.has(&["metadata"]) {
            return self.add(&["metadata"], json!({"annotations": ours}));
        }
        if !self.has(&["metadata", "annotations"]) {
            return self.add(&["metadata", "annotations"], Value::Object(ours));
        }
        for (key, value) in ours {
            self.add(&["metadata", "annotations", &key], value);
        }
    }

    /// Native: before all other init containers, which then are meshed, too. Classic: the redirect after them, because
    /// nobody takes what is redirected before the sidecar runs; the sidecar before the application.
    fn insert_containers(&mut self, parts: &Parts<'_>) {
        const INITIAL: [&str; 2] = ["spec", "initContainers"];
        match parts.style() {
            Style::Native if !self.has(&INITIAL) => self.add(&INITIAL, json!([parts.redirect(), parts.proxy()])),
            Style::Native => {
                self.add(&["spec", "initContainers", "0"], parts.redirect());
                self.add(&["spec", "initContainers", "1"], parts.proxy());
            }
            Style::Classic => {
                self.append(&INITIAL, vec![parts.redirect()]);
                self.add(&["spec", "containers", "0"], parts.proxy());
            }
        }
    }
}

#[cfg(test)]
#[path = "patch_tests.rs"]
mod tests;
