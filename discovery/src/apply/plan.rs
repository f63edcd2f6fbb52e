//! The plan of one apply: what each document would change, and the comparisons under which that is still true.
//!
//! Made from what the store has now and thrown away when somebody else writes first. Virtual addresses are claimed here, in
//! the same commit that makes their service; a service keeps its address as long as it exists.

use super::outcome::{Applied, ApplyError, Outcome, owned, unnamed};
use crate::addresses::{self, Pool};
use crate::record::{self, Content, Key, Source};
use crate::store::{Compare, Entry, Op, Revision, Store, StoreError};
use crate::translate::{Kind, Object, Translated};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use weft_model::{Cidr, Service, ServiceName};

pub(super) struct Plan {
    pub applied: Vec<Applied>,
    pub compares: Vec<Compare>,
    pub ops: Vec<Op>,
    /// The store's revision that the plan was made at.
    pub revision: Revision,
}

/// A plan that is being made.
struct Draft<'a> {
    store: &'a dyn Store,
    /// Where virtual addresses are taken from.
    range: Cidr,
    /// Read when the first address is asked for.
    pool: Option<Pool>,
    present: BTreeMap<String, Entry>,
    plan: Plan,
    /// Endpoints that move to another service, by the one they leave.
    leaving: BTreeMap<ServiceName, Vec<String>>,
}

impl Plan {
    pub(super) async fn make(store: &dyn Store, range: Cidr, documents: &[Translated]) -> Result<Self, ApplyError> {
        let mut present = BTreeMap::new();
        let mut revision = 0;
        let prefixes: BTreeSet<String> =
            documents.iter().map(|d| format!("{}{}/", prefix(d.kind), d.namespace)).collect();
        for prefix in prefixes {
            let entries = store.range(&prefix).await?;
            revision = entries.revision;
            present.extend(entries.entries.into_iter().map(|entry| (entry.key.clone(), entry)));
        }
        let plan = Plan { applied: Vec::new(), compares: Vec::new(), ops: Vec::new(), revision };
        let mut draft = Draft { store, range, pool: None, present, plan, leaving: BTreeMap::new() };
        for document in documents {
            draft.document(document).await?;
        }
        for (service, ids) in std::mem::take(&mut draft.leaving) {
            draft.plan.ops.extend(record::withdraw(&service, ids));
        }
        Ok(draft.plan)
    }
}

impl Draft<'_> {
    async fn document(&mut self, document: &Translated) -> Result<(), ApplyError> {
        let Translated { kind, namespace, name, .. } = document;
        let key = match &document.object {
            Object::Endpoint(endpoint) => Key::endpoint(endpoint),
            _ => Key::of(*kind, namespace, name).ok_or_else(|| unnamed(namespace, name))?,
        };
        let key = key.to_string();
        let entry = self.present.get(&key).cloned();
        let content = entry.as_ref().and_then(Content::decode).and_then(Result::ok).map(|(_, content)| content);
        if let Some(content) = &content {
            owned(&format!("{} {namespace}/{name}", kind.name()), content)?;
        }
        let wanted = self.content(document, entry.is_some(), content.as_ref()).await?;
        let moved = self.moves(document, &key);
        let outcome = match &entry {
            None if moved => Outcome::Configured,
            None => Outcome::Created,
            Some(_) if content.as_ref() == Some(&wanted) => Outcome::Unchanged,
            Some(_) => Outcome::Configured,
        };
        if outcome != Outcome::Unchanged {
            self.plan.compares.push(Compare::Modified(key.clone(), entry.map_or(0, |entry| entry.modified)));
            self.plan.ops.push(Op::put(key, wanted.encode()));
        }
        let (kind, namespace, name) = (*kind, namespace.clone(), name.clone());
        self.plan.applied.push(Applied { kind, namespace, name, outcome });
        Ok(())
    }

    /// What the store is to have of the document. `exists`, but no `present`: what the store has cannot be read.
    async fn content(
        &mut self,
        document: &Translated,
        exists: bool,
        present: Option<&Content>,
    ) -> Result<Content, ApplyError> {
        let mut content = Content::of(document, Source::Apply);
        if let (Object::Service { service, addressed }, Content::Service(record)) = (&document.object, &mut content) {
            let had = match present {
                Some(Content::Service(record)) => record.model.virtual_addresses.clone(),
                _ if exists => self.pool().await?.of(&service.name).collect(),
                _ => Vec::new(),
            };
            record.model = self.service(service, *addressed, had).await?;
        }
        Ok(content)
    }

    /// The service with the address it has, or a new one if it is to have one.
    async fn service(&mut self, service: &Service, addressed: bool, had: Vec<IpAddr>) -> Result<Service, ApplyError> {
        let mut service = service.clone();
        match (addressed, had.is_empty()) {
            (true, false) => service.virtual_addresses = had,
            (false, _) => self.plan.ops.extend(had.into_iter().map(addresses::release)),
            (true, true) => {
                let claim = self.pool().await?.claim(&service.name)?;
                service.virtual_addresses = vec![claim.address];
                self.plan.compares.extend(claim.compares);
                self.plan.ops.extend(claim.ops);
            }
        }
        Ok(service)
    }

    async fn pool(&mut self) -> Result<&mut Pool, StoreError> {
        let pool = match self.pool.take() {
            Some(pool) => pool,
            None => Pool::read(self.store, self.range).await?,
        };
        Ok(self.pool.insert(pool))
    }

    /// Whether an endpoint of this name is another service's until now; it is taken out there.
    fn moves(&mut self, document: &Translated, key: &str) -> bool {
        if document.kind != Kind::Endpoint {
            return false;
        }
        let prefix = format!("{}{}/", Key::ENDPOINTS, document.namespace);
        let others = self.present.range(prefix.clone()..).take_while(|(other, _)| other.starts_with(&prefix));
        let others = others.filter(|(other, _)| *other != key && other.rsplit('/').next() == Some(&document.name));
        let mut moved = false;
        for (other, entry) in others {
            let Some(Ok((Key::Endpoint { service, id }, Content::Endpoint(record)))) = Content::decode(entry) else {
                continue;
            };
            if record.source == Source::Apply {
                self.plan.compares.push(Compare::Modified(other.clone(), entry.modified));
                self.leaving.entry(service).or_default().push(id);
                moved = true;
            }
        }
        moved
    }
}

/// What gives a deleted service's addresses back.
pub(super) async fn release(store: &dyn Store, range: Cidr, entry: &Entry) -> Result<Vec<Op>, StoreError> {
    let own: Vec<IpAddr> = match (Key::parse(&entry.key), Content::decode(entry)) {
        (_, Some(Ok((_, Content::Service(record))))) => record.model.virtual_addresses,
        // The record cannot be read, but who has which address can.
        (Some(Ok(Key::Service(name))), _) => Pool::read(store, range).await?.of(&name).collect(),
        _ => Vec::new(),
    };
    Ok(own.into_iter().map(addresses::release).collect())
}

pub(super) fn prefix(kind: Kind) -> &'static str {
    match kind {
        Kind::Service => Key::SERVICES,
        Kind::Endpoint => Key::ENDPOINTS,
        Kind::HttpRoute => Key::ROUTES,
        Kind::GrpcRoute => Key::GRPC_ROUTES,
        Kind::ReferenceGrant => Key::GRANTS,
        Kind::TrafficPolicy => Key::POLICIES,
        Kind::AuthorizationPolicy => Key::AUTHORIZATIONS,
        Kind::NamespacePolicy => Key::NAMESPACES,
    }
}
