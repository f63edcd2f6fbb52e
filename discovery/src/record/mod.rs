//! Records: the keys and values of the store that describe the mesh, and how they are written and read.
//!
//! Stands between the sources, which write records, and the registry, which reads them. Reading fails naming the key and
//! the reason; a record that was read agrees with its key, so that nobody has to compare the two again.

mod content;

use crate::store::{Entry, Op};
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeSet;
use std::fmt;
use weft_model::names::{label, subdomain};
use weft_model::route::{Grant, Parent, RouteKind};
use weft_model::session::SessionKey;
use weft_model::{AuthorizationPolicy, Endpoint, NamespacePolicy, Route, Service, ServiceName, TrafficPolicy};

/// The key of a record: `services/<ns>/<name>`, `routes/<ns>/<name>` (HTTPRoutes), `grpcroutes/<ns>/<name>`,
/// `grants/<ns>/<name>`, `policies/<ns>/<name>`, `authorizations/<ns>/<name>`, `namespaces/<ns>/default`,
/// `endpoints/<ns>/<service>/<id>`, `withdrawals/<ns>/<service>`, `sessions/keys`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    Service(ServiceName),
    Route {
        kind: RouteKind,
        namespace: String,
        name: String,
    },
    Grant {
        namespace: String,
        name: String,
    },
    Policy {
        namespace: String,
        name: String,
    },
    Authorization {
        namespace: String,
        name: String,
    },
    /// What holds for a whole namespace.
    Namespace {
        namespace: String,
        name: String,
    },
    Endpoint {
        service: ServiceName,
        id: String,
    },
    /// Which endpoints of this service were last taken out on purpose ([`Withdrawal`]).
    Withdrawal(ServiceName),
    /// The keys of session tokens.
    SessionKeys,
}

/// Who wrote a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// `weftctl apply`.
    Apply,
    /// A workload through its own proxy.
    Registration,
    Kubernetes,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Apply => "apply",
            Self::Registration => "registration",
            Self::Kubernetes => "kubernetes",
        })
    }
}

/// A record's value: what the registry uses, beside what the user wrote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record<M> {
    pub model: M,
    /// The document as it was applied; `None` for registrations.
    #[serde(default)]
    pub document: Option<serde_json::Value>,
    pub source: Source,
}

/// A route and what it is attached to. Its own port is not used: each parent has one, or none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttachedRoute {
    pub parents: Vec<Parent>,
    pub route: Route,
}

impl AttachedRoute {
    /// The services among its parents.
    pub fn services(&self) -> Vec<ServiceName> {
        let services: BTreeSet<_> = self.parents.iter().map(|parent| parent.service.clone()).collect();
        services.into_iter().collect()
    }
}

/// A policy and the services it is attached to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttachedPolicy {
    pub targets: Vec<ServiceName>,
    pub policy: TrafficPolicy,
}

/// An authorization policy and the services it is for; none: its whole namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttachedAuthorization {
    pub targets: Vec<ServiceName>,
    pub policy: AuthorizationPolicy,
}

/// Put in the same commit that deletes endpoints on purpose. It tells the registry that they did not vanish because a
/// lease ran out, so that the brake lets them go at once; a store's watch cannot tell the two apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawal {
    pub ids: Vec<String>,
}

/// The keys that session tokens are sealed with and opened by, newest first. Whoever can read the store can make tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionKeys {
    pub keys: Vec<SessionKey>,
}

/// One record, read.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    Service(Record<Service>),
    Route(Record<AttachedRoute>),
    Grant(Record<Grant>),
    Policy(Box<Record<AttachedPolicy>>),
    Authorization(Record<AttachedAuthorization>),
    Namespace(Record<NamespacePolicy>),
    Endpoint(Box<Record<Endpoint>>),
    Withdrawal(Withdrawal),
    SessionKeys(SessionKeys),
}

/// Why a record could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("store key {key:?}: {reason}")]
pub struct RecordError {
    pub key: String,
    pub reason: String,
}

/// What the keys of records begin with.
const KINDS: [&str; 10] = [
    "services",
    "routes",
    "grpcroutes",
    "grants",
    "policies",
    "authorizations",
    "namespaces",
    "endpoints",
    "withdrawals",
    "sessions",
];

impl Key {
    /// Where all keys of one kind are: a prefix for [`crate::store::Store::range`].
    pub const SERVICES: &str = "services/";
    pub const ROUTES: &str = "routes/";
    pub const GRPC_ROUTES: &str = "grpcroutes/";
    pub const GRANTS: &str = "grants/";
    pub const POLICIES: &str = "policies/";
    pub const AUTHORIZATIONS: &str = "authorizations/";
    pub const NAMESPACES: &str = "namespaces/";
    pub const ENDPOINTS: &str = "endpoints/";
    pub const WITHDRAWALS: &str = "withdrawals/";

    /// `None`: a key of somebody else's (addresses, certificates, ...). An error: ours, but not of our shape.
    pub fn parse(text: &str) -> Option<Result<Self, RecordError>> {
        let (kind, rest) = text.split_once('/')?;
        if !KINDS.contains(&kind) {
            return None;
        }
        let refuse = |reason: String| RecordError { key: text.to_owned(), reason };
        let parts: Vec<&str> = rest.split('/').collect();
        let service = |ns: &str, name: &str| ServiceName::new(ns, name).map_err(|e| refuse(e.to_string()));
        let document = |ns: &str, name: &str| {
            let checked = label(ns).and_then(|namespace| Ok((namespace, subdomain(name)?)));
            checked.map_err(|e| refuse(e.to_string()))
        };
        Some(match (kind, &parts[..]) {
            ("services", [ns, name]) => service(ns, name).map(Self::Service),
            ("routes" | "grpcroutes", [ns, name]) => {
                let kind = if kind == "routes" { RouteKind::Http } else { RouteKind::Grpc };
                document(ns, name).map(|(namespace, name)| Self::Route { kind, namespace, name })
            }
            ("grants", [ns, name]) => document(ns, name).map(|(namespace, name)| Self::Grant { namespace, name }),
            ("policies", [ns, name]) => document(ns, name).map(|(namespace, name)| Self::Policy { namespace, name }),
            ("authorizations", [ns, name]) => {
                document(ns, name).map(|(namespace, name)| Self::Authorization { namespace, name })
            }
            ("namespaces", [ns, name]) => {
                document(ns, name).map(|(namespace, name)| Self::Namespace { namespace, name })
            }
            ("withdrawals", [ns, name]) => service(ns, name).map(Self::Withdrawal),
            ("endpoints", [ns, name, id]) if !id.is_empty() => {
                service(ns, name).map(|service| Self::Endpoint { service, id: (*id).to_owned() })
            }
            ("sessions", ["keys"]) => Ok(Self::SessionKeys),
            _ => Err(refuse("the key does not have the shape of its kind".to_owned())),
        })
    }

    /// What the keys of a service's endpoints begin with.
    pub fn endpoints_of(service: &ServiceName) -> String {
        format!("{}{}/{}/", Self::ENDPOINTS, service.namespace, service.name)
    }

    pub fn endpoint(endpoint: &Endpoint) -> Self {
        Self::Endpoint { service: endpoint.service.clone(), id: endpoint.id.clone() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(s) => write!(f, "services/{}/{}", s.namespace, s.name),
            Self::Route { kind: RouteKind::Http, namespace, name } => write!(f, "routes/{namespace}/{name}"),
            Self::Route { kind: RouteKind::Grpc, namespace, name } => write!(f, "grpcroutes/{namespace}/{name}"),
            Self::Grant { namespace, name } => write!(f, "grants/{namespace}/{name}"),
            Self::Policy { namespace, name } => write!(f, "policies/{namespace}/{name}"),
            Self::Authorization { namespace, name } => write!(f, "authorizations/{namespace}/{name}"),
            Self::Namespace { namespace, name } => write!(f, "namespaces/{namespace}/{name}"),
            Self::Endpoint { service: s, id } => write!(f, "endpoints/{}/{}/{id}", s.namespace, s.name),
            Self::Withdrawal(s) => write!(f, "withdrawals/{}/{}", s.namespace, s.name),
            Self::SessionKeys => f.write_str("sessions/keys"),
        }
    }
}

impl<M: Serialize> Record<M> {
    /// The value to put.
    pub fn encode(&self) -> Bytes {
        // Records hold only text, numbers, lists and maps with text keys; all of them have a form in JSON.
        serde_json::to_vec(self).expect("a record always has a JSON form").into()
    }
}

impl Content {
    /// Reads a store entry. `None`: not a record of ours, see [`Key::parse`].
    pub fn decode(entry: &Entry) -> Option<Result<(Key, Self), RecordError>> {
        let key = match Key::parse(&entry.key)? {
            Ok(key) => key,
            Err(error) => return Some(Err(error)),
        };
        let refuse = |reason| RecordError { key: entry.key.clone(), reason };
        Some(Self::read(&key, &entry.value).map(|content| (key, content)).map_err(refuse))
    }

    fn read(key: &Key, value: &[u8]) -> Result<Self, String> {
        let content = match key {
            Key::Service(_) => Self::Service(json(value)?),
            Key::Route { .. } => Self::Route(json(value)?),
            Key::Grant { .. } => Self::Grant(json(value)?),
            Key::Policy { .. } => Self::Policy(json(value)?),
            Key::Authorization { .. } => Self::Authorization(json(value)?),
            Key::Namespace { .. } => Self::Namespace(json(value)?),
            Key::Endpoint { .. } => Self::Endpoint(json(value)?),
            Key::Withdrawal(_) => Self::Withdrawal(json(value)?),
            Key::SessionKeys => Self::SessionKeys(json(value)?),
        };
        let agrees = match (key, &content) {
            (Key::Service(name), Self::Service(r)) => r.model.name == *name,
            (Key::Route { kind, namespace, name }, Self::Route(r)) => {
                let route = &r.model.route;
                route.kind == *kind && route.namespace == *namespace && route.name == *name
            }
            (Key::Grant { namespace, .. }, Self::Grant(r)) => r.model.namespace == *namespace,
            (Key::Authorization { namespace, name }, Self::Authorization(r)) => {
                r.model.policy.namespace == *namespace && r.model.policy.name == *name
            }
            (Key::Endpoint { service, id }, Self::Endpoint(r)) => r.model.service == *service && r.model.id == *id,
            _ => true,
        };
        if !agrees {
            return Err("the name in the value is not the name in the key".to_owned());
        }
        content.sound().map(|()| content)
    }

    /// The invariants of the model's types that their JSON form cannot express.
    fn sound(&self) -> Result<(), String> {
        match self {
            Self::Service(r) if r.model.ports.is_empty() => {
                Err("model.ports: a service has at least one port".to_owned())
            }
            Self::Endpoint(r) if r.model.addresses.is_empty() => {
                Err("model.addresses: an endpoint has at least one address".to_owned())
            }
            _ => Ok(()),
        }
    }
}

fn json<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    let mut reader = serde_json::Deserializer::from_slice(value);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|e| format!("{}: {}", e.path(), e.inner()))?;
    reader.end().map_err(|e| e.to_string()).map(|()| value)
}

/// What takes endpoints of one service out on purpose: to be carried out in one commit.
pub fn withdraw(service: &ServiceName, ids: impl IntoIterator<Item = String>) -> Vec<Op> {
    let withdrawal = Withdrawal { ids: ids.into_iter().collect() };
    let mut ops: Vec<Op> = withdrawal
        .ids
        .iter()
        .map(|id| Op::delete(Key::Endpoint { service: service.clone(), id: id.clone() }.to_string()))
        .collect();
    // A list of strings always has a JSON form.
    let value = serde_json::to_vec(&withdrawal).expect("a list of names always has a JSON form");
    ops.push(Op::put(Key::Withdrawal(service.clone()).to_string(), value));
    ops
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, value: &str) -> Entry {
        Entry { key: key.to_owned(), value: value.to_owned().into(), created: 1, modified: 1, lease: None }
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        for text in [
            "services/shop/cart",
            "routes/shop/cart.v2",
            "grpcroutes/shop/cart",
            "grants/shop/web",
            "policies/shop/cart",
            "authorizations/shop/cart",
            "namespaces/shop/default",
            "endpoints/shop/cart/cart-0",
            "withdrawals/shop/cart",
            "sessions/keys",
        ] {
            assert_eq!(Key::parse(text).unwrap().unwrap().to_string(), text);
        }
        assert!(Key::parse("addresses/198.18.0.1").is_none());
        for text in ["services/shop", "services/shop/", "endpoints/shop/cart", "endpoints/shop/cart/", "routes/a/b/c"] {
            assert!(Key::parse(text).unwrap().is_err(), "{text}");
        }
    }

    #[test]
    fn a_record_survives_the_store() {
        let name = ServiceName::new("shop", "cart").unwrap();
        let policy = AttachedPolicy { targets: vec![name], policy: TrafficPolicy::default() };
        let record = Record { model: policy, document: Some(serde_json::json!({"kind": "x"})), source: Source::Apply };
        let text = String::from_utf8(record.encode().to_vec()).unwrap();
        let (_, content) = Content::decode(&entry("policies/shop/cart", &text)).unwrap().unwrap();
        assert_eq!(content, Content::Policy(Box::new(record)));
    }

    #[test]
    fn faults_are_named() {
        let fault = |key: &str, value: &str| Content::decode(&entry(key, value)).unwrap().unwrap_err().to_string();
        let no_port = r#"{"model":{"name":{"namespace":"shop","name":"cart"},"ports":[]},"source":"apply"}"#;
        assert!(fault("services/shop/cart", no_port).contains("model.ports"));
        assert!(fault("services/shop/other", no_port).contains("not the name in the key"));
        assert!(fault("services/shop/cart", "{").contains("services/shop/cart"));
        let zero = r#"{"model":{"name":{"namespace":"shop","name":"cart"},"ports":[{"name":"","port":0,"target_port":1}]},"source":"apply"}"#;
        assert!(
            fault("services/shop/cart", zero).contains("model.ports[0].port"),
            "{}",
            fault("services/shop/cart", zero)
        );
        assert!(fault("services/shop/cart", &format!("{no_port} x")).contains("trailing"));
    }
}
