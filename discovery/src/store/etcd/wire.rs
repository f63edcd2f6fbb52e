//! etcd's entries, revisions and ranges as ours, and how much is read at once.
//!
//! Shared by the calls and the watches. Never fails: what cannot be ours is left out, what cannot be counted is a bound.

use crate::store::{Entry, LeaseId, Revision};
use bytes::Bytes;
use etcd_client::KeyValue;

/// Entries read at once. With [`crate::store::COMMIT_LIMIT`] it bounds the size of an answer.
pub(super) const PAGE: usize = 256;

/// A page of the largest entries etcd takes (1.5 MiB each unless it is configured otherwise).
pub(super) const ANSWER_LIMIT: usize = PAGE * 2 * 1024 * 1024;

/// etcd's entry as ours; `None` for a key that is not text, which cannot be one of ours.
pub(super) fn entry(prefix: &str, kv: &KeyValue) -> Option<Entry> {
    Some(Entry {
        key: std::str::from_utf8(kv.key()).ok()?.strip_prefix(prefix)?.to_owned(),
        value: Bytes::copy_from_slice(kv.value()),
        created: unsigned(kv.create_revision()),
        modified: unsigned(kv.mod_revision()),
        lease: (kv.lease() != 0).then(|| LeaseId(kv.lease())),
    })
}

/// The first key after all keys with this prefix.
pub(super) fn after(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // UTF-8 has no byte 0xff, so the last byte can always be raised; `open` sees to it that there is one.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// etcd counts revisions in positive signed numbers.
pub(super) fn unsigned(revision: i64) -> Revision {
    u64::try_from(revision).unwrap_or(0)
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
