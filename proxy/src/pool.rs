//! Upstream connections of one endpoint port that wait for work. One worker's own: no locks, no sharing.
//!
//! HTTP/1 connections are kept newest first, so that under falling load the oldest grow idle and are closed. HTTP/2
//! requests share one connection, and more of them where the endpoint does not let so many streams be open on one. A
//! connection that is no longer alive is never handed out knowingly.

use crate::breaker::Permit;
use crate::conn::Conn;
use crate::error::Failure;
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use h2::client::SendRequest;
use prometheus_client::metrics::gauge::Gauge;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use weft_telemetry::metrics::OpenConnection;

/// Idle HTTP/1 connections kept per endpoint port and worker.
const MAX_IDLE: usize = 256;
/// HTTP/2 connections per endpoint port and worker; when all are full, requests wait on one of them.
const MAX_SHARED: usize = 32;

/// The connections to one port of one endpoint.
#[derive(Debug, Default)]
pub struct Pool {
    /// Oldest first.
    idle: RefCell<VecDeque<Idle>>,
    /// Of those, among all pools of the service.
    gauge: Gauge,
    /// The lock is held while connecting, so that a burst of requests makes one connection, not one each.
    shared: Mutex<Shared>,
}

/// A connection that waits, and since when.
#[derive(Debug)]
struct Idle {
    conn: Conn,
    since: Instant,
    _counted: OpenConnection,
}

#[derive(Debug, Default)]
struct Shared {
    connections: Vec<Connection>,
    /// When connecting failed last, and why: whoever waited for that very try need not make another.
    failed: Option<(Instant, Failure)>,
}

/// An HTTP/2 connection and how many streams of ours are open on it.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Bytes>,
    streams: Rc<Streams>,
}

/// The streams of ours on one connection.
#[derive(Debug)]
struct Streams {
    open: Cell<usize>,
    /// The connection's place among those of its service.
    _place: Option<Permit>,
}

/// A stream's place on a shared connection, taken for as long as the value lives.
#[derive(Debug)]
pub struct Place(Rc<Streams>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

impl Connection {
    /// `None`: the connection is closed, or has said GOAWAY.
    fn take(&self) -> Option<(SendRequest<Bytes>, Place)> {
        // A handle that has sent nothing yet is ready at once, or never.
        let sender = self.sender.clone().ready().now_or_never()?.ok()?;
        self.streams.open.set(self.streams.open.get() + 1);
        Some((sender, Place(Rc::clone(&self.streams))))
    }

    /// The peer's SETTINGS_MAX_CONCURRENT_STREAMS leave room. Streams beyond it would wait inside `h2`, for ever behind
    /// long-lived ones.
    fn has_room(&self) -> bool {
        self.streams.open.get() < self.sender.current_max_send_streams()
    }
}

impl Shared {
    /// A place on the first with room, so that under falling load the later ones grow idle.
    fn with_room(&mut self) -> Option<(SendRequest<Bytes>, Place)> {
        while let Some(at) = self.connections.iter().position(Connection::has_room) {
            match self.connections[at].take() {
                Some(taken) => return Some(taken),
                None => drop(self.connections.remove(at)),
            }
        }
        None
    }

    /// A place on the one with the fewest streams, where it has to wait.
    fn least_busy(&self) -> Option<(SendRequest<Bytes>, Place)> {
        self.connections.iter().min_by_key(|connection| connection.streams.open.get()).and_then(Connection::take)
    }

    /// Closes connections without streams, but for the first, which the next request will use; returns how many are left.
    fn sweep(&mut self) -> usize {
        self.connections.retain(|connection| connection.take().is_some());
        let mut first = true;
        self.connections.retain(|connection| std::mem::take(&mut first) || connection.streams.open.get() > 0);
        self.connections.len()
    }
}

impl Pool {
    /// `gauge` shows how many connections wait.
    pub fn shown_by(gauge: Gauge) -> Self {
        Self { gauge, ..Self::default() }
    }

    /// The most recently used connection that is still alive and has not been idle for longer than `most_idle`.
    pub fn take(&self, now: Instant, most_idle: Duration) -> Option<Conn> {
        loop {
            let mut kept = self.idle.borrow_mut().pop_back()?;
            if now.saturating_duration_since(kept.since) > most_idle {
                self.idle.borrow_mut().push_back(kept);
                return None;
            }
            if kept.conn.idle_and_alive() {
                return Some(kept.conn);
            }
        }
    }

    /// Keeps a connection whose last exchange is complete.
    pub fn put(&self, mut conn: Conn, now: Instant) {
        // Nothing is in it, and its memory is not needed until the next answer.
        conn.buf = BytesMut::new();
        let mut idle = self.idle.borrow_mut();
        // The fresh one is worth more: requests that cannot be repeated use no other.
        if idle.len() >= MAX_IDLE {
            idle.pop_front();
        }
        idle.push_back(Idle { conn, since: now, _counted: OpenConnection::counted(&self.gauge) });
    }

    /// Closes what has been idle for longer than `limit`; returns how many connections are left.
    pub fn sweep(&self, now: Instant, limit: Duration) -> usize {
        let mut idle = self.idle.borrow_mut();
        let keep_from = idle.partition_point(|kept| now.saturating_duration_since(kept.since) > limit);
        idle.drain(..keep_from);
        if idle.is_empty() {
            idle.shrink_to_fit();
        }
        // The lock is taken only while a connection is made, which then is left.
        idle.len() + self.shared.try_lock().map_or(1, |mut shared| shared.sweep())
    }

    /// Closes the connection that has been idle for longest, if there is one; HTTP/2 connections without streams are idle.
    pub fn shed(&self) -> bool {
        if self.idle.borrow_mut().pop_front().is_some() {
            return true;
        }
        let Ok(mut shared) = self.shared.try_lock() else { return false };
        let idle = shared.connections.iter().position(|connection| connection.streams.open.get() == 0);
        idle.map(|at| shared.connections.remove(at)).is_some()
    }

    /// A place on a shared HTTP/2 connection for which nobody has to wait.
    pub fn share_now(&self) -> Option<(SendRequest<Bytes>, Place)> {
        self.shared.try_lock().ok()?.with_room()
    }

    /// A place on a shared HTTP/2 connection; `open` makes another when there is none with room. `now`: the caller began
    /// to wait.
    pub async fn share<F>(&self, now: Instant, open: impl FnOnce() -> F) -> Result<(SendRequest<Bytes>, Place), Failure>
    where
        F: Future<Output = Result<(SendRequest<Bytes>, Option<Permit>), Failure>>,
    {
        let mut shared = self.shared.lock().await;
        if let Some(taken) = shared.with_room() {
            return Ok(taken);
        }
        if shared.connections.len() >= MAX_SHARED
            && let Some(taken) = shared.least_busy()
        {
            return Ok(taken);
        }
        if let Some((_, failure)) = shared.failed.as_ref().filter(|(at, _)| *at >= now) {
            return Err(failure.clone());
        }
        match open().await {
            Ok((sender, place)) => {
                let streams = Rc::new(Streams { open: Cell::new(0), _place: place });
                let connection = Connection { sender, streams };
                let taken = connection.take().ok_or(Failure::RefusedStream)?;
                shared.connections.push(connection);
                Ok(taken)
            }
            // No more connections: one that is full is better than none.
            Err(failure @ Failure::CircuitOpen(_)) => shared.least_busy().ok_or(failure),
            Err(failure) => {
                shared.failed = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    /// Gives up the shared connection that `place` is on, after it failed a request.
    pub async fn discard(&self, place: &Place) {
        self.shared.lock().await.connections.retain(|connection| !Rc::ptr_eq(&connection.streams, &place.0));
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
