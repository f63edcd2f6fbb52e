//! Bytes in both directions, unseen: opaque TCP, and HTTP connections after an upgrade.
//!
//! The last step of a connection that is not HTTP (any more). An orderly end of one direction becomes an orderly end on
//! the other side (half-close); a failure of either side resets both, so that nobody mistakes it for an end.

use crate::conn::{BULK, Conn, TURN};
use bytes::{Buf, BytesMut};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

/// What went through, in bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    pub sent: u64,
    pub received: u64,
}

thread_local! {
    /// What comes on any tunnel of this worker, until it is sent: so that they hold no memory of their own while it all fits.
    static PASSING: RefCell<Box<[u8; BULK]>> = RefCell::new(Box::new([0; BULK]));
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
                let n = ready!(self.poll_send(cx, to, &from.buf))?;
                from.buf.advance(n);
            }
            from.buf = BytesMut::new();
            if self.ended {
                ready!(to.poll_finish(cx))?;
                self.finished = true;
                break;
            }
            let passed = PASSING.with_borrow_mut(|passing| self.poll_pass(cx, from, to, &mut passing[..]))?;
            if passed.is_pending() {
                if self.unflushed {
                    ready!(to.poll_flush(cx))?;
                    self.unflushed = false;
                }
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Moves what has come, once; what cannot be sent now is in the source's buffer then. Pending when nothing has come.
    fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Conn,
        to: &mut Conn,
        passing: &mut [u8],
    ) -> Poll<io::Result<()>> {
        let arrived = ready!(from.poll_gather(cx, &mut &mut *passing))?;
        self.ended = arrived == 0;
        let mut unsent = &passing[..arrived];
        while !unsent.is_empty() {
            match self.poll_send(cx, to, unsent)? {
                Poll::Ready(n) => unsent = &unsent[n..],
                Poll::Pending => {
                    from.buf.extend_from_slice(unsent);
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, to: &mut Conn, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let n = ready!(to.poll_send(cx, bytes))?;
        if n == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.moved += n as u64;
        self.unflushed = true;
        Poll::Ready(Ok(n))
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
