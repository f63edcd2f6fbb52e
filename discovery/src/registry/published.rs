//! What the registry shows: the world, the news of it, and what is counted.
//!
//! Written by `follow` alone, world first, so that whoever hears of news sees them. Readers take no lock.

use super::changes::Board;
use super::world::World;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::watch;
use weft_model::ServiceName;

/// What readers see of the registry.
#[derive(Default)]
pub(super) struct Published {
    pub(super) world: ArcSwap<World>,
    pub(super) board: Arc<Board>,
    pub(super) ready: watch::Sender<bool>,
    pub(super) counters: Counters,
    pub(super) troubles: ArcSwap<Troubles>,
}

/// What an operator should look at, by name.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Troubles {
    /// Services whose vanished endpoints the brake keeps, in order.
    pub braked: Vec<ServiceName>,
    /// Keys whose value cannot be read, in order; the first [`Troubles::NAMED`] of them.
    pub unreadable: Vec<String>,
}

impl Troubles {
    /// How many keys are named.
    pub const NAMED: usize = 20;

    /// Costs nothing while all is well.
    pub(super) fn of<'a>(
        braked: impl Iterator<Item = &'a ServiceName>,
        unreadable: impl Iterator<Item = &'a String>,
    ) -> Self {
        let (mut braked, mut unreadable): (Vec<_>, Vec<_>) = (braked.cloned().collect(), unreadable.cloned().collect());
        braked.sort_unstable();
        unreadable.sort_unstable();
        unreadable.truncate(Self::NAMED);
        Self { braked, unreadable }
    }
}

/// What there is to count about the registry.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) skipped: AtomicU64,
    pub(super) unreadable: AtomicU64,
    pub(super) resyncs: AtomicU64,
    pub(super) doubts: AtomicU64,
    pub(super) brakes: AtomicU64,
    pub(super) braking: AtomicU64,
    pub(super) connected: AtomicBool,
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

    /// How often the store was asked about a service that a proxy doubts.
    pub fn doubts(&self) -> u64 {
        self.doubts.load(Ordering::Relaxed)
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
