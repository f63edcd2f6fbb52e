//! The three calls: apply, delete, get.
//!
//! A call that meets another writer plans again, a bounded number of times. Every call is counted by how it ended.

use super::outcome::{Applied, ApplyError, Done, Outcome, owned, unnamed};
use super::plan::{self, Plan};
use crate::metrics::{Metrics, Outcome as Counted};
use crate::record::{self, Content, Key};
use crate::store::{Compare, Entry, OPS_LIMIT, Op, Revision, Store};
use crate::translate::{Kind, translate};
use serde::Serialize;
use std::sync::Arc;
use weft_model::Cidr;
use weft_model::route::RouteKind;
use weft_proto::v1;

/// How often a call plans again when somebody else wrote the same keys meanwhile.
const TRIES: usize = 8;

/// The documents of the mesh.
#[derive(Clone)]
pub struct Documents {
    pub store: Arc<dyn Store>,
    pub trust_domain: String,
    /// Where virtual addresses are taken from.
    pub range: Cidr,
    pub metrics: Metrics,
}

impl Documents {
    /// Puts all documents of `yaml` into force, or none.
    pub async fn apply(&self, yaml: &str, dry_run: bool) -> Result<Done, ApplyError> {
        let result = self.try_apply(yaml, dry_run).await;
        self.count("applied", &result);
        result
    }

    /// Takes one document away. What was attached to a service stays and binds nothing.
    pub async fn delete(&self, kind: &str, namespace: &str, name: &str) -> Result<Revision, ApplyError> {
        let result = self.try_delete(kind, namespace, name).await;
        self.count("deleted", &result);
        result
    }

    fn count<T>(&self, good: &'static str, result: &Result<T, ApplyError>) {
        let outcome = match result {
            Ok(_) => good,
            Err(ApplyError::Faults(faults)) => {
                self.metrics.faults.inc_by(faults.len() as u64);
                "faulty"
            }
            Err(ApplyError::Store(_)) => "store",
            Err(_) => "refused",
        };
        self.metrics.applies.get_or_create(&Counted::of(outcome)).inc();
    }

    async fn try_apply(&self, yaml: &str, dry_run: bool) -> Result<Done, ApplyError> {
        let documents = translate(yaml, &self.trust_domain).map_err(ApplyError::Faults)?;
        for _ in 0..TRIES {
            let plan = Plan::make(&*self.store, self.range, &documents).await?;
            let Plan { applied: documents, compares, ops, revision } = plan;
            if dry_run || ops.is_empty() {
                return Ok(Done { documents, revision });
            }
            if ops.len() > OPS_LIMIT || compares.len() > OPS_LIMIT {
                let count = documents.len();
                let reason = format!("{count} documents are too many for one transaction: apply fewer at once");
                return Err(ApplyError::Asked(reason));
            }
            if let Some(revision) = self.store.commit(compares, ops).await? {
                for document in documents.iter().filter(|document| document.outcome != Outcome::Unchanged) {
                    let Applied { kind, namespace, name, outcome } = document;
                    tracing::info!(kind = kind.name(), namespace, name, outcome = outcome.word(), revision, "applied");
                }
                return Ok(Done { documents, revision });
            }
        }
        Err(ApplyError::Contended)
    }

    async fn try_delete(&self, kind: &str, namespace: &str, name: &str) -> Result<Revision, ApplyError> {
        let kind = parse_kind(kind)?;
        let title = format!("{} {namespace}/{name}", kind.name());
        for _ in 0..TRIES {
            let entry = self.find(kind, namespace, name).await?;
            let entry = entry.ok_or_else(|| ApplyError::NotFound(title.clone()))?;
            let mut ops = match Content::decode(&entry) {
                Some(Ok((Key::Endpoint { service, id }, content))) => {
                    owned(&title, &content)?;
                    record::withdraw(&service, [id])
                }
                Some(Ok((_, content))) => {
                    owned(&title, &content)?;
                    vec![Op::delete(entry.key.clone())]
                }
                // Unreadable: deleting it is how to get rid of it.
                _ => vec![Op::delete(entry.key.clone())],
            };
            ops.extend(plan::release(&*self.store, self.range, &entry).await?);
            let compares = vec![Compare::Modified(entry.key, entry.modified)];
            if let Some(revision) = self.store.commit(compares, ops).await? {
                tracing::info!(kind = kind.name(), namespace, name, revision, "deleted");
                return Ok(revision);
            }
        }
        Err(ApplyError::Contended)
    }

    async fn find(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<Entry>, ApplyError> {
        if kind != Kind::Endpoint {
            let key = Key::of(kind, namespace, name).ok_or_else(|| unnamed(namespace, name))?;
            return Ok(self.store.get(&key.to_string()).await?);
        }
        // The key has the service in it, which is not asked for.
        let entries = self.store.range(&format!("{}{namespace}/", Key::ENDPOINTS)).await?.entries;
        let mut found = entries.into_iter().filter(|entry| entry.key.rsplit('/').next() == Some(name));
        match (found.next(), found.next()) {
            (Some(first), Some(second)) => {
                let (first, second) = (first.key, second.key);
                Err(ApplyError::Asked(format!("{name:?} names several endpoints: {first}, {second}")))
            }
            (first, _) => Ok(first),
        }
    }

    /// The documents and registrations of one kind, sorted by namespace and name; empty texts mean "all".
    pub async fn get(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<(Vec<v1::Object>, Revision), ApplyError> {
        let kinds = match kind.to_ascii_lowercase().as_str() {
            "routes" | "route" => vec![Kind::HttpRoute, Kind::GrpcRoute],
            _ => vec![parse_kind(kind)?],
        };
        let (mut entries, mut revision) = (Vec::new(), 0);
        for kind in kinds {
            let range = self.store.range(plan::prefix(kind)).await?;
            entries.extend(range.entries);
            revision = range.revision;
        }
        let objects = entries.iter().filter_map(|entry| Content::decode(entry)?.ok());
        let objects = objects.filter_map(|(key, content)| object(&key, &content));
        let wanted = |object: &v1::Object| {
            (namespace.is_empty() || object.namespace == namespace) && (name.is_empty() || object.name == name)
        };
        Ok((objects.filter(wanted).collect(), revision))
    }
}

fn parse_kind(word: &str) -> Result<Kind, ApplyError> {
    let kinds = "services, endpoints, routes, httproutes, grpcroutes, referencegrants, policies, authorizationpolicies \
                 and namespacepolicies";
    Kind::from_word(word).ok_or_else(|| ApplyError::Asked(format!("kind: {word:?} is not known; there are {kinds}")))
}

fn object(key: &Key, content: &Content) -> Option<v1::Object> {
    let (kind, namespace, name) = match key {
        Key::Service(service) => (Kind::Service, service.namespace.clone(), service.name.clone()),
        Key::Route { kind: RouteKind::Http, namespace, name } => (Kind::HttpRoute, namespace.clone(), name.clone()),
        Key::Route { kind: RouteKind::Grpc, namespace, name } => (Kind::GrpcRoute, namespace.clone(), name.clone()),
        Key::Grant { namespace, name } => (Kind::ReferenceGrant, namespace.clone(), name.clone()),
        Key::Policy { namespace, name } => (Kind::TrafficPolicy, namespace.clone(), name.clone()),
        Key::Authorization { namespace, name } => (Kind::AuthorizationPolicy, namespace.clone(), name.clone()),
        Key::Namespace { namespace, name } => (Kind::NamespacePolicy, namespace.clone(), name.clone()),
        Key::Endpoint { service, id } => (Kind::Endpoint, service.namespace.clone(), id.clone()),
        Key::Withdrawal(_) | Key::SessionKeys => return None,
    };
    let (source, document, model_json) = match content {
        Content::Service(record) => (record.source, &record.document, json(&record.model)),
        Content::Route(record) => (record.source, &record.document, json(&record.model)),
        Content::Grant(record) => (record.source, &record.document, json(&record.model)),
        Content::Policy(record) => (record.source, &record.document, json(&record.model)),
        Content::Authorization(record) => (record.source, &record.document, json(&record.model)),
        Content::Namespace(record) => (record.source, &record.document, json(&record.model)),
        Content::Endpoint(record) => (record.source, &record.document, json(&record.model)),
        Content::Withdrawal(_) | Content::SessionKeys(_) => return None,
    };
    let document_json = document.as_ref().map(json).unwrap_or_default();
    let (kind, source) = (kind.name().to_owned(), source.to_string());
    Some(v1::Object { kind, namespace, name, source, document_json, model_json, status_json: String::new() })
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("a record always has a JSON form")
}
