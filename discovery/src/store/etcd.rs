//! The store on etcd (API version 3): the one for clusters, and for more than one discovery replica.
//!
//! Translates the contract of [`Store`] into etcd's calls; which member is asked is decided in `members`, what an error means in
//! `fault`. Fails with [`StoreError::Unavailable`] when no member answers in time. Invariant: no key outside the prefix is touched.

mod fault;
mod members;
mod tls;
mod wire;
mod watch;

pub use members::EtcdSettings;
pub use tls::EtcdTls;

use super::{Compare, Entry, LeaseId, Op, Range, Revision, Store, StoreError, Watch, commit};
use etcd_client::{CompareOp, DeleteOptions, GetOptions, PutOptions, Txn, TxnOp};
use members::{Members, Repeat};
use std::time::Duration;
use wire::{ANSWER_LIMIT, PAGE, after, entry, signed, unsigned};

/// Whole ranges are read again when a compaction passes by while their pages are read.
const RANGE_TRIES: usize = 5;

/// The store on etcd.
pub struct Etcd {
    members: Members,
    prefix: String,
}

impl Etcd {
    /// Checks the settings; connections are made when they are needed, so that etcd may come up later.
    pub fn open(settings: &EtcdSettings) -> Result<Self, StoreError> {
        if settings.prefix.len() < 2 || !settings.prefix.ends_with('/') {
            return Err(StoreError::Open(format!("etcd prefix {:?} must be a path that ends in '/'", settings.prefix)));
        }
        Ok(Self { members: Members::new(settings)?, prefix: settings.prefix.clone() })
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// One read of all pages; `Compacted` when the history went away between two of them.
    async fn pages(&self, prefix: &str) -> Result<Range, StoreError> {
        let full = self.full(prefix);
        let (mut from, end) = (full.clone().into_bytes(), after(&full));
        let (mut entries, mut revision) = (Vec::new(), 0);
        loop {
            let (start, end) = (from.clone(), end.clone());
            let options = GetOptions::new().with_range(end).with_limit(PAGE as i64).with_revision(revision);
            let mut page =
                self.members
                    .call(Repeat::Safe, |client| {
                        let (start, options) = (start.clone(), options.clone());
                        async move {
                            client.kv_client().max_decoding_message_size(ANSWER_LIMIT).get(start, Some(options)).await
                        }
                    })
                    .await?;
            if revision == 0 {
                revision = page.header().map_or(0, |h| h.revision());
            }
            let more = page.more();
            let kvs = page.take_kvs();
            if let Some(last) = kvs.last() {
                from = [last.key(), &[0]].concat();
            }
            entries.extend(kvs.iter().filter_map(|kv| entry(&self.prefix, kv)));
            if !more {
                return Ok(Range { entries, revision: unsigned(revision) });
            }
        }
    }

    fn compare(&self, compare: &Compare) -> etcd_client::Compare {
        use etcd_client::Compare as C;
        let key = self.full(compare.key());
        match compare {
            Compare::Created(_, revision) => C::create_revision(key, CompareOp::Equal, signed(*revision)),
            Compare::Modified(_, revision) => C::mod_revision(key, CompareOp::Equal, signed(*revision)),
            Compare::Exists(_) => C::create_revision(key, CompareOp::Greater, 0),
            Compare::Absent(_) => C::create_revision(key, CompareOp::Equal, 0),
        }
    }

    fn op(&self, op: &Op) -> TxnOp {
        match op {
            Op::Put { key, value, lease } => {
                let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
                TxnOp::put(self.full(key), value.to_vec(), options)
            }
            Op::Delete { key } => TxnOp::delete(self.full(key), None),
            Op::DeletePrefix { prefix } => TxnOp::delete(self.full(prefix), Some(DeleteOptions::new().with_prefix())),
        }
    }
}

#[async_trait::async_trait]
impl Store for Etcd {
    async fn range(&self, prefix: &str) -> Result<Range, StoreError> {
        let mut tries = 1;
        loop {
            match self.pages(prefix).await {
                Err(StoreError::Compacted { .. }) if tries < RANGE_TRIES => tries += 1,
                other => return other,
            }
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let key = self.full(key);
        let answer = self
            .members
            .call(Repeat::Safe, |client| {
                let key = key.clone();
                async move { client.kv_client().max_decoding_message_size(ANSWER_LIMIT).get(key, None).await }
            })
            .await?;
        Ok(answer.kvs().first().and_then(|kv| entry(&self.prefix, kv)))
    }

    async fn commit(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Option<Revision>, StoreError> {
        commit::check(&compares, &ops)?;
        let compares: Vec<_> = compares.iter().map(|c| self.compare(c)).collect();
        let txn = Txn::new().when(compares).and_then(ops.iter().map(|op| self.op(op)).collect::<Vec<_>>());
        let answer = self
            .members
            .call(Repeat::UnlessItMayHaveWorked, |client| {
                let txn = txn.clone();
                async move { client.kv_client().txn(txn).await }
            })
            .await
            .map_err(|error| naming(error, &ops))?;
        let revision = answer.header().map_or(0, |h| h.revision());
        Ok(answer.succeeded().then(|| unsigned(revision)))
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, StoreError> {
        watch::open(&self.members, self.prefix.clone(), self.full(prefix), from).await
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let seconds = signed(seconds.max(1));
        // A lease that was granted twice because an answer got lost runs out by itself: nobody renews it.
        let answer = self
            .members
            .call(Repeat::Safe, |client| async move { client.lease_client().grant(seconds, None).await })
            .await?;
        Ok(LeaseId(answer.id()))
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<bool, StoreError> {
        let renewed = self
            .members
            .call(Repeat::Safe, |client| async move { client.lease_client().keep_alive(lease.0).await })
            .await;
        match renewed {
            Ok(_) => Ok(true),
            Err(StoreError::LeaseGone(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        let revoked =
            self.members.call(Repeat::Safe, |client| async move { client.lease_client().revoke(lease.0).await }).await;
        match revoked {
            Ok(_) | Err(StoreError::LeaseGone(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        let compacted = self
            .members
            .call(Repeat::Safe, |client| async move { client.kv_client().compact(signed(revision), None).await })
            .await;
        match compacted {
            Ok(_) | Err(StoreError::Compacted { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn kind(&self) -> &'static str {
        "etcd"
    }
}

/// etcd says only that something is too large or that a lease is gone; the caller wants to know which.
fn naming(error: StoreError, ops: &[Op]) -> StoreError {
    let put = |op: &Op| match op {
        Op::Put { key, value, lease } => Some((key.clone(), value.len(), *lease)),
        _ => None,
    };
    match error {
        StoreError::TooLarge { limit, .. } => match ops.iter().filter_map(put).max_by_key(|(_, size, _)| *size) {
            Some((key, size, _)) => StoreError::TooLarge { key, size, limit },
            None => error,
        },
        StoreError::LeaseGone(_) => match ops.iter().filter_map(put).find_map(|(_, _, lease)| lease) {
            Some(lease) => StoreError::LeaseGone(lease),
            None => error,
        },
        other => other,
    }
}
