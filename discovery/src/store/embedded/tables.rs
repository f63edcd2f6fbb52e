//! The tables of the embedded store's file and how they are read.
//!
//! `entries` is the present, `history` the events since the last compaction, both written in the same transaction. Fails
//! with [`DiskError`]. Invariant: a revision's events are all in `history` or none of them is.

use crate::store::{Batch, Entry, Event, LeaseId, Range, Revision};
use bytes::Bytes;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use std::time::Duration;

/// Created, modified, lease (0: none), value.
pub(super) type EntryRow = (u64, u64, i64, &'static [u8]);
/// Key, whether it was deleted, created, lease, value.
pub(super) type EventRow = (&'static str, bool, u64, i64, &'static [u8]);

pub(super) const ENTRIES: TableDefinition<&str, EntryRow> = TableDefinition::new("entries");
/// By revision and place within it.
pub(super) const HISTORY: TableDefinition<(u64, u32), EventRow> = TableDefinition::new("history");
/// A lease's time to live in whole seconds.
pub(super) const LEASES: TableDefinition<i64, u64> = TableDefinition::new("leases");
pub(super) const LEASE_KEYS: TableDefinition<(i64, &str), ()> = TableDefinition::new("lease-keys");
pub(super) const HEADER: TableDefinition<(), (u64, u64, u64, u64, u64, u64)> = TableDefinition::new("header");

/// The layout of these tables; to be raised when it changes.
pub(super) const FORMAT: u64 = 1;

/// An answer to a watch ends after the revision that reaches one of these.
const BATCH_EVENTS: usize = 512;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// What the disk said.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiskError {
    #[error(transparent)]
    Storage(#[from] redb::StorageError),
    #[error(transparent)]
    Table(#[from] redb::TableError),
    #[error(transparent)]
    Transaction(#[from] redb::TransactionError),
    #[error(transparent)]
    Commit(#[from] redb::CommitError),
}

/// The state that is one for the whole store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub format: u64,
    pub revision: Revision,
    /// Revisions up to this one have no history any more.
    pub compacted: Revision,
    pub last_lease: u64,
    /// How much history there is.
    pub events: u64,
    pub bytes: u64,
}

impl Header {
    pub(super) fn read(table: &impl ReadableTable<(), (u64, u64, u64, u64, u64, u64)>) -> Result<Self, DiskError> {
        let row = table.get(())?;
        // A file without a header is a new one.
        let (format, revision, compacted, last_lease, events, bytes) =
            row.map_or((FORMAT, 1, 0, 0, 0, 0), |row| row.value());
        Ok(Self { format, revision, compacted, last_lease, events, bytes })
    }

    pub(super) fn write(&self, txn: &WriteTransaction) -> Result<(), DiskError> {
        let row = (self.format, self.revision, self.compacted, self.last_lease, self.events, self.bytes);
        txn.open_table(HEADER)?.insert((), row)?;
        Ok(())
    }
}

/// Makes what is missing, so that readers find every table.
pub(super) fn prepare(database: &Database) -> Result<Header, DiskError> {
    let txn = database.begin_write()?;
    let header = Header::read(&txn.open_table(HEADER)?)?;
    if header.format == FORMAT {
        txn.open_table(ENTRIES)?;
        txn.open_table(HISTORY)?;
        txn.open_table(LEASES)?;
        txn.open_table(LEASE_KEYS)?;
        header.write(&txn)?;
        txn.commit()?;
    }
    Ok(header)
}

/// All leases and their time to live.
pub(super) fn leases(database: &Database) -> Result<Vec<(LeaseId, Duration)>, DiskError> {
    let mut leases = Vec::new();
    for row in database.begin_read()?.open_table(LEASES)?.iter()? {
        let (id, seconds) = row?;
        leases.push((LeaseId(id.value()), Duration::from_secs(seconds.value())));
    }
    Ok(leases)
}

pub(super) fn entry(key: &str, (created, modified, lease, value): (u64, u64, i64, &[u8])) -> Entry {
    Entry {
        key: key.to_owned(),
        value: Bytes::copy_from_slice(value),
        created,
        modified,
        lease: (lease != 0).then_some(LeaseId(lease)),
    }
}

pub(super) fn range(txn: &ReadTransaction, prefix: &str) -> Result<Range, DiskError> {
    let revision = Header::read(&txn.open_table(HEADER)?)?.revision;
    let mut entries = Vec::new();
    for row in txn.open_table(ENTRIES)?.range::<&str>(prefix..)? {
        let (key, row) = row?;
        if !key.value().starts_with(prefix) {
            break;
        }
        entries.push(entry(key.value(), row.value()));
    }
    Ok(Range { entries, revision })
}

pub(super) fn get(txn: &ReadTransaction, key: &str) -> Result<Option<Entry>, DiskError> {
    let table = txn.open_table(ENTRIES)?;
    let row = table.get(key)?;
    Ok(row.map(|row| entry(key, row.value())))
}

/// A stretch of history.
pub(super) enum Stretch {
    /// Complete up to and including `until`.
    Kept {
        batches: Vec<Batch>,
        until: Revision,
    },
    Compacted {
        oldest: Revision,
    },
}

/// What happened under `prefix` from revision `from` on: as much as one answer may hold, whole revisions.
pub(super) fn history(txn: &ReadTransaction, prefix: &str, from: Revision) -> Result<Stretch, DiskError> {
    let header = Header::read(&txn.open_table(HEADER)?)?;
    if from <= header.compacted {
        return Ok(Stretch::Compacted { oldest: header.compacted + 1 });
    }
    let (mut batches, mut events, mut bytes) = (Vec::<Batch>::new(), 0, 0);
    for row in txn.open_table(HISTORY)?.range((from, 0)..)? {
        let (at, row) = row?;
        let ((revision, _), (key, deleted, created, lease, value)) = (at.value(), row.value());
        if !key.starts_with(prefix) {
            continue;
        }
        match batches.last() {
            Some(last) if last.revision == revision => {}
            Some(last) if events >= BATCH_EVENTS || bytes >= BATCH_BYTES => {
                let until = last.revision;
                return Ok(Stretch::Kept { batches, until });
            }
            _ => batches.push(Batch { revision, events: Vec::new() }),
        }
        events += 1;
        bytes += value.len();
        let event = match deleted {
            true => Event::Delete { key: key.to_owned() },
            false => Event::Put(entry(key, (created, revision, lease, value))),
        };
        batches.last_mut().expect("one was pushed above").events.push(event);
    }
    Ok(Stretch::Kept { batches, until: header.revision })
}
