//! The registry: what the store says about the mesh, in memory, as views that proxies can be told.
//!
//! Stands between the store and the streams to the proxies. Fed by one range read and a watch from there (`follow`). While
//! the store is away the last world stays; a value that cannot be read leaves the last good one in force. Readers take no lock.

mod follow;
mod doubts;
mod attached;
mod state;
mod brake;
mod references;
pub mod conditions;
mod guards;
mod world;
mod changes;
mod published;

pub use brake::BrakeSettings;
pub use changes::{Pending, Subscriber, Target};
pub use published::{Counters, Troubles};
pub use world::{Counts, Versioned, World};

use crate::store::{Revision, Store};
use published::Published;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use weft_model::ServiceName;

/// A handle to the registry; clones are the same registry, and the last one to be dropped stops it.
#[derive(Clone)]
pub struct Registry {
    published: Arc<Published>,
    doubts: mpsc::Sender<ServiceName>,
    _following: Arc<Following>,
}

/// Stops the task when the registry is dropped.
struct Following(AbortHandle);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Registry {
    /// Starts to follow the store; must be called on a tokio runtime. The world is empty until [`Registry::ready`].
    pub fn start(store: Arc<dyn Store>, brake: BrakeSettings) -> Self {
        let published = Arc::new(Published::default());
        let (doubts, told) = mpsc::channel(doubts::QUEUED);
        let task = tokio::spawn(follow::follow(store, published.clone(), brake, told));
        Self { published, doubts, _following: Arc::new(Following(task.abort_handle())) }
    }

    /// The present world, which never changes under the reader's hands.
    pub fn world(&self) -> Arc<World> {
        self.published.world.load_full()
    }

    /// The store revision that the world reflects; 0 until it is ready.
    pub fn revision(&self) -> Revision {
        self.published.world.load().revision()
    }

    /// A new subscription to changes, watching nothing yet.
    pub fn changes(&self) -> Subscriber {
        Subscriber::new(self.published.board.clone())
    }

    /// A proxy cannot reach an endpoint of `service`: the store is asked whether it is still there.
    pub fn doubt(&self, service: &ServiceName) {
        // A full queue holds the same doubts already, or there is so much wrong that one more makes no difference.
        let _ = self.doubts.try_send(service.clone());
    }

    /// Whether the store has been read once.
    pub fn is_ready(&self) -> bool {
        *self.published.ready.borrow()
    }

    /// Waits until the store has been read once.
    pub async fn ready(&self) {
        // The sender lives as long as `self`.
        let _ = self.published.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// What an operator should look at now.
    pub fn troubles(&self) -> Arc<Troubles> {
        self.published.troubles.load_full()
    }

    pub fn counters(&self) -> &Counters {
        &self.published.counters
    }
}
