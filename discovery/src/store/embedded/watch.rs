//! A watch on the embedded store: reads the history from where it stands, then waits for the next revision.
//!
//! The history in the file is its only buffer, so a slow reader costs nothing; one that is too slow finds its place compacted.
//! Ends with `Unavailable` when the store is closed.

use super::file::{Shared, unavailable};
use super::tables::{self, DiskError, Stretch};
use crate::store::{Batch, Revision, StoreError, Watch};
use futures::StreamExt;
use redb::ReadableDatabase;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use tokio::sync::watch::Receiver;

struct Following {
    /// Weak, so that a watch nobody drops does not keep the file open.
    shared: Weak<Shared>,
    revision: Receiver<Revision>,
    prefix: String,
    next: Revision,
    ready: VecDeque<Batch>,
    ended: bool,
}

pub(super) fn open(shared: &Arc<Shared>, prefix: String, from: Revision) -> Watch {
    let following = Following {
        shared: Arc::downgrade(shared),
        revision: shared.revision.subscribe(),
        prefix,
        // There is no revision 0, and nothing happened at 1.
        next: from.max(1),
        ready: VecDeque::new(),
        ended: false,
    };
    futures::stream::unfold(following, Following::following).boxed()
}

impl Following {
    async fn following(mut self) -> Option<(Result<Batch, StoreError>, Self)> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Some((Ok(batch), self));
            }
            if self.ended {
                return None;
            }
            if let Err(error) = self.read().await {
                self.ended = true;
                return Some((Err(error), self));
            }
        }
    }

    /// Waits until there is history from `next` on and takes a stretch of it.
    async fn read(&mut self) -> Result<(), StoreError> {
        let next = self.next;
        let closed = || StoreError::Unavailable("the embedded store is closed".to_owned());
        if self.revision.wait_for(|revision| *revision >= next).await.is_err() {
            return Err(closed());
        }
        let shared = self.shared.upgrade().ok_or_else(closed)?;
        let prefix = self.prefix.clone();
        let reading = tokio::task::spawn_blocking(move || -> Result<Stretch, DiskError> {
            tables::history(&shared.database.begin_read()?, &prefix, next)
        });
        match reading.await.map_err(|e| unavailable(&e))?.map_err(|e| unavailable(&e))? {
            Stretch::Compacted { oldest } => Err(StoreError::Compacted { oldest }),
            Stretch::Kept { batches, until } => {
                self.next = until + 1;
                self.ready.extend(batches);
                if self.ready.is_empty() {
                    self.ready.push_back(Batch { revision: until, events: Vec::new() });
                }
                Ok(())
            }
        }
    }
}
