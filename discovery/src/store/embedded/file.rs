//! The embedded store's file: where it is, how much history it keeps, and what everybody who has it open shares.
//!
//! Stands below the writer, the reads and the watches. Opening fails with [`StoreError::Open`] when another process has the file.

use super::lease::{Clock, SystemClock};
use crate::store::{Revision, StoreError};
use redb::{Database, DatabaseError};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch as changes;

/// How the embedded store is kept.
#[derive(Clone)]
pub struct EmbeddedSettings {
    pub path: PathBuf,
    /// Events kept for watches; the oldest revisions are compacted when there are more ...
    pub history_events: u64,
    /// ... or when together they are larger than this.
    pub history_bytes: u64,
    /// What time it is for leases.
    pub clock: Arc<dyn Clock>,
}

impl EmbeddedSettings {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            history_events: 10_000,
            history_bytes: 64 * 1024 * 1024,
            clock: Arc::new(SystemClock),
        }
    }
}

/// What readers, watches and the writer have in common.
pub(super) struct Shared {
    pub(super) database: Database,
    /// The revision of the last commit that is on disk.
    pub(super) revision: changes::Sender<Revision>,
}

/// Opens the file for its owner alone: it holds the mesh's secrets.
pub(super) fn open(path: &Path) -> Result<Database, StoreError> {
    let refuse = |e: &dyn std::fmt::Display| StoreError::Open(format!("{}: {e}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| refuse(&e))?;
    }
    let opened = || -> std::io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
    };
    let file = opened().map_err(|e| refuse(&e))?;
    Database::builder().create_file(file).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => refuse(&"another process has it open"),
        error => refuse(&error),
    })
}

/// The file failed, and may work again.
pub(super) fn unavailable(error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("embedded store: {error}"))
}
