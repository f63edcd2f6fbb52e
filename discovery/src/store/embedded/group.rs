//! One write transaction on the file: several commits, each with a revision of its own, made durable together.
//!
//! Decides whether comparisons hold and carries the operations out. Fails with [`DiskError`], and then nothing of the group
//! happened. Invariant: `entries`, `history` and `lease-keys` change together.

use super::tables::{DiskError, ENTRIES, EntryRow, EventRow, HISTORY, Header, LEASE_KEYS, LEASES};
use crate::store::{Compare, LeaseId, Op, Revision, StoreError};
use redb::{ReadableTable, Table, WriteTransaction};
use std::time::Duration;

pub(super) struct Group<'t> {
    entries: Table<'t, &'static str, EntryRow>,
    history: Table<'t, (u64, u32), EventRow>,
    leases: Table<'t, i64, u64>,
    lease_keys: Table<'t, (i64, &'static str), ()>,
    header: Header,
    /// How many events the revision being made has so far.
    made: u32,
}

impl<'t> Group<'t> {
    pub(super) fn open(txn: &'t WriteTransaction, header: Header) -> Result<Self, DiskError> {
        Ok(Self {
            entries: txn.open_table(ENTRIES)?,
            history: txn.open_table(HISTORY)?,
            leases: txn.open_table(LEASES)?,
            lease_keys: txn.open_table(LEASE_KEYS)?,
            header,
            made: 0,
        })
    }

    /// Cuts the history to its bounds and says what the header is now. The newest revision is always kept.
    pub(super) fn close(mut self, events: u64, bytes: u64) -> Result<Header, DiskError> {
        while self.header.events > events || self.header.bytes > bytes {
            let oldest = self.history.first()?.map(|(at, _)| at.value().0);
            match oldest {
                Some(oldest) if oldest < self.header.revision => self.forget(oldest)?,
                _ => break,
            }
        }
        Ok(self.header)
    }

    pub(super) fn commit(
        &mut self,
        compares: &[Compare],
        ops: &[Op],
    ) -> Result<Result<Option<Revision>, StoreError>, DiskError> {
        for compare in compares {
            if !self.holds(compare)? {
                return Ok(Ok(None));
            }
        }
        for op in ops {
            if let Op::Put { lease: Some(lease), .. } = op
                && self.leases.get(lease.0)?.is_none()
            {
                return Ok(Err(StoreError::LeaseGone(*lease)));
            }
        }
        for op in ops {
            match op {
                Op::Put { key, value, lease } => self.put(key, value, lease.map_or(0, |lease| lease.0))?,
                Op::Delete { key } => self.delete(key)?,
                Op::DeletePrefix { prefix } => {
                    for key in self.keys(prefix)? {
                        self.delete(&key)?;
                    }
                }
            }
        }
        Ok(Ok(Some(self.seal())))
    }

    pub(super) fn grant(&mut self, ttl: Duration) -> Result<LeaseId, DiskError> {
        self.header.last_lease += 1;
        // Counting one by one, the numbers do not reach 2^63.
        let lease = self.header.last_lease as i64;
        self.leases.insert(lease, ttl.as_secs())?;
        Ok(LeaseId(lease))
    }

    /// Ends a lease and deletes its keys at one revision.
    pub(super) fn revoke(&mut self, lease: LeaseId) -> Result<(), DiskError> {
        let mut keys = Vec::new();
        for row in self.lease_keys.range((lease.0, "")..(lease.0 + 1, ""))? {
            keys.push(row?.0.value().1.to_owned());
        }
        for key in keys {
            self.delete(&key)?;
        }
        self.leases.remove(lease.0)?;
        self.seal();
        Ok(())
    }

    pub(super) fn compact(&mut self, revision: Revision) -> Result<Result<(), StoreError>, DiskError> {
        if revision > self.header.revision {
            let present = self.header.revision;
            return Ok(Err(StoreError::Invalid(format!("revision {revision} is in the future; now is {present}"))));
        }
        self.forget(revision)?;
        Ok(Ok(()))
    }

    fn holds(&self, compare: &Compare) -> Result<bool, DiskError> {
        let row = self.entries.get(compare.key())?;
        let (created, modified) = row.map_or((0, 0), |row| (row.value().0, row.value().1));
        Ok(match compare {
            Compare::Created(_, revision) => created == *revision,
            Compare::Modified(_, revision) => modified == *revision,
            Compare::Exists(_) => created != 0,
            Compare::Absent(_) => created == 0,
        })
    }

    fn put(&mut self, key: &str, value: &[u8], lease: i64) -> Result<(), DiskError> {
        let revision = self.header.revision + 1;
        let before = self.entries.get(key)?.map(|row| (row.value().0, row.value().2));
        let (created, old_lease) = before.unwrap_or((revision, 0));
        if old_lease != lease {
            self.unbind(old_lease, key)?;
        }
        if lease != 0 {
            self.lease_keys.insert((lease, key), ())?;
        }
        self.entries.insert(key, (created, revision, lease, value))?;
        self.record((key, false, created, lease, value))
    }

    fn delete(&mut self, key: &str) -> Result<(), DiskError> {
        let Some(lease) = self.entries.remove(key)?.map(|row| row.value().2) else { return Ok(()) };
        self.unbind(lease, key)?;
        self.record((key, true, 0, 0, &[]))
    }

    fn unbind(&mut self, lease: i64, key: &str) -> Result<(), DiskError> {
        if lease != 0 {
            self.lease_keys.remove((lease, key))?;
        }
        Ok(())
    }

    fn record(&mut self, event: (&str, bool, u64, i64, &[u8])) -> Result<(), DiskError> {
        self.history.insert((self.header.revision + 1, self.made), event)?;
        self.header.events += 1;
        self.header.bytes += size(event);
        self.made += 1;
        Ok(())
    }

    /// Ends the revision being made, if there is anything in it.
    fn seal(&mut self) -> Revision {
        if self.made > 0 {
            self.header.revision += 1;
            self.made = 0;
        }
        self.header.revision
    }

    /// Drops the history up to and including `revision`.
    fn forget(&mut self, revision: Revision) -> Result<(), DiskError> {
        while self.history.first()?.is_some_and(|(at, _)| at.value().0 <= revision) {
            if let Some((_, event)) = self.history.pop_first()? {
                self.header.events -= 1;
                self.header.bytes -= size(event.value());
            }
        }
        self.header.compacted = self.header.compacted.max(revision);
        Ok(())
    }

    fn keys(&self, prefix: &str) -> Result<Vec<String>, DiskError> {
        let mut keys = Vec::new();
        for row in self.entries.range::<&str>(prefix..)? {
            let (key, _) = row?;
            if !key.value().starts_with(prefix) {
                break;
            }
            keys.push(key.value().to_owned());
        }
        Ok(keys)
    }
}

/// What an event counts for in the bound on the history's size.
fn size((key, _, _, _, value): (&str, bool, u64, i64, &[u8])) -> u64 {
    (key.len() + value.len()) as u64
}
