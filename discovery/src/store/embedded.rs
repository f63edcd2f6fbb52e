//! The store in one file, without a server: for one machine and one discovery process.
//!
//! Reads run on snapshots of the file beside each other; all writes go through one thread (`writer`). Fails with
//! [`StoreError::Open`] when another process has the file. Invariant: what was acknowledged is on disk, also after a crash.

mod tables;
mod lease;
mod file;
mod group;
mod writer;
mod watch;

pub use file::EmbeddedSettings;
pub use lease::{Clock, SystemClock};

use super::{Compare, Entry, LeaseId, Op, Range, Revision, Store, StoreError, Watch, commit};
use file::{Shared, unavailable};
use redb::ReadableDatabase;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tables::{DiskError, FORMAT};
use tokio::sync::{oneshot, watch as changes};
use writer::{Command, Reply, Writer};

/// The store in one file.
pub struct Embedded {
    shared: Arc<Shared>,
    /// `None` only while it is dropped: closing the channel is what ends the writer.
    commands: Option<mpsc::Sender<Command>>,
    writer: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Opens or makes the file (and its folder); after a crash it is repaired first. Blocks on the disk for a moment.
    pub fn open(settings: &EmbeddedSettings) -> Result<Self, StoreError> {
        let refuse = |e: &dyn std::fmt::Display| StoreError::Open(format!("{}: {e}", settings.path.display()));
        let database = file::open(&settings.path)?;
        let header = tables::prepare(&database).map_err(|e| refuse(&e))?;
        if header.format != FORMAT {
            return Err(refuse(&format!("format {} is not {FORMAT}, the one this version reads", header.format)));
        }
        let leases = tables::leases(&database).map_err(|e| refuse(&e))?;
        let shared = Arc::new(Shared { database, revision: changes::Sender::new(header.revision) });
        let (commands, received) = mpsc::channel();
        let writer = Writer::new(shared.clone(), received, header, leases, settings);
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(move || writer.run());
        let writer = Some(thread.map_err(|e| refuse(&e))?);
        Ok(Self { shared, commands: Some(commands), writer })
    }

    /// Reads on a snapshot, away from the runtime's threads.
    async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&redb::ReadTransaction) -> Result<T, DiskError> + Send + 'static,
    {
        let shared = self.shared.clone();
        let reading = tokio::task::spawn_blocking(move || read(&shared.database.begin_read()?));
        match reading.await {
            Ok(result) => result.map_err(|e: DiskError| unavailable(&e)),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Has the writer do something and waits until it is on disk.
    async fn write<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        if let Some(commands) = &self.commands {
            // When the writer is gone the answer says so.
            let _ = commands.send(command(reply));
        }
        let failed = |_| StoreError::Unavailable("the store's file could not be written; the log says why".to_owned());
        answer.await.map_err(failed)?
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(writer) = self.writer.take() {
            // It ends after the write under way, so that the file is free when this returns. A panic of its own was printed.
            let _ = writer.join();
        }
    }
}

#[async_trait::async_trait]
impl Store for Embedded {
    async fn range(&self, prefix: &str) -> Result<Range, StoreError> {
        let prefix = prefix.to_owned();
        self.read(move |txn| tables::range(txn, &prefix)).await
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let key = key.to_owned();
        self.read(move |txn| tables::get(txn, &key)).await
    }

    async fn commit(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Option<Revision>, StoreError> {
        commit::check(&compares, &ops)?;
        self.write(|reply| Command::Commit { compares, ops, reply }).await
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, StoreError> {
        Ok(watch::open(&self.shared, prefix.to_owned(), from))
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        self.write(|reply| Command::Grant { ttl, reply }).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<bool, StoreError> {
        self.write(|reply| Command::KeepAlive { lease, reply }).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.write(|reply| Command::Revoke { lease, reply }).await
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.write(|reply| Command::Compact { revision, reply }).await
    }

    fn kind(&self) -> &'static str {
        "embedded"
    }
}
