//! Carries out plans: each transaction compares what it rests on, and carries the leader's fence.
//!
//! What is known of the store is a mirror of what was read and written; a comparison that fails means that somebody else wrote,
//! and what is concerned is read again. A write whose fence is refused ends the leadership: [`WriteError::Deposed`].

use super::plan::{self, Mirror, Plan};
use crate::leader::Lead;
use crate::metrics::{Metrics, Outcome};
use crate::record::{Content, Key};
use crate::store::{Compare, Op, Store, StoreError};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use weft_model::ServiceName;

/// How often a plan is made again when somebody else wrote the same keys meanwhile.
const TRIES: usize = 8;
/// Where the records lie that clusters describe.
const PREFIXES: [&str; 8] = [
    Key::SERVICES,
    Key::ENDPOINTS,
    Key::ROUTES,
    Key::GRPC_ROUTES,
    Key::GRANTS,
    Key::POLICIES,
    Key::AUTHORIZATIONS,
    Key::NAMESPACES,
];

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("other writers were always faster")]
    Contended,
    /// Somebody else leads.
    #[error("this replica leads no more")]
    Deposed,
}

/// The records of the mesh, under one leadership.
pub struct Keeper<'a> {
    store: Arc<dyn Store>,
    lead: &'a Lead,
    metrics: Metrics,
    mirror: Mirror,
    /// Nothing may be concluded from the mirror before it is read.
    stale: bool,
    /// Keys that belong to somebody else, each told once.
    taken: BTreeSet<String>,
}

impl<'a> Keeper<'a> {
    pub fn new(store: Arc<dyn Store>, lead: &'a Lead, metrics: Metrics) -> Self {
        Self { store, lead, metrics, mirror: Mirror::default(), stale: true, taken: BTreeSet::new() }
    }

    /// Has everything read again before anything else is written.
    pub fn doubt(&mut self) {
        self.stale = true;
    }

    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// Reads all records, and cleans up after services that are gone.
    pub async fn read(&mut self) -> Result<(), WriteError> {
        self.mirror = Mirror::default();
        for prefix in PREFIXES {
            let range = self.store.range(prefix).await?;
            range.entries.into_iter().for_each(|entry| self.mirror.see(entry));
        }
        self.stale = false;
        self.sweep().await
    }

    /// The keys of records that are Kubernetes'.
    pub fn ours(&self) -> impl Iterator<Item = &str> {
        self.mirror.ours()
    }

    /// Makes a service and its endpoints what is wanted; nothing wanted: there is no such service.
    pub async fn keep_service(
        &mut self,
        name: &ServiceName,
        wanted: BTreeMap<String, Bytes>,
    ) -> Result<(), WriteError> {
        for _ in 0..TRIES {
            let plan = self.mirror.plan_service(name, &wanted);
            if self.carry_out(plan).await? {
                return Ok(());
            }
            let (own, endpoints) = plan::keys(name);
            self.read_again(&[&own, &endpoints]).await?;
        }
        Err(WriteError::Contended)
    }

    /// Makes one record what is wanted.
    pub async fn keep_record(&mut self, key: &str, wanted: Option<Bytes>) -> Result<(), WriteError> {
        for _ in 0..TRIES {
            let plan = self.mirror.plan_record(key, wanted.clone());
            if self.carry_out(plan).await? {
                return Ok(());
            }
            self.read_again(&[key]).await?;
        }
        Err(WriteError::Contended)
    }

    /// Whether it was done; not when somebody else wrote before.
    async fn carry_out(&mut self, plan: Plan) -> Result<bool, WriteError> {
        for key in plan.taken {
            if !self.taken.contains(&key) {
                tracing::warn!(key, "not written: it belongs to somebody else, who applied or registered it");
                self.taken.insert(key);
            }
        }
        for transaction in plan.transactions {
            if !self.commit(transaction.compares, transaction.ops).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn commit(&mut self, mut compares: Vec<Compare>, ops: Vec<Op>) -> Result<bool, WriteError> {
        compares.push(self.lead.fence());
        let count = |outcome| {
            self.metrics.controller_writes.get_or_create(&Outcome::of(outcome)).inc();
        };
        match self.store.commit(compares, ops.clone()).await {
            Ok(Some(revision)) => {
                count("written");
                self.mirror.did(&ops, revision);
                Ok(true)
            }
            Ok(None) if self.lead.holds().await? => {
                count("contended");
                Ok(false)
            }
            Ok(None) => {
                count("fenced");
                Err(WriteError::Deposed)
            }
            Err(error) => {
                count("failed");
                // It may have been done all the same.
                self.stale = true;
                Err(error.into())
            }
        }
    }

    async fn read_again(&mut self, prefixes: &[&str]) -> Result<(), WriteError> {
        for prefix in prefixes {
            self.mirror.forget(prefix);
            let range = self.store.range(prefix).await?;
            range.entries.into_iter().for_each(|entry| self.mirror.see(entry));
        }
        Ok(())
    }

    /// Withdrawals of services that are no more would otherwise stay for ever.
    async fn sweep(&mut self) -> Result<(), WriteError> {
        for entry in self.store.range(Key::WITHDRAWALS).await?.entries {
            let Some(Ok((Key::Withdrawal(service), _))) = Content::decode(&entry) else { continue };
            let (own, endpoints) = plan::keys(&service);
            if self.mirror.has_any(&own) || self.mirror.has_any(&endpoints) {
                continue;
            }
            let compares = vec![Compare::Absent(own), Compare::Modified(entry.key.clone(), entry.modified)];
            // Not done: the service is back.
            self.commit(compares, vec![Op::delete(entry.key)]).await?;
        }
        Ok(())
    }
}
