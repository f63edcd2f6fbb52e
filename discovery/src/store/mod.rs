//! The store: an ordered map from keys to values with one revision counter, transactions, watches and leases.
//!
//! Everything the mesh must not forget stands here. The sources write it, the registry reads it. Two implementations
//! obey the one contract written at [`Store`]; `conformance` in the tests runs against both.

mod terms;
mod commit;
pub mod embedded;
pub mod etcd;

pub use commit::{COMMIT_LIMIT, Compare, OPS_LIMIT, Op};
pub use embedded::{Embedded, EmbeddedSettings};
pub use etcd::{Etcd, EtcdSettings, EtcdTls};
pub use terms::{LeaseId, Revision, StoreError};

use bytes::Bytes;
use futures::stream::BoxStream;
use std::time::Duration;

/// One key and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: Bytes,
    /// The revision that made the key; a key deleted and put again is made anew.
    pub created: Revision,
    /// The revision that put the present value.
    pub modified: Revision,
    pub lease: Option<LeaseId>,
}

/// All entries under a prefix as they stood at one revision, sorted by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    pub entries: Vec<Entry>,
    pub revision: Revision,
}

/// What happened to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Put(Entry),
    /// Deleted by a commit, or because its lease ran out or was revoked.
    Delete {
        key: String,
    },
}

impl Event {
    pub fn key(&self) -> &str {
        match self {
            Event::Put(entry) => &entry.key,
            Event::Delete { key } => key,
        }
    }
}

/// All events of one revision under the watched prefix. Without events it is a progress mark: nothing under the prefix
/// changed up to and including `revision`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub revision: Revision,
    pub events: Vec<Event>,
}

/// What a watch yields. The first error is the last item.
pub type Watch = BoxStream<'static, Result<Batch, StoreError>>;

/// The contract. All methods may be called from any task, at any time, in parallel; none blocks the runtime.
///
/// Keys are UTF-8 text, never empty, compared byte by byte; implementations put their own prefix before them where several
/// meshes share a store. Reads are linearizable: they see every commit that was acknowledged before they began.
#[async_trait::async_trait]
pub trait Store: Send + Sync + 'static {
    /// Everything under `prefix` at one revision, however much it is (large ranges are read in pages).
    async fn range(&self, prefix: &str) -> Result<Range, StoreError>;

    /// One key's entry.
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError>;

    /// If every comparison holds, carries out all operations at one new revision and returns it; otherwise does nothing
    /// and returns `None`. Operations that change nothing (deleting what is absent) make no revision; the present one is returned.
    ///
    /// On return the effect is durable. At most [`OPS_LIMIT`] operations and as many comparisons, at most [`COMMIT_LIMIT`] bytes
    /// of keys and values, and no key may be touched twice: those are errors, found before anything is written.
    async fn commit(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Option<Revision>, StoreError>;

    /// Every change under `prefix` at revision `from` and later, in order, without gap or duplicate, whole revisions at a
    /// time, history first and then live. `from` may lie in the future. A watch from before the last compaction ends with
    /// [`StoreError::Compacted`] (from the compacted revision itself it may), a broken one with
    /// [`StoreError::Unavailable`]; either may come from the call or from the stream. A reader that is slow costs the
    /// store bounded memory. Dropping the stream ends the watch.
    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, StoreError>;

    /// A new lease that runs out `ttl` after its last renewal; whole seconds, rounded up, 1 s at least. While the store itself is down
    /// no time passes: after a restart every lease has at least what remained, at most its full `ttl`.
    async fn grant(&self, ttl: Duration) -> Result<LeaseId, StoreError>;

    /// Renews a lease; `false`: it does not exist or has run out.
    async fn keep_alive(&self, lease: LeaseId) -> Result<bool, StoreError>;

    /// Ends a lease now and deletes its keys, at one revision. Not an error if it is gone already.
    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError>;

    /// Forgets the history up to and including `revision`; present values stay. Not an error if that is done already; a
    /// revision in the future is [`StoreError::Invalid`].
    async fn compact(&self, revision: Revision) -> Result<(), StoreError>;

    /// `"etcd"` or `"embedded"`.
    fn kind(&self) -> &'static str;
}
