//! The words every part of the store shares: revisions, leases, and why the store did not do what it was asked to.
//!
//! At the bottom: imports nothing of the store.

use std::fmt;

/// Counts the commits that changed something. A fresh store is at revision 1, and it never goes back.
pub type Revision = u64;

/// A lease: keys put under it are deleted when it runs out. Never 0, so that 0 can mean "none" on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub i64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Why the store did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No answer, or no answer in time. A commit may or may not have taken effect: read before you repeat it.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
    /// The history asked for is no longer kept.
    #[error("the store's history before revision {oldest} is compacted")]
    Compacted { oldest: Revision },
    /// Nothing was written.
    #[error("key {key:?} makes the commit too large: {size} bytes, at most {limit}")]
    TooLarge { key: String, size: usize, limit: usize },
    /// The commit breaks a rule of [`Store::commit`](super::Store::commit). Nothing was written.
    #[error("the commit is not valid: {0}")]
    Invalid(String),
    /// Nothing was written.
    #[error("lease {0} does not exist or has run out")]
    LeaseGone(LeaseId),
    /// The store cannot be opened as configured: a wrong address, a file in use, damaged or of another format.
    #[error("cannot open the store: {0}")]
    Open(String),
}
