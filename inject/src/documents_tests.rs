//! Streams of documents: every kind that has pods, everything that has none, and what cannot be read.
//!
//! Texts in, texts out, as `weftctl inject -f -` sees them.

use super::*;
use crate::settings::tests::settings;
use serde_json::json;

fn injected(yaml: &str) -> Stream {
    inject(&settings(&[]), yaml, "shop").unwrap()
}

fn parsed(yaml: &str) -> Vec<Value> {
    chunks(yaml).iter().map(|chunk| parse(chunk.text).unwrap()).filter(|value| !value.is_null()).collect()
}

#[test]
fn every_kind_with_pods_gets_sidecars_and_gives_them_back() {
    for (group, kind, pointer) in TEMPLATES {
        let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
        let mut document = json!({"spec": {"containers": [{"name": "app", "image": "i"}]}});
        for part in pointer.rsplit('/').filter(|part| !part.is_empty()) {
            document = json!({part: document});
        }
        document["apiVersion"] = version.into();
        document["kind"] = kind.into();
        document["metadata"] = json!({"name": "a"});
        let text = serde_yaml_ng::to_string(&document).unwrap();
        let stream = injected(&text);
        assert_eq!(stream.notes, [format!("{kind} shop/a: injected")]);
        let after = &parsed(&stream.text)[0];
        let proxy = after.pointer(&format!("{pointer}/spec/initContainers/1/name"));
        assert_eq!(proxy, Some(&"weft-proxy".into()), "{kind}: {after}");
        let back = &parsed(&uninject(&stream.text).unwrap().text)[0];
        let spec = |value: &Value| value.pointer(&format!("{pointer}/spec")).cloned();
        assert_eq!(spec(back), spec(&document), "{kind}");
    }
}

#[test]
fn what_has_no_pods_keeps_its_text_and_its_place() {
    let service = "# the front door\napiVersion: v1\nkind: Service   # kept\nmetadata: {name:   web}\n";
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - {name: app, image: i}\n";
    let odd = "apiVersion: example.com/v1\nkind: Deployment\nspec: {template: {spec: {}}}\n";
    let text = format!("{service}---\n{pod}--- # last\n{odd}---\n# nothing more\n");
    let stream = injected(&text);
    assert!(stream.text.starts_with(&format!("{service}---\napiVersion: v1\nkind: Pod\n")), "{}", stream.text);
    assert!(stream.text.ends_with(&format!("--- # last\n{odd}---\n# nothing more\n")), "{}", stream.text);
    assert_eq!(stream.notes.len(), 1);
    let untouched = format!("{service}---\n{odd}");
    assert_eq!(injected(&untouched).text, untouched);
    assert_eq!(uninject(&text).unwrap().text, text);
}

#[test]
fn lists_are_looked_into() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: a, namespace: b}\n  \
                spec: {containers: [{name: c, image: i}]}\n- apiVersion: v1\n  kind: Secret\n";
    let stream = injected(text);
    assert_eq!(stream.notes, ["Pod b/a: injected"]);
    assert_eq!(parsed(&stream.text)[0]["items"][1]["kind"], "Secret");
}

#[test]
fn faults_name_their_document() {
    let good = "apiVersion: v1\nkind: Service\n";
    let error = |text: &str| inject(&settings(&[]), text, "shop").unwrap_err().to_string();
    assert!(error(&format!("{good}---\na: [")).starts_with("document 2: "));
    assert!(
        error("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n").starts_with("Pod shop/a (document 1): spec.cont")
    );
    let bad = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, namespace: n}\nspec:\n  template:\n    metadata: \
               {annotations: {weft.dev/workers: 0}}\n    spec: {containers: [{name: c}]}\n";
    let said = error(&format!("---\n{good}---\n{bad}"));
    assert!(said.starts_with("Deployment n/a (document 2): weft.dev/workers: 0 is no text"), "{said}");
}

#[test]
fn values_keep_their_meaning() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: c\n    image: i\n    env:\n    \
               - {name: A, value: \"on\"}\n    - {name: B, value: \"0123\"}\n    - {name: C, value: \"1e3\"}\n    \
               - {name: D, value: 'no'}\n  volumes:\n  - name: v\n    secret: {secretName: s, defaultMode: 0640}\n";
    let stream = injected(pod);
    let after = &parsed(&stream.text)[0];
    assert_eq!(after["spec"]["volumes"][0]["secret"]["defaultMode"], 0o640);
    for quoted in ["\"on\"", "\"0123\"", "\"1e3\"", "\"no\""] {
        assert!(stream.text.contains(&format!("value: {quoted}\n")), "{quoted} in {}", stream.text);
    }
}

#[test]
fn exempt_pods_are_left_and_said_so() {
    let text =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: kube-system}\nspec: {containers: [{name: c}]}\n";
    let stream = injected(text);
    assert_eq!(stream.text, text);
    assert_eq!(stream.notes, ["Pod kube-system/a: left as it is: the namespace is Kubernetes' own"]);
    assert_eq!(uninject(text).unwrap().notes, ["Pod kube-system/a: left as it is: it has no sidecar"]);
}
