//! Leadership: which of the replicas does what only one may do, elected through the store.
//!
//! Whoever makes the key leads for as long as its lease lives. The lease alone proves nothing to a process that was paused: every
//! write of a leader carries [`Lead::fence`], so that the store itself refuses those of one who leads no more.

use crate::store::{Compare, Event, LeaseId, Op, Revision, Store, StoreError};
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// How long a leader that is heard of no more keeps others waiting.
const TTL: Duration = Duration::from_secs(10);
/// Renewals in one lifetime of the lease.
const RENEWALS: u32 = 4;
/// Pauses while the store does not answer, each with a random part.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// One candidate for one office.
#[derive(Clone)]
pub struct Election {
    store: Arc<dyn Store>,
    key: String,
    replica: String,
    ttl: Duration,
}

/// The office, for as long as it is held.
pub struct Lead {
    store: Arc<dyn Store>,
    key: String,
    created: Revision,
    lease: LeaseId,
    lost: CancellationToken,
    keeper: AbortHandle,
}

impl Election {
    /// For the office `office` as `replica`.
    pub fn new(store: Arc<dyn Store>, office: &str, replica: &str) -> Self {
        Self { store, key: format!("leaders/{office}"), replica: replica.to_owned(), ttl: TTL }
    }

    /// With a lease of another length.
    pub fn with_ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// Waits until this replica is elected.
    pub async fn win(&self) -> Lead {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.stand().await {
                Ok(Some(lead)) => return lead,
                Ok(None) => pause = FIRST_PAUSE,
                Err(error) => {
                    tracing::warn!(%error, office = self.key, "cannot stand for election; trying again");
                    sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Tries once, and waits for the office to become vacant if it is not.
    async fn stand(&self) -> Result<Option<Lead>, StoreError> {
        let range = self.store.range(&self.key).await?;
        if let Some(held) = range.entries.iter().find(|entry| entry.key == self.key) {
            let leader = String::from_utf8_lossy(&held.value).into_owned();
            tracing::debug!(office = self.key, leader, "somebody leads already");
            self.vacancy(range.revision + 1).await?;
            return Ok(None);
        }
        let asked = Instant::now();
        let lease = self.store.grant(self.ttl).await?;
        let value = self.replica.clone().into_bytes().into();
        let put = Op::Put { key: self.key.clone(), value, lease: Some(lease) };
        let made = match self.store.commit(vec![Compare::Absent(self.key.clone())], vec![put]).await {
            // Nobody knows whether it was done: whose lease the key has tells.
            Err(StoreError::Unavailable(_)) => {
                let entry = self.store.get(&self.key).await?;
                entry.filter(|entry| entry.lease == Some(lease)).map(|entry| entry.created)
            }
            made => made?,
        };
        let Some(created) = made else {
            // Should this fail, the lease runs out by itself; it holds nothing.
            let _ = self.store.revoke(lease).await;
            return Ok(None);
        };
        tracing::info!(office = self.key, replica = self.replica, created, "elected");
        let lost = CancellationToken::new();
        let keeping = keep(self.store.clone(), lease, self.ttl, asked, lost.clone());
        let keeper = tokio::spawn(keeping).abort_handle();
        Ok(Some(Lead { store: self.store.clone(), key: self.key.clone(), created, lease, lost, keeper }))
    }

    /// Waits until the key is deleted; at most for a lease's life, should the watch have missed it.
    async fn vacancy(&self, from: Revision) -> Result<(), StoreError> {
        let until = Instant::now() + self.ttl;
        let mut watch = self.store.watch(&self.key, from).await?;
        let gone = |event: &Event| matches!(event, Event::Delete { key } if *key == self.key);
        while let Ok(Some(batch)) = timeout_at(until, watch.next()).await {
            if batch?.events.iter().any(gone) {
                break;
            }
        }
        Ok(())
    }
}

/// Renews the lease until it cannot be renewed in time.
async fn keep(store: Arc<dyn Store>, lease: LeaseId, ttl: Duration, granted: Instant, lost: CancellationToken) {
    let every = ttl / RENEWALS;
    let mut renewed = granted;
    loop {
        sleep(every).await;
        let asked = Instant::now();
        let error = match timeout(every, store.keep_alive(lease)).await {
            Ok(Ok(true)) => {
                renewed = asked;
                continue;
            }
            Ok(Ok(false)) => {
                tracing::warn!("the lease of leadership has run out");
                return lost.cancel();
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        // One renewal before the store could have let it go.
        if renewed.elapsed() + every >= ttl {
            tracing::warn!(error, "leadership is given up: its lease cannot be renewed");
            return lost.cancel();
        }
        tracing::debug!(error, "the lease of leadership was not renewed; trying again");
    }
}

impl Lead {
    /// To be among the comparisons of every write: holds only while this very election does.
    pub fn fence(&self) -> Compare {
        Compare::Created(self.key.clone(), self.created)
    }

    /// Whether the store still has it so.
    pub async fn holds(&self) -> Result<bool, StoreError> {
        let entry = self.store.get(&self.key).await?;
        Ok(entry.is_some_and(|entry| entry.created == self.created))
    }

    /// Waits until leadership may have passed to somebody else.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Gives it up, so that another can be elected at once.
    pub async fn resign(self) {
        self.keeper.abort();
        // Should this fail, the lease runs out by itself.
        let _ = self.store.revoke(self.lease).await;
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

#[cfg(test)]
#[path = "leader_tests.rs"]
mod tests;
