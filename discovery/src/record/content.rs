//! What a record says, whoever wrote it: from a translated document to a record, and from a record to its writer.
//!
//! Shared by the sources. Invariant: what is made here encodes to what [`Content::decode`] reads.

use super::{AttachedAuthorization, AttachedPolicy, AttachedRoute, Content, Key, Record, Source};
use crate::translate::{Kind, Object, Translated};
use bytes::Bytes;
use weft_model::ServiceName;
use weft_model::route::RouteKind;

impl Content {
    /// The record of a document; a service with the addresses it has in the document's object.
    pub fn of(translated: &Translated, source: Source) -> Self {
        let written = Some(translated.document.clone());
        match &translated.object {
            Object::Service { service, .. } => Self::Service(record(service.clone(), written, source)),
            Object::Endpoint(endpoint) => Self::Endpoint(Box::new(record((**endpoint).clone(), written, source))),
            Object::Route { parents, route } => {
                let attached = AttachedRoute { parents: parents.clone(), route: route.clone() };
                Self::Route(record(attached, written, source))
            }
            Object::Grant(grant) => Self::Grant(record(grant.clone(), written, source)),
            Object::Policy { targets, policy } => {
                let policy = AttachedPolicy { targets: targets.clone(), policy: (**policy).clone() };
                Self::Policy(Box::new(record(policy, written, source)))
            }
            Object::Authorization { targets, policy } => {
                let attached = AttachedAuthorization { targets: targets.clone(), policy: policy.clone() };
                Self::Authorization(record(attached, written, source))
            }
            Object::Namespace(policy) => Self::Namespace(record(*policy, written, source)),
        }
    }

    /// Who wrote it; `None`: it is nobody's document.
    pub fn source(&self) -> Option<Source> {
        match self {
            Self::Service(record) => Some(record.source),
            Self::Route(record) => Some(record.source),
            Self::Grant(record) => Some(record.source),
            Self::Policy(record) => Some(record.source),
            Self::Authorization(record) => Some(record.source),
            Self::Namespace(record) => Some(record.source),
            Self::Endpoint(record) => Some(record.source),
            Self::Withdrawal(_) | Self::SessionKeys(_) => None,
        }
    }

    /// The value to put; nothing for what is not made of documents.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Service(record) => record.encode(),
            Self::Route(record) => record.encode(),
            Self::Grant(record) => record.encode(),
            Self::Policy(record) => record.encode(),
            Self::Authorization(record) => record.encode(),
            Self::Namespace(record) => record.encode(),
            Self::Endpoint(record) => record.encode(),
            Self::Withdrawal(_) | Self::SessionKeys(_) => Bytes::new(),
        }
    }
}

impl Key {
    /// Where the document is kept. `None`: no document can have this name, or it is an endpoint's, whose key needs its service.
    pub fn of(kind: Kind, namespace: &str, name: &str) -> Option<Self> {
        let (ns, document) = (namespace.to_owned(), name.to_owned());
        let key = match kind {
            Kind::Service => Self::Service(ServiceName::new(namespace, name).ok()?),
            Kind::HttpRoute => Self::Route { kind: RouteKind::Http, namespace: ns, name: document },
            Kind::GrpcRoute => Self::Route { kind: RouteKind::Grpc, namespace: ns, name: document },
            Kind::ReferenceGrant => Self::Grant { namespace: ns, name: document },
            Kind::TrafficPolicy => Self::Policy { namespace: ns, name: document },
            Kind::AuthorizationPolicy => Self::Authorization { namespace: ns, name: document },
            Kind::NamespacePolicy => Self::Namespace { namespace: ns, name: document },
            Kind::Endpoint => return None,
        };
        // A text that is no name must not become somebody else's key.
        Self::parse(&key.to_string())?.ok()
    }
}

fn record<M>(model: M, document: Option<serde_json::Value>, source: Source) -> Record<M> {
    Record { model, document, source }
}
