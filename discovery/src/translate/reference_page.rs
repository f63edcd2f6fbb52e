//! `docs/reference.md`: every field of every document, made from the comments of the types that read the documents.
//!
//! Compiled for tests only. The page in the repository has to be the one that is made here; `WEFT_WRITE=1` writes it anew.

use super::authorization::{AuthorizationPolicySpec, NamespacePolicySpec};
use super::endpoint::EndpointSpec;
use super::policy::TrafficPolicySpec;
use super::spec::{GrantSpec, GrpcRouteSpec, HttpRouteSpec};
use schemars::{Schema, schema_for};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference.md");

const OPENING: &str = "\
# Reference: every field of every document

Made from the types that read the documents (`WEFT_WRITE=1 cargo test -p weft-discovery reference`). A field that is not here is refused, and so is
a value out of its bounds; every fault of a document is told at once, naming the field. Durations are those of the Gateway API: `10s`, `1h30m`, `250ms`.
A name with `[]` is a list, one with `.*` a map.

Each document has `apiVersion`, `kind`, `metadata.name`, `metadata.namespace` (default `default`) and `spec`. Labels, annotations and `status` are taken, and
mean nothing to the mesh.
";

const SERVICE: &str = "
## Service

`apiVersion: v1`. Outside Kubernetes a Service only names and shapes what it stands for; endpoints register themselves, or are applied as Endpoint.

| field | type | meaning |
| --- | --- | --- |
| `ports[]` | list, required | What clients dial. |
| `ports[].name` | text | A DNS label; required of all when there are several. |
| `ports[].port` | number, required | 1 to 65535. |
| `ports[].targetPort` | number | Where endpoints listen. Default: `port`. |
| `ports[].appProtocol` | text | What is spoken: `http`, `kubernetes.io/h2c`, `http2`, `grpc`, `tcp`, `tls`. Default: by the port's name (`http-web`), otherwise the first bytes decide. |
| `ports[].protocol` | text | `TCP`, the default. |
| `clusterIP` | text | `None`: no virtual address; its name stands for its endpoints. Otherwise left out: the address is allotted. |
";

/// A kind's heading and what its `spec` is.
fn kinds() -> Vec<(&'static str, &'static str, Schema)> {
    const WEFT: &str = "weft.dev/v1alpha1";
    const GATEWAY: &str = "gateway.networking.k8s.io/v1";
    vec![
        ("Endpoint", WEFT, schema_for!(EndpointSpec)),
        ("HTTPRoute", GATEWAY, schema_for!(HttpRouteSpec)),
        ("GRPCRoute", GATEWAY, schema_for!(GrpcRouteSpec)),
        ("ReferenceGrant", GATEWAY, schema_for!(GrantSpec)),
        ("TrafficPolicy", WEFT, schema_for!(TrafficPolicySpec)),
        ("AuthorizationPolicy", WEFT, schema_for!(AuthorizationPolicySpec)),
        ("NamespacePolicy", WEFT, schema_for!(NamespacePolicySpec)),
    ]
}

/// Where the fields of a type stand in the page, by the type's schema: they stand there once.
type Placed = BTreeMap<String, String>;

/// The rows of one kind, by name.
struct Rows<'a> {
    kind: &'a str,
    definitions: Option<&'a Value>,
    placed: &'a mut Placed,
    text: String,
}

impl<'a> Rows<'a> {
    /// The schema that `schema` refers to, past what only says that it may be left out.
    fn resolved(&self, schema: &'a Value) -> &'a Value {
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
            return self.definitions.map_or(&Value::Null, |all| &all[name]);
        }
        let alternatives = schema["anyOf"].as_array().or(schema["allOf"].as_array());
        match alternatives.and_then(|all| all.iter().find(|one| one["type"] != "null")) {
            Some(one) => self.resolved(one),
            None => schema,
        }
    }

    fn fields(&mut self, at: &str, schema: &'a Value) {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let inner = self.resolved(field);
            let (path, element) = match (&inner["items"], &inner["additionalProperties"]) {
                (items @ Value::Object(_), _) => (format!("{at}{name}[]"), self.resolved(items)),
                (_, values @ Value::Object(_)) => (format!("{at}{name}.*"), self.resolved(values)),
                _ => (format!("{at}{name}"), inner),
            };
            let mut kind = self.kind(inner);
            if required.contains(&name.as_str()) {
                kind.push_str(", required");
            }
            let said = first_paragraph(field["description"].as_str().unwrap_or_default());
            let typed = element["properties"].is_object().then(|| element.to_string());
            match typed.as_ref().and_then(|typed| self.placed.get(typed)) {
                Some(place) => {
                    let _ = writeln!(self.text, "| `{path}` | {kind} | {said} Fields as of {place}. |");
                }
                None => {
                    let place = format!("{}'s `{path}`", self.kind);
                    typed.and_then(|typed| self.placed.insert(typed, place));
                    let _ = writeln!(self.text, "| `{path}` | {kind} | {said} |");
                    self.fields(&format!("{path}."), element);
                }
            }
        }
    }

    fn kind(&self, schema: &'a Value) -> String {
        let words = |schema: &Value| schema["enum"].as_array().cloned().or_else(|| Some(vec![schema["const"].clone()]));
        let constants = schema["oneOf"].as_array().map(|all| all.iter().filter_map(words).flatten().collect());
        if let Some(words) = schema["enum"].as_array().cloned().or(constants) {
            let words: Vec<_> = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
            return words.join(" or ");
        }
        let named = |name: &Value| match name.as_str() {
            Some("string") => "text".to_owned(),
            Some("integer" | "number") => "number".to_owned(),
            Some("boolean") => "true or false".to_owned(),
            Some("array") => "list".to_owned(),
            Some("object") => "object".to_owned(),
            _ => String::new(),
        };
        match &schema["type"] {
            Value::Array(names) => names.iter().map(named).find(|name| !name.is_empty()).unwrap_or_default(),
            one => named(one),
        }
    }
}

/// As one line of a table.
fn first_paragraph(said: &str) -> String {
    let paragraph = said.split("\n\n").next().unwrap_or_default();
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn page() -> String {
    let mut page = format!("{OPENING}{SERVICE}");
    let mut placed = Placed::new();
    for (kind, version, schema) in kinds() {
        let schema = schema.to_value();
        let mut rows = Rows { kind, definitions: schema.get("$defs"), placed: &mut placed, text: String::new() };
        rows.fields("", &schema);
        let _ = write!(page, "\n## {kind}\n\n`apiVersion: {version}`. Fields of `spec`:\n\n");
        page.push_str("| field | type | meaning |\n| --- | --- | --- |\n");
        page.push_str(&rows.text);
    }
    page
}

#[test]
fn the_reference_page_is_the_one_made_from_the_types() {
    let made = page();
    if std::env::var_os("WEFT_WRITE").is_some() {
        std::fs::write(PAGE, &made).expect("docs/reference.md can be written");
    }
    let kept = std::fs::read_to_string(PAGE).expect("docs/reference.md can be read");
    assert!(
        kept == made,
        "docs/reference.md is not what the types say: WEFT_WRITE=1 cargo test -p weft-discovery reference"
    );
}

#[test]
fn every_field_is_explained() {
    let page = page();
    let mute: Vec<_> = page.lines().filter(|line| line.starts_with("| `") && line.contains(" |  |")).collect();
    assert!(mute.is_empty(), "fields without a comment: {mute:#?}");
    assert!(page.contains("| `retry.budget.percent` | number |"), "{page}");
}
