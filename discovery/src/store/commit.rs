//! What a commit compares and does, and the bounds on it.
//!
//! Checked here once for both implementations, before anything is sent or written, so that a commit which one store
//! takes is never refused by the other.

use super::terms::{LeaseId, Revision, StoreError};
use bytes::Bytes;
use std::collections::HashSet;

/// Bytes of keys and values in one commit. etcd's own bound is 1.5 MiB per request; the rest is room for its framing.
pub const COMMIT_LIMIT: usize = 1024 * 1024;

/// Operations (and, separately, comparisons) in one commit: etcd's default `--max-txn-ops`.
pub const OPS_LIMIT: usize = 128;

/// A condition on one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// The key was made at this revision; 0: it does not exist.
    Created(String, Revision),
    /// The key's value was put at this revision; 0: it does not exist.
    Modified(String, Revision),
    Exists(String),
    Absent(String),
}

impl Compare {
    pub fn key(&self) -> &str {
        match self {
            Self::Created(key, _) | Self::Modified(key, _) | Self::Exists(key) | Self::Absent(key) => key,
        }
    }
}

/// A change to one key, or to all keys under a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Puts the value; a key that had another lease, or one where now is none, leaves it.
    Put {
        key: String,
        value: Bytes,
        lease: Option<LeaseId>,
    },
    Delete {
        key: String,
    },
    DeletePrefix {
        prefix: String,
    },
}

impl Op {
    /// A put without a lease.
    pub fn put(key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        Self::Put { key: key.into(), value: value.into(), lease: None }
    }

    pub fn delete(key: impl Into<String>) -> Self {
        Self::Delete { key: key.into() }
    }

    fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
            Self::DeletePrefix { prefix } => prefix,
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.len() + value.len(),
            other => other.key().len(),
        }
    }
}

/// Whether a commit keeps the rules of [`super::Store::commit`].
pub(super) fn check(compares: &[Compare], ops: &[Op]) -> Result<(), StoreError> {
    let invalid = |text: String| Err(StoreError::Invalid(text));
    if compares.len() > OPS_LIMIT || ops.len() > OPS_LIMIT {
        return invalid(format!(
            "{} comparisons and {} operations, at most {OPS_LIMIT} each",
            compares.len(),
            ops.len()
        ));
    }
    if compares.iter().map(Compare::key).chain(ops.iter().map(Op::key)).any(str::is_empty) {
        return invalid("a key is empty".to_owned());
    }
    let mut touched = HashSet::new();
    for op in ops {
        if !touched.insert(op.key()) {
            return invalid(format!("key {:?} is touched twice", op.key()));
        }
    }
    for prefix in ops.iter().filter_map(|op| if let Op::DeletePrefix { prefix } = op { Some(prefix) } else { None }) {
        if let Some(key) = touched.iter().find(|key| **key != prefix && key.starts_with(prefix)) {
            return invalid(format!("key {key:?} is touched twice, by itself and by prefix {prefix:?}"));
        }
    }
    let size = compares.iter().map(|c| c.key().len()).sum::<usize>() + ops.iter().map(Op::size).sum::<usize>();
    match ops.iter().max_by_key(|op| op.size()) {
        Some(largest) if size > COMMIT_LIMIT => {
            Err(StoreError::TooLarge { key: largest.key().to_owned(), size, limit: COMMIT_LIMIT })
        }
        _ => Ok(()),
    }
}
