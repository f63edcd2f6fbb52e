//! Keeps one replica's view of the trust record current, whoever changes it.
//!
//! A watch from the revision that was read; when it breaks, or the store is away, what is known stays in force and is read again. A record
//! that cannot be read changes nothing.

use super::sign::Authority;
use super::trust::{ROOT, read};
use crate::store::{Entry, Event, StoreError};
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long to wait before reading again.
const AGAIN: Duration = Duration::from_secs(1);

/// Follows the record until told to end.
pub async fn follow(authority: Arc<Authority>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            Err(error) = once(&authority) => tracing::debug!(%error, "following the trust anchors anew"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// Comes back with the reason why the watch ended.
async fn once(authority: &Authority) -> Result<std::convert::Infallible, StoreError> {
    let gone = || StoreError::Unavailable("the record of the root of trust is gone".to_owned());
    let entry = authority.store().get(ROOT).await?.ok_or_else(gone)?;
    let from = entry.modified + 1;
    put(authority, &entry);
    let mut watch = authority.store().watch(ROOT, from).await?;
    while let Some(batch) = watch.next().await {
        for event in batch?.events {
            match event {
                Event::Put(entry) if entry.key == ROOT => put(authority, &entry),
                Event::Put(_) | Event::Delete { .. } => {}
            }
        }
    }
    Err(StoreError::Unavailable("the watch has ended".to_owned()))
}

fn put(authority: &Authority, entry: &Entry) {
    match read(entry, authority.trust_domain()) {
        Ok(trust) => authority.take(trust),
        Err(error) => tracing::error!(%error, "the trust anchors stay what they were"),
    }
}
