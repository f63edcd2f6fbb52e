//! The store with its failures counted, by operation.
//!
//! Stands between the store and everybody who uses it; passes everything through. A lease or a comparison that does not hold
//! is an answer, not a failure.

use crate::metrics::{Metrics, Operation};
use crate::store::{Compare, Entry, LeaseId, Op, Range, Revision, Store, StoreError, Watch};
use std::sync::Arc;
use std::time::Duration;

pub struct Counted {
    pub inner: Arc<dyn Store>,
    pub metrics: Metrics,
}

impl Counted {
    fn note<T>(&self, operation: &'static str, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result {
            self.metrics.store_errors.get_or_create(&Operation { operation }).inc();
            tracing::debug!(operation, %error, "the store failed");
        }
        result
    }
}

#[async_trait::async_trait]
impl Store for Counted {
    async fn range(&self, prefix: &str) -> Result<Range, StoreError> {
        self.note("range", self.inner.range(prefix).await)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.note("get", self.inner.get(key).await)
    }

    async fn commit(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Option<Revision>, StoreError> {
        self.note("commit", self.inner.commit(compares, ops).await)
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, StoreError> {
        self.note("watch", self.inner.watch(prefix, from).await)
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        self.note("grant", self.inner.grant(ttl).await)
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<bool, StoreError> {
        self.note("keep_alive", self.inner.keep_alive(lease).await)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.note("revoke", self.inner.revoke(lease).await)
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.note("compact", self.inner.compact(revision).await)
    }

    fn kind(&self) -> &'static str {
        self.inner.kind()
    }
}
