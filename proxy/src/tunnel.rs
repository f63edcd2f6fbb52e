//! Bytes in both directions, unseen: opaque TCP, and HTTP connections after an upgrade.
//!
//! The last step of a connection that is not HTTP (any more). An orderly end of one direction becomes an orderly end on
//! the other side (half-close); a failure of either side resets both, so that nobody mistakes it for an end.

use crate::conn::{Conn, READ_CHUNK};
use bytes::Buf;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

/// What went through, in bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    pub sent: u64,
    pub received: u64,
}

/// One direction.
#[derive(Debug, Default)]
struct Direction {
    moved: u64,
    ended: bool,
    finished: bool,
    unflushed: bool,
}

impl Direction {
    /// Moves until nothing more can be moved now; ready when this direction has ended.
    fn poll(&mut self, cx: &mut Context<'_>, from: &mut Conn, to: &mut Conn) -> Poll<io::Result<()>> {
        while !self.finished {
            while !from.buf.is_empty() {
                let n = ready!(to.poll_send(cx, &from.buf))?;
                if n == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                from.buf.advance(n);
                self.moved += n as u64;
                self.unflushed = true;
            }
            if self.ended {
                ready!(to.poll_finish(cx))?;
                self.finished = true;
                break;
            }
            match from.poll_fill(cx, READ_CHUNK)? {
                Poll::Ready(0) => self.ended = true,
                Poll::Ready(_) => {}
                Poll::Pending => {
                    if self.unflushed {
                        ready!(to.poll_flush(cx))?;
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Moves bytes until both directions have ended or one has failed. What either side has buffered goes first.
/// An error means that the caller must abort both connections.
pub async fn run(client: &mut Conn, server: &mut Conn) -> (Moved, io::Result<()>) {
    let (mut up, mut down) = (Direction::default(), Direction::default());
    let result = poll_fn(|cx| {
        let sent = up.poll(cx, client, server)?;
        let received = down.poll(cx, server, client)?;
        match (sent, received) {
            (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    })
    .await;
    (Moved { sent: up.moved, received: down.moved }, result)
}
