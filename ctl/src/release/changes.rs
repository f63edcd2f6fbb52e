//! What would be different after an upgrade: the objects of two manifests, one against the other.
//!
//! Pure: documents in, text out. What Secrets hold is never shown, only that it is other than before.

use crate::print::plain;
use serde::Deserialize;
use serde_json::{Value, json};
use similar::TextDiff;
use std::collections::{BTreeMap, BTreeSet};

/// Lines around a change.
const CONTEXT: usize = 3;

/// Objects by `Kind namespace/name`.
pub type Objects = BTreeMap<String, Value>;

/// The objects of a manifest, as helm renders and keeps them.
pub fn objects(manifest: &str) -> Result<Objects, serde_yaml_ng::Error> {
    let mut objects = Objects::new();
    for document in serde_yaml_ng::Deserializer::from_str(manifest) {
        let value = Value::deserialize(document)?;
        if value["kind"].is_string() {
            objects.insert(name(&value), value);
        }
    }
    Ok(objects)
}

/// `Kind namespace/name`, or `Kind name` of what is in no namespace.
fn name(object: &Value) -> String {
    let text = |value: &Value| plain(value.as_str().unwrap_or_default());
    let (kind, metadata) = (text(&object["kind"]), &object["metadata"]);
    match metadata["namespace"].as_str() {
        Some(namespace) => format!("{kind} {}/{}", plain(namespace), text(&metadata["name"])),
        None => format!("{kind} {}", text(&metadata["name"])),
    }
}

/// Line by line, object by object, and in the last line how many there are of each.
pub fn told(before: &Objects, after: &Objects, colours: bool) -> String {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let (mut text, mut added, mut removed, mut changed, mut same) = (String::new(), 0, 0, 0, 0);
    for name in names {
        let count = match (before.get(name), after.get(name)) {
            (Some(old), Some(new)) if old == new => {
                same += 1;
                continue;
            }
            (Some(_), Some(_)) => (&mut changed, "changed"),
            (None, _) => (&mut added, "added"),
            (_, None) => (&mut removed, "removed"),
        };
        *count.0 += 1;
        text.push_str(&format!("{name} {}\n", count.1));
        text.push_str(&lines(before.get(name), after.get(name), colours));
    }
    let gap = if text.is_empty() { "" } else { "\n" };
    text + &format!("{gap}{changed} changed, {added} added, {removed} removed, {same} as they are\n")
}

/// A unified diff.
fn lines(old: Option<&Value>, new: Option<&Value>, colours: bool) -> String {
    let (old, new) = masked(old, new);
    let yaml = |value: &Option<Value>| value.as_ref().and_then(|value| serde_yaml_ng::to_string(value).ok());
    let (old, new) = (yaml(&old).unwrap_or_default(), yaml(&new).unwrap_or_default());
    let diff = TextDiff::from_lines(old.as_str(), new.as_str());
    let text = diff.unified_diff().context_radius(CONTEXT).to_string();
    text.lines().map(|line| coloured(line, colours) + "\n").collect()
}

fn coloured(line: &str, colours: bool) -> String {
    let colour = match line.chars().next() {
        Some('+') => "\x1b[32m",
        Some('-') => "\x1b[31m",
        Some('@') => "\x1b[36m",
        _ => "",
    };
    match colours && !colour.is_empty() {
        true => format!("{colour}{}\x1b[0m", plain(line)),
        false => plain(line),
    }
}

/// Both without what a Secret holds.
fn masked(old: Option<&Value>, new: Option<&Value>) -> (Option<Value>, Option<Value>) {
    let (mut old, mut new) = (old.cloned(), new.cloned());
    for field in ["data", "stringData"] {
        let before = old.as_ref().map(|old| old[field].clone()).unwrap_or_default();
        hide(old.as_mut(), field, |_, value| format!("({} bytes, not shown)", length(value)));
        hide(new.as_mut(), field, |key, value| match before.get(key) {
            Some(known) if known != value => format!("({} bytes, not shown; others than before)", length(value)),
            _ => format!("({} bytes, not shown)", length(value)),
        });
    }
    (old, new)
}

fn hide(object: Option<&mut Value>, field: &str, shown: impl Fn(&str, &Value) -> String) {
    let secret = object.filter(|object| object["kind"] == "Secret");
    let held = secret.and_then(|secret| secret.get_mut(field)).and_then(Value::as_object_mut);
    for (key, value) in held.into_iter().flatten() {
        *value = json!(shown(key, value));
    }
}

fn length(value: &Value) -> usize {
    value.as_str().map_or(0, str::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "---\n# Source: a\nkind: Deployment\nmetadata: {name: a, namespace: mesh}\nspec: {replicas: 2, x: 1}\n\
        ---\nkind: ClusterRole\nmetadata: {name: gone}\n---\n---\nkind: Secret\nmetadata: {name: s, namespace: mesh}\n\
        data: {tls.key: c2VjcmV0, same: YQ==}\n";

    #[test]
    fn what_changes_is_shown_object_by_object() {
        let before = objects(BEFORE).unwrap();
        assert_eq!(before.len(), 3, "empty documents are none");
        assert_eq!(told(&before, &before, true), "0 changed, 0 added, 0 removed, 3 as they are\n");
        let after = BEFORE.replace("replicas: 2", "replicas: 3").replace("gone", "new");
        let text = told(&before, &objects(&after).unwrap(), false);
        assert!(text.starts_with("ClusterRole gone removed\n@@ "), "{text}");
        assert!(text.contains("ClusterRole new added\n") && text.contains("+  name: new\n"), "{text}");
        assert!(
            text.contains("Deployment mesh/a changed\n") && text.contains("-  replicas: 2\n+  replicas: 3\n"),
            "{text}"
        );
        assert!(text.ends_with("\n1 changed, 1 added, 1 removed, 1 as they are\n"), "{text}");
        assert!(told(&before, &objects(&after).unwrap(), true).contains("\x1b[32m+  replicas: 3\x1b[0m\n"));
    }

    #[test]
    fn secrets_stay_secret() {
        let before = objects(BEFORE).unwrap();
        let text = told(&before, &objects(&BEFORE.replace("c2VjcmV0", "b3RoZXI=")).unwrap(), false);
        assert!(text.contains("+  tls.key: (8 bytes, not shown; others than before)"), "{text}");
        let all = told(&Objects::new(), &before, false) + &told(&before, &Objects::new(), false) + &text;
        for hidden in ["c2VjcmV0", "b3RoZXI=", "YQ=="] {
            assert!(!all.contains(hidden), "{all}");
        }
    }

    #[test]
    fn nothing_writes_to_the_terminal() {
        let text = "kind: Pod\nmetadata: {name: \"a\\e[2J\"}\nspec: {x: \"\\e[2J\"}\n";
        assert!(!told(&Objects::new(), &objects(text).unwrap(), false).contains('\x1b'));
    }
}
