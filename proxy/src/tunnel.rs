//! Bytes in both directions, unseen: opaque TCP, and HTTP connections after an upgrade.
//!
//! The last step of a connection that is not HTTP (any more). An orderly end of one direction becomes an orderly end on
//! the other side (half-close); a failure of either side resets both, so that nobody mistakes it for an end.

use crate::conn::{Conn, Passage, TURN};
use bytes::{Buf, BytesMut};
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
}

impl Direction {
    /// Moves until nothing more can be moved now or it is somebody else's turn; ready when this direction has ended.
    fn poll(&mut self, cx: &mut Context<'_>, from: &mut Conn, to: &mut Conn) -> Poll<io::Result<()>> {
        let begin = self.moved;
        while !self.finished {
            if self.moved - begin >= TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // What detection has read, or what the other side had no room for.
            while !from.buf.is_empty() {
                let n = ready!(to.poll_send(cx, &from.buf))?;
                if n == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                from.buf.advance(n);
                self.moved += n as u64;
            }
            from.buf = BytesMut::new();
            if self.ended {
                ready!(to.poll_finish(cx))?;
                self.finished = true;
                break;
            }
            // Nothing is read while there is something to send.
            ready!(to.poll_flush(cx))?;
            ready!(Passage::with(|passage| self.poll_pass(cx, from, to, passage)))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Moves what has come, once; what cannot be sent now is in the source's buffer then. Pending when nothing has come.
    fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Conn,
        to: &mut Conn,
        passage: &mut Passage,
    ) -> Poll<io::Result<()>> {
        let arrived = ready!(from.poll_load(cx, passage))?;
        self.ended = arrived == 0;
        to.send_loaded(cx, passage, &mut from.buf)?;
        self.moved += (arrived - from.buf.len()) as u64;
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
