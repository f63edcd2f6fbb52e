//! Moves one body from one connection to another: scan, write, read, with back-pressure.
//!
//! The innermost loop of HTTP/1 forwarding. What is written is exactly what was scanned; the head that goes before the
//! body and the first bytes of the body leave in one write. Fails with the side that failed.

use super::body::BodyScanner;
use super::framing::Framing;
use crate::conn::{Conn, READ_CHUNK, TURN};
use bytes::Buf;
use std::io;
use std::task::{Context, Poll, ready};

/// As much of a message at most is put together for one write.
const JOINED: usize = 16 * 1024;

/// Which side of the pump broke.
#[derive(Debug)]
pub enum PumpError {
    Read(io::Error),
    /// The sender ended before its body did.
    Cut,
    Malformed(&'static str),
    Write(io::Error),
}

/// Body bytes that were sent, kept for another attempt.
#[derive(Debug)]
pub struct Replay {
    bytes: Vec<u8>,
    limit: usize,
    overflowed: bool,
}

impl Replay {
    pub fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit, overflowed: false }
    }

    /// Everything sent so far can be sent again.
    pub fn possible(&self) -> bool {
        !self.overflowed
    }

    /// Everything sent so far, if all of it was kept.
    pub fn whole(&self) -> Option<&[u8]> {
        (!self.overflowed).then_some(&self.bytes[..])
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.overflowed || self.bytes.len() + bytes.len() > self.limit {
            self.overflowed = true;
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }
}

/// One body on its way, with what goes before it.
#[derive(Debug)]
pub struct Pump {
    scanner: BodyScanner,
    /// Head, and body bytes that travel in the same write.
    out: Vec<u8>,
    written: usize,
    /// Bytes at the front of the source's buffer that belong to the body.
    scanned: usize,
    unflushed: bool,
    finished: bool,
    pub moved: u64,
}

impl Pump {
    /// `head` is written before the body.
    pub fn new(framing: Framing, head: Vec<u8>) -> Self {
        Self {
            scanner: BodyScanner::new(framing),
            out: head,
            written: 0,
            scanned: 0,
            unflushed: true,
            finished: false,
            moved: 0,
        }
    }

    /// Everything has been written and flushed.
    pub fn finished(&self) -> bool {
        self.finished
    }

    /// The connection the body comes from can carry another message.
    pub fn source_complete(&self) -> bool {
        self.scanner.done() && self.scanned == 0
    }

    /// Starts over on another connection: `head` again, then what `replay` kept, then the rest from the source.
    pub fn restart(&mut self, head: &[u8], replay: Option<&Replay>) {
        self.out.clear();
        self.out.extend_from_slice(head);
        self.out.extend_from_slice(replay.map_or(&[], |replay| &replay.bytes));
        self.written = 0;
        self.unflushed = true;
        self.finished = false;
    }

    /// Gives the buffer back for the next message.
    pub fn into_buffer(mut self) -> Vec<u8> {
        self.out.clear();
        self.out
    }

    /// Moves what can be moved now, until it is somebody else's turn; ready when the body is complete, written and flushed.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Conn,
        to: &mut Conn,
        replay: &mut Option<Replay>,
    ) -> Poll<Result<(), PumpError>> {
        let begin = self.moved;
        while !self.finished {
            if self.moved - begin >= TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.scan(from)?;
            if self.written < self.out.len() {
                self.join_small(from, replay);
                let n = ready!(to.poll_send(cx, &self.out[self.written..])).map_err(PumpError::Write)?;
                self.written += n;
                self.unflushed = true;
                continue;
            }
            if self.scanned > 0 {
                let n = ready!(to.poll_send(cx, &from.buf[..self.scanned])).map_err(PumpError::Write)?;
                self.consume(from, n, replay);
                self.unflushed = true;
                continue;
            }
            if self.scanner.done() {
                return self.poll_end(cx, to);
            }
            match from.poll_fill(cx, READ_CHUNK) {
                Poll::Ready(Ok(0)) if self.scanner.endless() => return self.poll_end(cx, to),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(PumpError::Cut)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(PumpError::Read(error))),
                Poll::Pending => {
                    if self.unflushed {
                        ready!(to.poll_flush(cx)).map_err(PumpError::Write)?;
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn scan(&mut self, from: &Conn) -> Result<(), PumpError> {
        if !self.scanner.done() && from.buf.len() > self.scanned {
            self.scanned += self.scanner.scan(&from.buf[self.scanned..]).map_err(PumpError::Malformed)?;
        }
        Ok(())
    }

    /// Body bytes already here go out with the head: one system call and one TLS record fewer.
    fn join_small(&mut self, from: &mut Conn, replay: &mut Option<Replay>) {
        if self.written == 0 && self.scanned > 0 && self.out.len() + self.scanned <= JOINED {
            let n = self.scanned;
            self.out.extend_from_slice(&from.buf[..n]);
            self.consume(from, n, replay);
        }
    }

    fn consume(&mut self, from: &mut Conn, n: usize, replay: &mut Option<Replay>) {
        if let Some(replay) = replay {
            replay.keep(&from.buf[..n]);
        }
        from.buf.advance(n);
        self.scanned -= n;
        self.moved += n as u64;
    }

    fn poll_end(&mut self, cx: &mut Context<'_>, to: &mut Conn) -> Poll<Result<(), PumpError>> {
        if self.unflushed {
            ready!(to.poll_flush(cx)).map_err(PumpError::Write)?;
            self.unflushed = false;
        }
        self.finished = true;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
#[path = "pump_tests.rs"]
mod tests;
