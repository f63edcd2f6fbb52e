//! The registry: what the store says about the mesh, in memory, as views that proxies can be told.
//!
//! Stands between the store and the streams to the proxies. Fed by one range read and a watch from there (`follow`). While
//! the store is away the last world stays; a value that cannot be read leaves the last good one in force. Readers take no lock.

mod follow;
mod state;
mod brake;
mod world;
mod changes;

pub use brake::BrakeSettings;
pub use changes::{Pending, Subscriber, Target};
pub use world::{Counts, Versioned, World};

use crate::store::{Revision, Store};
use arc_swap::ArcSwap;
use changes::Board;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// A handle to the registry; clones are the same registry, and the last one to be dropped stops it.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
    _following: Arc<Following>,
}

/// What the task that follows the store shares with readers.
struct Shared {
    world: ArcSwap<World>,
    board: Arc<Board>,
    ready: watch::Sender<bool>,
    counters: Counters,
}

/// What there is to count about the registry.
#[derive(Debug, Default)]
pub struct Counters {
    skipped: AtomicU64,
    unreadable: AtomicU64,
    resyncs: AtomicU64,
    brakes: AtomicU64,
    braking: AtomicU64,
    connected: AtomicBool,
}

impl Counters {
    /// Values that could not be read, each counted once, since the start.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Keys in the store whose value cannot be read now.
    pub fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }

    /// How often the store was read again because its watch broke or its history was compacted.
    pub fn resyncs(&self) -> u64 {
        self.resyncs.load(Ordering::Relaxed)
    }

    /// How often the brake went on for a service.
    pub fn brakes(&self) -> u64 {
        self.brakes.load(Ordering::Relaxed)
    }

    /// Services whose vanished endpoints the brake keeps now.
    pub fn braking(&self) -> u64 {
        self.braking.load(Ordering::Relaxed)
    }

    /// Whether the store answers: the world is as fresh as its watch.
    pub fn connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }
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
        let shared = Arc::new(Shared {
            world: ArcSwap::from_pointee(World::default()),
            board: Arc::new(Board::default()),
            ready: watch::Sender::new(false),
            counters: Counters::default(),
        });
        let task = tokio::spawn(follow::follow(store, shared.clone(), brake));
        Self { shared, _following: Arc::new(Following(task.abort_handle())) }
    }

    /// The present world, which never changes under the reader's hands.
    pub fn world(&self) -> Arc<World> {
        self.shared.world.load_full()
    }

    /// The store revision that the world reflects; 0 until it is ready.
    pub fn revision(&self) -> Revision {
        self.shared.world.load().revision()
    }

    /// A new subscription to changes, watching nothing yet.
    pub fn changes(&self) -> Subscriber {
        Subscriber::new(self.shared.board.clone())
    }

    /// Whether the store has been read once.
    pub fn is_ready(&self) -> bool {
        *self.shared.ready.borrow()
    }

    /// Waits until the store has been read once.
    pub async fn ready(&self) {
        // The sender lives as long as `self`.
        let _ = self.shared.ready.subscribe().wait_for(|ready| *ready).await;
    }

    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }
}
