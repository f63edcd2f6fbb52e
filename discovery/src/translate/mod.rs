//! The one translator from documents to the model, used by every source.
//!
//! documents (YAML) -> `document` (values, fields) -> one file per kind -> [`Translated`], which the sources write to
//! the store. Fails with every fault at once, each naming document and field; nothing is taken unless all of it is good.

pub mod fault;
mod document;
mod field;
mod service;
mod endpoint;
mod load_balancer;
mod balancer;
mod spread;
mod session;
mod limits;
mod faults;
mod policy;
mod health;
mod outlier;
mod breaker;
mod authorization;
mod spec;
mod route;
mod reference;
mod matching;
mod filter;
mod redirect;
#[cfg(test)]
mod reference_page;
#[cfg(test)]
mod definitions;

pub use fault::{Fault, Faults};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};
use std::collections::HashSet;
use weft_model::route::{Grant, Parent};
use weft_model::{AuthorizationPolicy, Endpoint, NamespacePolicy, Route, Service, ServiceName, TrafficPolicy, names};

/// The namespace of a document that names none.
const DEFAULT_NAMESPACE: &str = "default";

/// The kinds of documents, by what the model makes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Service,
    Endpoint,
    HttpRoute,
    GrpcRoute,
    ReferenceGrant,
    TrafficPolicy,
    AuthorizationPolicy,
    NamespacePolicy,
}

impl Kind {
    const ALL: [Kind; 8] = [
        Kind::Service,
        Kind::Endpoint,
        Kind::HttpRoute,
        Kind::GrpcRoute,
        Kind::ReferenceGrant,
        Kind::TrafficPolicy,
        Kind::AuthorizationPolicy,
        Kind::NamespacePolicy,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Service => "Service",
            Kind::Endpoint => "Endpoint",
            Kind::HttpRoute => "HTTPRoute",
            Kind::GrpcRoute => "GRPCRoute",
            Kind::ReferenceGrant => "ReferenceGrant",
            Kind::TrafficPolicy => "TrafficPolicy",
            Kind::AuthorizationPolicy => "AuthorizationPolicy",
            Kind::NamespacePolicy => "NamespacePolicy",
        }
    }

    /// The usual one first.
    pub fn api_versions(self) -> &'static [&'static str] {
        match self {
            Kind::Service => &["v1"],
            Kind::Endpoint | Kind::TrafficPolicy | Kind::AuthorizationPolicy | Kind::NamespacePolicy => {
                &["weft.dev/v1alpha1"]
            }
            Kind::HttpRoute | Kind::GrpcRoute => &["gateway.networking.k8s.io/v1"],
            Kind::ReferenceGrant => &["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"],
        }
    }

    /// The kind people mean by `word`: the kind itself or its plural or short form, in any case.
    pub fn from_word(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "service" | "services" | "svc" => Some(Kind::Service),
            "endpoint" | "endpoints" | "ep" => Some(Kind::Endpoint),
            "httproute" | "httproutes" | "route" | "routes" => Some(Kind::HttpRoute),
            "grpcroute" | "grpcroutes" => Some(Kind::GrpcRoute),
            "referencegrant" | "referencegrants" | "grant" | "grants" => Some(Kind::ReferenceGrant),
            "trafficpolicy" | "trafficpolicies" | "policy" | "policies" => Some(Kind::TrafficPolicy),
            "authorizationpolicy" | "authorizationpolicies" | "authz" => Some(Kind::AuthorizationPolicy),
            "namespacepolicy" | "namespacepolicies" => Some(Kind::NamespacePolicy),
            _ => None,
        }
    }
}

/// What a document says, in the model's words.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// `addressed`: the service is to have a virtual address, which whoever stores it claims.
    Service {
        service: Service,
        addressed: bool,
    },
    Endpoint(Box<Endpoint>),
    Route {
        parents: Vec<Parent>,
        route: Route,
    },
    Grant(Grant),
    Policy {
        targets: Vec<ServiceName>,
        policy: Box<TrafficPolicy>,
    },
    /// `targets`: none means the whole namespace.
    Authorization {
        targets: Vec<ServiceName>,
        policy: AuthorizationPolicy,
    },
    Namespace(NamespacePolicy),
}

/// A document that was found good.
#[derive(Debug, Clone, PartialEq)]
pub struct Translated {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
    pub object: Object,
    /// As it was written, with the namespace filled in and without `status`.
    pub document: Value,
}

/// Translates all documents of `yaml`, or tells all their faults.
pub fn translate(yaml: &str, trust_domain: &str) -> Result<Vec<Translated>, Vec<Fault>> {
    let values = document::split(yaml).map_err(|fault| vec![fault])?;
    let (mut good, mut faults) = (Vec::new(), Vec::new());
    if values.is_empty() {
        let reason = "no document found".to_owned();
        faults.push(Fault { document: "documents".into(), field: String::new(), reason });
    }
    let mut seen = HashSet::new();
    for (index, value) in values.into_iter().enumerate() {
        match one(index + 1, value, trust_domain) {
            Ok(translated) => {
                if !seen.insert((translated.kind, translated.namespace.clone(), translated.name.clone())) {
                    let document = format!("{} {}/{}", translated.kind.name(), translated.namespace, translated.name);
                    let reason = "stands there twice".to_owned();
                    faults.push(Fault { document, field: "metadata.name".into(), reason });
                }
                good.push(translated);
            }
            Err(list) => faults.extend(list),
        }
    }
    if faults.is_empty() { Ok(good) } else { Err(faults) }
}

/// Translates one document that is a value already, or tells all its faults.
pub fn translate_value(value: Value, trust_domain: &str) -> Result<Translated, Vec<Fault>> {
    one(1, value, trust_domain)
}

/// The `number`th document.
fn one(number: usize, value: Value, trust_domain: &str) -> Result<Translated, Vec<Fault>> {
    let mut faults = Faults::of(format!("document {number}"));
    let Value::Object(mut document) = value else {
        faults.add("", "is not a mapping with apiVersion, kind, metadata and spec");
        return Err(faults.into_list());
    };
    document.remove("status");
    let Some(kind) = kind(&document, &mut faults) else { return Err(faults.into_list()) };
    let text = |field: &str| document.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_str);
    let namespace = text("namespace").unwrap_or(DEFAULT_NAMESPACE).to_owned();
    let name = text("name").unwrap_or_default().to_owned();
    let mut faults = match name.as_str() {
        "" => Faults::of(format!("{} (document {number})", kind.name())),
        name => Faults::of(format!("{} {namespace}/{name}", kind.name())),
    };
    metadata(kind, &document, &mut faults);
    for unknown in document.keys().filter(|key| !["apiVersion", "kind", "metadata", "spec"].contains(&key.as_str())) {
        faults.add(unknown, "unknown field");
    }
    let spec = document.get("spec").cloned().unwrap_or_default();
    let object = match spec {
        Value::Null => {
            faults.add("spec", "missing");
            None
        }
        spec => object(kind, &namespace, &name, spec, trust_domain, &mut faults),
    };
    match object {
        Some(object) if faults.is_empty() => {
            if let Some(Value::Object(metadata)) = document.get_mut("metadata") {
                metadata.insert("namespace".to_owned(), namespace.clone().into());
            }
            Ok(Translated { kind, namespace, name, object, document: Value::Object(document) })
        }
        _ => Err(faults.into_list()),
    }
}

fn kind(document: &Map<String, Value>, faults: &mut Faults) -> Option<Kind> {
    let word = |field: &str| document.get(field).and_then(Value::as_str);
    let (Some(version), Some(name)) = (word("apiVersion"), word("kind")) else {
        for field in ["apiVersion", "kind"].into_iter().filter(|field| word(field).is_none()) {
            let reason = if document.contains_key(field) { "is not text" } else { "missing" };
            faults.add(field, reason);
        }
        return None;
    };
    let known = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    match known {
        Some(kind) if kind.api_versions().contains(&version) => return Some(kind),
        Some(kind) => {
            let versions: Vec<_> = kind.api_versions().iter().map(|version| format!("{version:?}")).collect();
            let versions = versions.join(" or ");
            faults.add("apiVersion", format_args!("{version:?} is not supported for {name}, only {versions}"));
        }
        None => {
            let kinds = Kind::ALL.map(Kind::name).join(", ");
            faults.add("kind", format_args!("{name:?} ({version}) is not supported, only {kinds}"));
        }
    }
    None
}

fn metadata(kind: Kind, document: &Map<String, Value>, faults: &mut Faults) {
    let Some(given) = document.get("metadata") else { return faults.add("metadata", "missing") };
    let Some(metadata) = document::read::<ObjectMeta>(given.clone(), "metadata", faults) else { return };
    let named = match (kind, metadata.name.as_deref().unwrap_or_default()) {
        (_, "") => return faults.add("metadata.name", "missing"),
        (Kind::Service, name) => names::label(name),
        (_, name) => names::subdomain(name),
    };
    if let Err(e) = named {
        faults.add("metadata.name", e);
    }
    if let Some(Err(e)) = metadata.namespace.as_deref().map(names::label) {
        faults.add("metadata.namespace", e);
    }
}

fn object(
    kind: Kind,
    namespace: &str,
    name: &str,
    spec: Value,
    trust_domain: &str,
    faults: &mut Faults,
) -> Option<Object> {
    match kind {
        Kind::Service => {
            let spec = document::read(spec, "spec", faults)?;
            let service = service::translate(ServiceName::new(namespace, name).ok(), spec, faults);
            service.map(|(service, addressed)| Object::Service { service, addressed })
        }
        Kind::Endpoint => {
            let spec = document::read(spec, "spec", faults)?;
            endpoint::translate(namespace, name, spec, trust_domain, faults).map(Box::new).map(Object::Endpoint)
        }
        Kind::HttpRoute => {
            let spec = document::read(spec, "spec", faults)?;
            let (parents, route) = route::http(namespace, name, spec, faults);
            Some(Object::Route { parents, route })
        }
        Kind::GrpcRoute => {
            let spec = document::read(spec, "spec", faults)?;
            let (parents, route) = route::grpc(namespace, name, spec, faults);
            Some(Object::Route { parents, route })
        }
        Kind::ReferenceGrant => {
            let spec = document::read(spec, "spec", faults)?;
            Some(Object::Grant(reference::grant(namespace, spec, faults)))
        }
        Kind::TrafficPolicy => {
            let spec = document::read(spec, "spec", faults)?;
            let (targets, policy) = policy::translate(namespace, spec, faults);
            Some(Object::Policy { targets, policy: Box::new(policy) })
        }
        Kind::AuthorizationPolicy => {
            let spec = document::read(spec, "spec", faults)?;
            let (targets, policy) = authorization::translate(namespace, name, spec, faults);
            Some(Object::Authorization { targets, policy })
        }
        Kind::NamespacePolicy => {
            let spec = document::read(spec, "spec", faults)?;
            Some(Object::Namespace(authorization::namespace(name, spec, faults)))
        }
    }
}
