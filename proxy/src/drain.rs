//! The end of a proxy's life, in phases that never go back.
//!
//! `Serving` -> `Settling` (the registration is withdrawn; connections still come in from clients that have not heard of
//! it, and every answer asks them to leave) -> `Closed` (nothing new, idle connections end; what is in flight may finish,
//! bounded by the drain time-out). Every connection holds a [`Ticket`] of its direction, so that the end can be waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Which way a connection goes, seen from the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Inbound,
    Outbound,
}

impl Direction {
    /// As labels and lines have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

const SERVING: u8 = 0;
const SETTLING: u8 = 1;

#[derive(Debug, Default)]
struct State {
    phase: AtomicU8,
    settling: CancellationToken,
    inbound_closed: CancellationToken,
    outbound_closed: CancellationToken,
    open: [AtomicUsize; 2],
    left: Notify,
}

/// Shared by every task of the process.
#[derive(Debug, Clone, Default)]
pub struct Drain(Arc<State>);

impl Drain {
    /// Answers should ask clients to leave. Cheap enough for every request.
    pub fn begun(&self) -> bool {
        self.0.phase.load(Ordering::Relaxed) != SERVING
    }

    /// The registration is withdrawn: answers ask to leave.
    pub fn settle(&self) {
        self.0.phase.store(SETTLING, Ordering::Relaxed);
        self.0.settling.cancel();
    }

    /// Stops accepting in this direction; idle connections end.
    pub fn close(&self, direction: Direction) {
        self.closed_token(direction).cancel();
    }

    /// Completes when draining has begun.
    pub async fn wait_begun(&self) {
        self.0.settling.cancelled().await;
    }

    /// Completes when nothing more is to be accepted in this direction, and idle connections end.
    pub async fn wait_closed(&self, direction: Direction) {
        self.closed_token(direction).cancelled().await;
    }

    /// Counts one connection for as long as the ticket lives.
    pub fn enter(&self, direction: Direction) -> Ticket {
        self.0.open[direction as usize].fetch_add(1, Ordering::Relaxed);
        Ticket { state: Arc::clone(&self.0), direction }
    }

    /// Connections open in this direction.
    pub fn open(&self, direction: Direction) -> usize {
        self.0.open[direction as usize].load(Ordering::Relaxed)
    }

    /// Completes when no connection of this direction is left.
    pub async fn wait_empty(&self, direction: Direction) {
        loop {
            let left = self.0.left.notified();
            tokio::pin!(left);
            // Registered before the count is read, so that a departure in between is not missed.
            left.as_mut().enable();
            if self.open(direction) == 0 {
                return;
            }
            left.await;
        }
    }

    fn closed_token(&self, direction: Direction) -> &CancellationToken {
        match direction {
            Direction::Inbound => &self.0.inbound_closed,
            Direction::Outbound => &self.0.outbound_closed,
        }
    }
}

/// One open connection.
#[derive(Debug)]
pub struct Ticket {
    state: Arc<State>,
    direction: Direction,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.state.open[self.direction as usize].fetch_sub(1, Ordering::AcqRel) == 1 {
            self.state.left.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_is_reached_when_the_last_ticket_goes() {
        let drain = Drain::default();
        let ticket = drain.enter(Direction::Inbound);
        drain.wait_empty(Direction::Outbound).await;
        let waiting = tokio::spawn({
            let drain = drain.clone();
            async move { drain.wait_empty(Direction::Inbound).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(ticket);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn settling_and_closing_are_seen() {
        let drain = Drain::default();
        assert!(!drain.begun());
        drain.settle();
        assert!(drain.begun());
        drain.wait_begun().await;
        drain.close(Direction::Inbound);
        drain.wait_closed(Direction::Inbound).await;
    }
}
