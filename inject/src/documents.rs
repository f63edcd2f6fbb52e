//! Whole YAML streams: finds the pods in them, has each changed, and leaves everything else exactly as it was written.
//!
//! Documents keep their order; one that is not changed keeps its very text, comments included. What is no YAML, or a pod
//! that is refused, fails the whole stream, naming the document: half a stream applied is worse than none.

use crate::decide::{Decision, Namespace};
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::yaml::to_yaml;
use crate::{patch, remove};
use serde_json::Value;

/// What is wrong with a stream. Documents are counted from 1, as `document 3`.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("document {number}: {reason}")]
    Syntax { number: usize, reason: String },
    #[error("{what} (document {number}): {refusal}")]
    Refused { number: usize, what: String, refusal: Refusal },
}

/// A stream after all its pods were looked at.
#[derive(Debug, Default, PartialEq)]
pub struct Stream {
    pub text: String,
    /// A line for every pod or template: what became of it.
    pub notes: Vec<String>,
}

/// Where the pod template of each kind is: API group, kind, pointer.
const TEMPLATES: [(&str, &str, &str); 9] = [
    ("", "Pod", ""),
    ("", "PodTemplate", "/template"),
    ("", "ReplicationController", "/spec/template"),
    ("apps", "Deployment", "/spec/template"),
    ("apps", "StatefulSet", "/spec/template"),
    ("apps", "DaemonSet", "/spec/template"),
    ("apps", "ReplicaSet", "/spec/template"),
    ("batch", "Job", "/spec/template"),
    ("batch", "CronJob", "/spec/jobTemplate/spec/template"),
];

/// Puts sidecars into every pod of `yaml`, as the webhook would in a namespace that asks for them. `namespace` is that of
/// documents that name none.
pub fn inject(settings: &Settings, yaml: &str, namespace: &str) -> Result<Stream, StreamError> {
    each(yaml, namespace, |namespace, pod| {
        let outcome = patch::inject(settings, Namespace { name: namespace, label: Some("enabled") }, pod)?;
        let mut said = match outcome.decision {
            Decision::Skip(why) => return Ok(format!("left as it is: {why}")),
            Decision::Inject => "injected".to_owned(),
        };
        outcome.warnings.iter().for_each(|warning| said.push_str(&format!("; {warning}")));
        json_patch::patch(pod, &outcome.patch).expect("the patch was made for this very pod");
        Ok(said)
    })
}

/// Takes the sidecars out of every pod of `yaml`.
pub fn uninject(yaml: &str) -> Result<Stream, StreamError> {
    each(yaml, "default", |_, pod| {
        Ok(if remove::remove(pod) { "sidecar removed" } else { "left as it is: it has no sidecar" }.to_owned())
    })
}

fn each(
    yaml: &str,
    namespace: &str,
    mut change: impl FnMut(&str, &mut Value) -> Result<String, Refusal>,
) -> Result<Stream, StreamError> {
    let mut stream = Stream::default();
    let mut number = 0;
    for Chunk { marker, text } in chunks(yaml) {
        let syntax = |reason: String| StreamError::Syntax { number: number + 1, reason };
        let mut document = parse(text).map_err(syntax)?;
        if !document.is_null() {
            number += 1;
        }
        let before = document.clone();
        visit(&mut document, namespace, &mut |what, namespace, pod| {
            let said = change(namespace, pod).map_err(|refusal| StreamError::Refused {
                number,
                what: what.to_owned(),
                refusal,
            })?;
            stream.notes.push(format!("{what}: {said}"));
            Ok(())
        })?;
        stream.text.push_str(marker);
        if document == before {
            stream.text.push_str(text);
        } else {
            stream.text.push_str(&to_yaml(&document));
        }
    }
    Ok(stream)
}

type Visitor<'a> = &'a mut dyn FnMut(&str, &str, &mut Value) -> Result<(), StreamError>;

/// Calls `visitor` with the name, the namespace and the template of every pod in `document`.
fn visit(document: &mut Value, namespace: &str, visitor: Visitor<'_>) -> Result<(), StreamError> {
    let text = |at: &str| document.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind) = (text("/apiVersion"), text("/kind"));
    if kind.ends_with("List") && document["items"].is_array() {
        let items = document.get_mut("items").and_then(Value::as_array_mut);
        return items.into_iter().flatten().try_for_each(|item| visit(item, namespace, visitor));
    }
    let group = version.rsplit_once('/').map_or("", |(group, _)| group);
    let known = TEMPLATES.iter().find(|(of, name, _)| *of == group && *name == kind);
    let Some((_, _, pointer)) = known else { return Ok(()) };
    let named = text("/metadata/namespace");
    let namespace = if named.is_empty() { namespace } else { &named };
    let name = [text("/metadata/name"), text("/metadata/generateName")].into_iter().find(|name| !name.is_empty());
    let what = format!("{kind} {namespace}/{}", name.unwrap_or_else(|| "?".to_owned()));
    match document.pointer_mut(pointer) {
        Some(pod) => visitor(&what, namespace, pod),
        None => Ok(()),
    }
}

/// One document as it is written.
struct Chunk<'a> {
    /// The line that begins it (`---`), if there is one.
    marker: &'a str,
    text: &'a str,
}

/// Divides a stream where a line is `---`, with or without a comment. Within block scalars such lines are indented.
fn chunks(yaml: &str) -> Vec<Chunk<'_>> {
    let mut chunks = Vec::new();
    let (mut marker, mut start, mut at) = ("", 0, 0);
    for line in yaml.split_inclusive('\n') {
        let bare = line.trim_end();
        if bare == "---" || bare.strip_prefix("---").is_some_and(|rest| rest.trim_start().starts_with('#')) {
            chunks.push(Chunk { marker, text: &yaml[start..at] });
            (marker, start) = (line, at + line.len());
        }
        at += line.len();
    }
    chunks.push(Chunk { marker, text: &yaml[start..] });
    chunks
}

fn parse(text: &str) -> Result<Value, String> {
    let blank = |line: &str| line.trim().is_empty() || line.starts_with(['#', '%']);
    if text.lines().all(blank) {
        return Ok(Value::Null);
    }
    let mut document: serde_yaml_ng::Value = serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
    document.apply_merge().map_err(|error| error.to_string())?;
    let mut value = serde_json::to_value(document).map_err(|error| error.to_string())?;
    octal_modes(&mut value);
    Ok(value)
}

/// File modes are written as 0644, which is a number in the YAML of Kubernetes (1.1) and text in that of today (1.2).
fn octal_modes(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(octal_modes),
        Value::Object(fields) => {
            for (key, value) in fields {
                let text = value.as_str().filter(|text| text.starts_with('0') && text.len() > 1);
                let mode = text.and_then(|text| u32::from_str_radix(text, 8).ok());
                match mode.filter(|_| ["defaultMode", "mode"].contains(&key.as_str())) {
                    Some(mode) => *value = mode.into(),
                    None => octal_modes(value),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
#[path = "documents_tests.rs"]
mod tests;
