//! Which label sets belong to endpoints that nobody has any more.
//!
//! Beside the counters. Every worker that knows an endpoint enters it; when the last has left, its label sets are given back to be
//! removed, after a time in which every scraper has seen their last values. Locked when an endpoint comes or goes, or answers in a
//! way it has not answered before; never for a request.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the series of an endpoint that is gone are still shown: several times what scrapers commonly wait.
const SHOWN: Duration = Duration::from_secs(5 * 60);

/// All endpoints, and what they have left behind; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Departed<L>(Arc<Mutex<HashMap<String, Entry<L>>>>);

#[derive(Debug)]
struct Entry<L> {
    /// How many workers know it.
    known: usize,
    /// When the last of them forgot it.
    since: Option<Instant>,
    labels: Vec<L>,
}

/// One worker knows the endpoint for as long as this lives.
#[derive(Debug)]
pub(super) struct Stay<L: Eq + Hash> {
    key: String,
    all: Departed<L>,
}

impl<L> Default for Departed<L> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<L: Eq + Hash> Departed<L> {
    /// A worker knows the endpoint called `key`.
    pub(super) fn enter(&self, key: &str) -> Stay<L> {
        let mut all = self.locked();
        let entry = all.entry(key.to_owned()).or_insert_with(|| Entry { known: 0, since: None, labels: Vec::new() });
        entry.known += 1;
        entry.since = None;
        Stay { key: key.to_owned(), all: Self(Arc::clone(&self.0)) }
    }

    /// Gives `each` the label sets of those that are gone for good, once. Nobody comes back meanwhile.
    pub(super) fn gone(&self, now: Instant, each: impl Fn(&L)) {
        self.locked().retain(|_, entry| {
            let over = entry.since.is_some_and(|since| now.saturating_duration_since(since) > SHOWN);
            if over {
                entry.labels.iter().for_each(&each);
            }
            !over
        });
    }

    /// Each change is whole by itself, so that a map whose holder panicked is sound.
    fn locked(&self) -> MutexGuard<'_, HashMap<String, Entry<L>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L: Eq + Hash> Stay<L> {
    /// The endpoint has a series with these labels.
    pub(super) fn left_behind(&self, labels: L) {
        if let Some(entry) = self.all.locked().get_mut(&self.key)
            && !entry.labels.contains(&labels)
        {
            entry.labels.push(labels);
        }
    }
}

impl<L: Eq + Hash> Drop for Stay<L> {
    fn drop(&mut self) {
        if let Some(entry) = self.all.locked().get_mut(&self.key) {
            entry.known -= 1;
            if entry.known == 0 {
                entry.since = Some(Instant::now());
            }
        }
    }
}
