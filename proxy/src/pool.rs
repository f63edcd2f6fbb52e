//! Upstream connections of one endpoint port that wait for work. One worker's own: no locks, no sharing.
//!
//! HTTP/1 connections are kept newest first, so that under falling load the oldest grow idle and are closed. HTTP/2 has
//! one connection that all requests share. A connection that is no longer alive is never handed out knowingly.

use crate::conn::Conn;
use crate::error::Failure;
use bytes::Bytes;
use h2::client::SendRequest;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Idle HTTP/1 connections kept per endpoint port and worker.
const MAX_IDLE: usize = 256;

/// The connections to one port of one endpoint.
#[derive(Debug, Default)]
pub struct Pool {
    idle: RefCell<Vec<(Conn, Instant)>>,
    /// The lock is held while connecting, so that a burst of requests makes one connection, not one each.
    shared: Mutex<Option<(u64, SendRequest<Bytes>)>>,
    /// Tells shared connections apart, so that a failed one is discarded once.
    generation: Cell<u64>,
}

impl Pool {
    /// The most recently used connection that is still alive and has not been idle for longer than `most_idle`.
    pub fn take(&self, now: Instant, most_idle: Duration) -> Option<Conn> {
        loop {
            let (mut conn, since) = self.idle.borrow_mut().pop()?;
            if now.saturating_duration_since(since) > most_idle {
                self.idle.borrow_mut().push((conn, since));
                return None;
            }
            if conn.idle_and_alive() {
                return Some(conn);
            }
        }
    }

    /// Keeps a connection whose last exchange is complete.
    pub fn put(&self, conn: Conn, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < MAX_IDLE {
            idle.push((conn, now));
        }
    }

    /// Closes what has been idle for longer than `limit`; returns how many are left.
    pub fn sweep(&self, now: Instant, limit: Duration) -> usize {
        let mut idle = self.idle.borrow_mut();
        // Oldest first, as they were put.
        let keep_from = idle.partition_point(|(_, since)| now.saturating_duration_since(*since) > limit);
        idle.drain(..keep_from);
        if idle.is_empty() {
            idle.shrink_to_fit();
        }
        idle.len()
    }

    /// The shared HTTP/2 connection, made by `open` when there is none that still takes requests.
    /// The flag says whether the connection had served before.
    pub async fn share<F>(&self, open: impl FnOnce() -> F) -> Result<(u64, SendRequest<Bytes>, bool), Failure>
    where
        F: Future<Output = Result<SendRequest<Bytes>, Failure>>,
    {
        let mut shared = self.shared.lock().await;
        if let Some((generation, sender)) = shared.as_ref() {
            // A closed connection, or one that has said GOAWAY, reports an error here.
            if let Ok(ready) = sender.clone().ready().await {
                return Ok((*generation, ready, true));
            }
        }
        *shared = None;
        let sender = open().await?;
        let generation = self.generation.get() + 1;
        self.generation.set(generation);
        *shared = Some((generation, sender.clone()));
        Ok((generation, sender, false))
    }

    /// Gives up the shared connection `generation` after it failed a request.
    pub async fn discard(&self, generation: u64) {
        let mut shared = self.shared.lock().await;
        if shared.as_ref().is_some_and(|(present, _)| *present == generation) {
            *shared = None;
        }
    }
}
