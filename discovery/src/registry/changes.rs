//! Who wants to hear of which changes.
//!
//! Each subscriber has a set of targets that changed since it last asked; a target that changes often stands in it once.
//! So memory is bounded by what is watched, and a subscriber that is slow delays nobody.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use weft_model::ServiceName;

/// What can change and be watched.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// The view of a service, or whether there is one.
    Service(ServiceName),
    /// What an address stands for.
    Address(IpAddr),
    /// What session tokens are sealed with.
    SessionKeys,
    /// What a namespace says about access to its workloads.
    Guard(String),
    /// Which services a workload is an endpoint of.
    Workload { namespace: String, name: String },
}

/// Where the registry announces changes.
#[derive(Default)]
pub(super) struct Board {
    watchers: Mutex<HashMap<Target, HashMap<u64, Arc<Desk>>>>,
    last: AtomicU64,
}

/// Where one subscriber's changes pile up.
#[derive(Default)]
struct Desk {
    changed: Mutex<BTreeSet<Target>>,
    notify: Notify,
}

impl Desk {
    fn put(&self, target: Target) {
        lock(&self.changed).insert(target);
        self.notify.notify_one();
    }
}

/// A panic elsewhere leaves these maps whole: every change to them is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    /// To be called when the world that has the changes can be seen.
    pub(super) fn announce(&self, changed: impl IntoIterator<Item = Target>) {
        let watchers = lock(&self.watchers);
        for target in changed {
            for desk in watchers.get(&target).into_iter().flat_map(HashMap::values) {
                desk.put(target.clone());
            }
        }
    }
}

/// One reader's subscription to changes.
pub struct Subscriber {
    board: Arc<Board>,
    desk: Arc<Desk>,
    number: u64,
    watched: HashSet<Target>,
}

impl Subscriber {
    pub(super) fn new(board: Arc<Board>) -> Self {
        let number = board.last.fetch_add(1, Ordering::Relaxed);
        Self { board, desk: Arc::default(), number, watched: HashSet::new() }
    }

    /// Watches a target and marks it as changed, so that [`Subscriber::next`] yields it for a first look. `false`: it is
    /// watched already, and nothing was marked.
    pub fn watch(&mut self, target: Target) -> bool {
        if !self.watched.insert(target.clone()) {
            return false;
        }
        lock(&self.board.watchers).entry(target.clone()).or_default().insert(self.number, self.desk.clone());
        self.desk.put(target);
        true
    }

    /// `false`: it was not watched.
    pub fn unwatch(&mut self, target: &Target) -> bool {
        let watched = self.watched.remove(target);
        if watched {
            self.leave(target);
            lock(&self.desk.changed).remove(target);
        }
        watched
    }

    pub fn watched(&self) -> &HashSet<Target> {
        &self.watched
    }

    /// Waits for changes and takes them all, each target once. A world read afterwards has them. Nothing is lost when the
    /// future is dropped.
    pub async fn next(&mut self) -> Vec<Target> {
        loop {
            let changed = std::mem::take(&mut *lock(&self.desk.changed));
            if !changed.is_empty() {
                return changed.into_iter().collect();
            }
            self.desk.notify.notified().await;
        }
    }

    /// For others who want to know how far this subscriber is behind.
    pub fn pending(&self) -> Pending {
        Pending(self.desk.clone())
    }

    fn leave(&self, target: &Target) {
        let mut watchers = lock(&self.board.watchers);
        if let Some(desks) = watchers.get_mut(target) {
            desks.remove(&self.number);
            if desks.is_empty() {
                watchers.remove(target);
            }
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.watched.iter().for_each(|target| self.leave(target));
    }
}

/// How much a subscriber has not yet taken.
#[derive(Clone)]
pub struct Pending(Arc<Desk>);

impl Pending {
    pub fn count(&self) -> usize {
        lock(&self.0.changed).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn target(name: &str) -> Target {
        Target::Service(ServiceName::new("shop", name).unwrap())
    }

    #[tokio::test]
    async fn changes_pile_up_once_per_target() {
        let board = Arc::new(Board::default());
        let mut subscriber = Subscriber::new(board.clone());
        assert!(subscriber.watch(target("a")));
        assert!(!subscriber.watch(target("a")));
        assert_eq!(subscriber.next().await, [target("a")]);
        for _ in 0..1000 {
            board.announce([target("a"), target("unwatched")]);
        }
        subscriber.watch(target("b"));
        assert_eq!(subscriber.pending().count(), 2);
        assert_eq!(subscriber.next().await, [target("a"), target("b")]);
        assert!(subscriber.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_loses_nothing() {
        let board = Arc::new(Board::default());
        let mut subscriber = Subscriber::new(board.clone());
        subscriber.watch(target("a"));
        subscriber.next().await;
        assert!(subscriber.next().now_or_never().is_none());
        board.announce([target("a")]);
        assert_eq!(subscriber.next().await, [target("a")]);
    }

    #[tokio::test]
    async fn what_is_no_longer_watched_is_forgotten() {
        let board = Arc::new(Board::default());
        let mut subscriber = Subscriber::new(board.clone());
        subscriber.watch(target("a"));
        subscriber.watch(target("b"));
        assert!(subscriber.unwatch(&target("a")));
        assert!(!subscriber.unwatch(&target("a")));
        assert_eq!(subscriber.next().await, [target("b")]);
        drop(subscriber);
        assert!(lock(&board.watchers).is_empty());
    }
}
