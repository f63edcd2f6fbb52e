//! Takes out of a pod what injection has put in: the opposite of [`patch`](crate::patch).
//!
//! Goes by names, so that it also removes what another version has injected, or half of it. What the pod had before is as
//! it was; lists and maps that are left empty go.

use crate::names::{DEFAULT_CONTAINER, INJECTED, PROXY, REDIRECT, TRUST_ANCHORS, VOLUMES};
use crate::probes;
use serde_json::Value;

/// Whether there was anything to take out of `pod`, a Pod or a pod template.
pub fn remove(pod: &mut Value) -> bool {
    let before = pod.clone();
    let classic = is_in(&pod["spec"]["containers"], PROXY);
    if let Some(spec) = pod.get_mut("spec").filter(|spec| spec.is_object()) {
        probes::restore(spec);
        drop_named(spec, "initContainers", &[PROXY, REDIRECT]);
        drop_named(spec, "containers", &[PROXY]);
        drop_named(spec, "volumes", &VOLUMES);
    }
    let first = pod["spec"]["containers"][0]["name"].clone();
    if let Some(annotations) = pod.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        let ours = [INJECTED, TRUST_ANCHORS].map(|key| annotations.remove(key));
        if classic && annotations.get(DEFAULT_CONTAINER) == Some(&first) {
            annotations.remove(DEFAULT_CONTAINER);
        }
        if ours.iter().any(Option::is_some) && annotations.is_empty() {
            drop_field(pod, "metadata", "annotations");
        }
    }
    *pod != before
}

fn is_in(list: &Value, name: &str) -> bool {
    list.as_array().into_iter().flatten().any(|item| item["name"] == name)
}

fn drop_named(spec: &mut Value, list: &str, names: &[&str]) {
    let Some(items) = spec.get_mut(list).and_then(Value::as_array_mut) else { return };
    let before = items.len();
    items.retain(|item| !item["name"].as_str().is_some_and(|name| names.contains(&name)));
    if items.len() < before
        && items.is_empty()
        && let Some(spec) = spec.as_object_mut()
    {
        spec.remove(list);
    }
}

fn drop_field(pod: &mut Value, parent: &str, field: &str) {
    let Some(object) = pod.get_mut(parent).and_then(Value::as_object_mut) else { return };
    object.remove(field);
}
