//! `charts/weft/crds`: the definitions of Weft's kinds for Kubernetes, made from the types that read the documents.
//!
//! Compiled for tests only. The files in the repository have to be those that are made here; `WEFT_WRITE=1` writes them anew.
//! Invariant: what a definition lets in may still be refused by the translator, which says so in the status; the reverse never.

mod rules;

use super::Kind;
use super::authorization::{AuthorizationPolicySpec, NamespacePolicySpec};
use super::policy::TrafficPolicySpec;
use kube::core::schema::{OptionalEnum, StructuralSchemaRewriter};
use rules::{Rule, add};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::AddNullable;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/weft/crds");

const OPENING: &str = "\
# Made from the types that read the documents: WEFT_WRITE=1 cargo test --workspace --lib definitions
";

/// What `kubectl` needs to know of a kind beside its schema.
struct Definition {
    kind: Kind,
    plural: &'static str,
    short: &'static str,
    about: &'static str,
    /// Heading and JSON path, between the name and what all kinds show.
    columns: &'static [(&'static str, &'static str)],
    spec: Value,
    rules: Vec<Rule>,
    /// The only name that an object may have.
    name: Option<&'static str>,
}

fn definitions() -> Vec<Definition> {
    const TARGETS: (&str, &str) = ("Targets", ".spec.targetRefs[*].name");
    vec![
        Definition {
            kind: Kind::TrafficPolicy,
            plural: "trafficpolicies",
            short: "tpol",
            about: "How clients of a Service call it: balancing, retries, time-outs, health, limits.",
            columns: &[TARGETS, ("Algorithm", ".spec.loadBalancer.algorithm")],
            spec: schema::<TrafficPolicySpec>(),
            rules: rules::traffic_policy(),
            name: None,
        },
        Definition {
            kind: Kind::AuthorizationPolicy,
            plural: "authorizationpolicies",
            short: "authz",
            about: "Who may call the endpoints of a Service, or all workloads of a namespace.",
            columns: &[TARGETS, ("Action", ".spec.action"), ("Mode", ".spec.mode")],
            spec: schema::<AuthorizationPolicySpec>(),
            rules: rules::authorization_policy(),
            name: None,
        },
        Definition {
            kind: Kind::NamespacePolicy,
            plural: "namespacepolicies",
            short: "nspol",
            about: "What holds for the workloads of a namespace where no AuthorizationPolicy says otherwise.",
            columns: &[("Default", ".spec.defaultAction"), ("mTLS", ".spec.mtls")],
            spec: schema::<NamespacePolicySpec>(),
            rules: vec![],
            name: Some("default"),
        },
    ]
}

/// The structural schema of a type: without references, and without what Kubernetes' form of schemas does not have.
fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let settings = settings
        .with_transform(AddNullable::default())
        .with_transform(StructuralSchemaRewriter)
        .with_transform(OptionalEnum);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    plain(&mut schema);
    schema
}

/// Takes out what would change documents (defaults, which the proxies know better) or means nothing to the API server, and
/// makes one line of each paragraph.
fn plain(schema: &mut Value) {
    let Value::Object(keywords) = schema else { return };
    for keyword in ["title", "nullable", "default"] {
        keywords.remove(keyword);
    }
    if keywords.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
        keywords.remove("format");
    }
    if let Some(Value::Array(words)) = keywords.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if let Some(Value::String(said)) = keywords.get_mut("description") {
        let line = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        *said = said.split("\n\n").map(line).collect::<Vec<_>>().join("\n\n");
    }
    if let Some(Value::Object(properties)) = keywords.get_mut("properties") {
        properties.values_mut().for_each(plain);
    }
    for keyword in ["items", "additionalProperties"] {
        keywords.get_mut(keyword).into_iter().for_each(plain);
    }
}

/// The status that the controller writes: the usual conditions.
fn status() -> Value {
    let text = |longest: u32, about: &str| json!({ "type": "string", "maxLength": longest, "description": about });
    let mut conditions = json!({
        "type": "object",
        "required": ["type", "status", "reason", "message", "lastTransitionTime"],
        "properties": {
            "type": text(316, "`Accepted`: whether the policy is in force."),
            "status": { "type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it is so." },
            "reason": text(1024, "Why, in one word."),
            "message": text(32_768, "Why, for people."),
            "observedGeneration": {
                "type": "integer", "format": "int64", "minimum": 0,
                "description": "Of the document that this is said of.",
            },
            "lastTransitionTime": {
                "type": "string", "format": "date-time", "description": "Since when it is so.",
            },
        },
    });
    plain(&mut conditions);
    json!({
        "type": "object",
        "description": "What became of the policy; written by the mesh.",
        "properties": { "conditions": {
            "type": "array", "maxItems": 8, "items": conditions, "description": "What is so, and since when.",
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
        } },
    })
}

impl Definition {
    fn file(&self) -> PathBuf {
        PathBuf::from(DIRECTORY).join(format!("{}.yaml", self.plural))
    }

    fn document(&self) -> Value {
        let mut spec = self.spec.clone();
        for rule in &self.rules {
            add(&mut spec, rule).unwrap_or_else(|why| panic!("{}: {}: {why}", self.kind.name(), rule.0));
        }
        let mut metadata = json!({ "type": "object" });
        if let Some(name) = self.name {
            metadata["properties"] = json!({ "name": { "type": "string", "enum": [name] } });
        }
        let column = |name: &str, path: &str| json!({ "name": name, "type": "string", "jsonPath": path });
        let mut columns: Vec<Value> = self.columns.iter().map(|(name, path)| column(name, path)).collect();
        columns.push(column("Accepted", ".status.conditions[?(@.type==\"Accepted\")].status"));
        columns.push(json!({ "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" }));
        let name = self.kind.name();
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": format!("{}.weft.dev", self.plural),
                "labels": { "app.kubernetes.io/part-of": "weft" },
            },
            "spec": {
                "group": "weft.dev",
                "scope": "Namespaced",
                "names": {
                    "kind": name, "listKind": format!("{name}List"), "plural": self.plural,
                    "singular": name.to_lowercase(), "shortNames": [self.short], "categories": ["weft"],
                },
                "versions": [{
                    "name": "v1alpha1",
                    "served": true,
                    "storage": true,
                    "additionalPrinterColumns": columns,
                    "subresources": { "status": {} },
                    "schema": { "openAPIV3Schema": {
                        "type": "object",
                        "description": self.about,
                        "required": ["metadata", "spec"],
                        "properties": Map::from_iter([
                            ("apiVersion".to_owned(), json!({ "type": "string" })),
                            ("kind".to_owned(), json!({ "type": "string" })),
                            ("metadata".to_owned(), metadata),
                            ("spec".to_owned(), spec),
                            ("status".to_owned(), status()),
                        ]),
                    } },
                }],
            },
        })
    }
}

#[test]
fn the_definitions_are_those_made_from_the_types() {
    for definition in definitions() {
        let made = serde_yaml_ng::to_string(&definition.document()).expect("JSON is YAML");
        let (made, file) = (format!("{OPENING}{made}"), definition.file());
        if std::env::var_os("WEFT_WRITE").is_some() {
            std::fs::write(&file, &made).expect("charts/weft/crds can be written");
        }
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            kept == made,
            "{} is not what the types say: WEFT_WRITE=1 cargo test --workspace --lib definitions",
            file.display()
        );
    }
}

#[test]
fn every_field_has_a_type_and_is_explained() {
    fn look(at: &str, schema: &Value, mute: &mut Vec<String>) {
        if schema["type"].as_str().is_none() || schema["oneOf"].is_array() || schema["anyOf"].is_array() {
            mute.push(format!("{at}: no type of its own"));
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let at = format!("{at}.{name}");
            if field["description"].as_str().is_none_or(str::is_empty) {
                mute.push(format!("{at}: no description"));
            }
            look(&at, field, mute);
        }
        for (name, inner) in [("[]", &schema["items"]), (".*", &schema["additionalProperties"])] {
            if inner.is_object() {
                look(&format!("{at}{name}"), inner, mute);
            }
        }
    }
    let mut mute = vec![];
    definitions().iter().for_each(|definition| look(definition.kind.name(), &definition.spec, &mut mute));
    assert!(mute.is_empty(), "{mute:#?}");
}
