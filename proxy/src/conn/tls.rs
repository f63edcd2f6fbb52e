//! A TLS connection between two sidecars, after its handshake: what is read is opened where it lies, what is sent sealed there.
//!
//! The records are ours because bytes that only pass need no copy of their own: rustls makes one into a record, and three of what
//! comes. Handshakes, certificates, tickets and keys are rustls' ([`handshake`], `session`).

pub mod handshake;
mod keys;
mod session;

pub use keys::{HEAD, PAYLOAD, TAIL};

use super::passage::{BULK, Passage};
use bytes::{Buf, BytesMut};
use keys::{Broken, Content, LONGEST, Opener, Sealer};
use session::{Asked, Session, UPDATED};
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use weft_identity::tls::Alpn;

/// The peer will send nothing more, and wants us to know (RFC 8446 section 6.1).
const CLOSE_NOTIFY: u8 = 0;
/// Only announces an end.
const USER_CANCELED: u8 = 90;

/// A connection and its keys. Its buffers hold no memory while they are empty.
pub struct Tls {
    stream: TcpStream,
    session: Session,
    alpn: Option<Alpn>,
    sealer: Sealer,
    opener: Opener,
    /// Has come, and is not a whole record yet.
    sealed: BytesMut,
    /// Was opened, and is not used yet.
    opened: BytesMut,
    /// Was sealed, and is not sent yet.
    unsent: BytesMut,
    /// The last read filled all the room that it was given.
    bulk: bool,
    /// The peer wants what is sealed next to be so by a new key.
    owes_key: bool,
    /// The peer's end has come.
    ended: bool,
    /// Ours is sent, or on its way.
    finishing: bool,
    /// A failure that is to be told when what came before it has been.
    failed: Option<io::Error>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("stream", &self.stream).field("alpn", &self.alpn).finish_non_exhaustive()
    }
}

/// Reading.
impl Tls {
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The negotiated protocol.
    pub fn alpn(&self) -> Option<Alpn> {
        self.alpn
    }

    /// Whether something has been read that nobody has asked for yet.
    pub fn is_ahead(&self) -> bool {
        !self.opened.is_empty() || !self.sealed.is_empty()
    }

    /// Hands what has come to `give`, up to `most` bytes; how many these were, 0 at the end.
    pub fn poll_give(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        mut give: impl FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        if !self.opened.is_empty() {
            let given = most.min(self.opened.len());
            give(&self.opened[..given]);
            self.use_opened(given);
            return Poll::Ready(Ok(given));
        }
        Passage::with(|passage| {
            ready!(self.poll_open(cx, passage, most))?;
            let mut left = most;
            for part in passage.parts() {
                let (now, later) = part.split_at(left.min(part.len()));
                give(now);
                left -= now.len();
                self.opened.extend_from_slice(later);
            }
            Poll::Ready(Ok(most - left))
        })
    }

    /// Fills an empty `passage` with what has come; how many bytes, 0 at the end.
    pub fn poll_load(&mut self, cx: &mut Context<'_>, passage: &mut Passage) -> Poll<io::Result<usize>> {
        if self.opened.is_empty() {
            return self.poll_open(cx, passage, BULK);
        }
        let loaded = passage.load(&self.opened);
        self.use_opened(loaded);
        Poll::Ready(Ok(loaded))
    }

    fn use_opened(&mut self, used: usize) {
        self.opened.advance(used);
        if self.opened.is_empty() {
            self.opened = BytesMut::new();
        }
    }

    /// Reads about `most` bytes, more when they come in bulk, and opens every record that is whole then.
    fn poll_open(&mut self, cx: &mut Context<'_>, passage: &mut Passage, most: usize) -> Poll<io::Result<usize>> {
        if let Some(failure) = self.failed.take() {
            return Poll::Ready(Err(failure));
        }
        let bytes = passage.clear();
        let mut end = self.sealed.len();
        bytes[..end].copy_from_slice(&self.sealed);
        self.sealed = BytesMut::new();
        let room = if self.bulk { bytes.len() } else { (most + LONGEST).max(end + LONGEST).min(bytes.len()) };
        loop {
            match self.open_whole(passage, end) {
                Err(failure) if passage.is_empty() => return Poll::Ready(Err(failure)),
                Err(failure) => self.failed = Some(failure),
                Ok(_) if self.ended => {}
                Ok(begin) if !passage.is_empty() => self.sealed.extend_from_slice(&passage.bytes()[begin..end]),
                Ok(begin) => {
                    let bytes = passage.bytes();
                    bytes.copy_within(begin..end, 0);
                    end -= begin;
                    match self.poll_read(cx, &mut bytes[end..room]) {
                        Poll::Ready(read) => end += read?,
                        Poll::Pending => {
                            self.sealed.extend_from_slice(&bytes[..end]);
                            return Poll::Pending;
                        }
                    }
                    continue;
                }
            }
            return Poll::Ready(Ok(passage.len()));
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut read = ReadBuf::new(room);
        self.bulk = false;
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        self.bulk = read.remaining() == 0;
        match read.filled().len() {
            // Anybody on the way can end a TCP connection, only the peer a TLS connection.
            0 => Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "TLS: an end without close_notify"))),
            n => Poll::Ready(Ok(n)),
        }
    }

    /// Opens the whole records among the first `end` bytes; where the rest begins.
    fn open_whole(&mut self, passage: &mut Passage, end: usize) -> io::Result<usize> {
        let mut at = 0;
        while !self.ended {
            let bytes = &mut passage.bytes()[at..end];
            let Some(record) = keys::length(bytes)?.and_then(|length| bytes.get_mut(..length)) else { break };
            let (content, length) = self.opener.open(record)?;
            let inner = HEAD..HEAD + length;
            let next = at + record.len();
            if content != Content::HANDSHAKE {
                self.session.pass(content, length)?;
            }
            match content {
                Content::DATA => passage.pass(at + inner.start..at + inner.end),
                Content::HANDSHAKE => self.take_up(&bytes[inner])?,
                Content::ALERT => self.ended |= is_end(&bytes[inner])?,
                Content(other) => return Err(Broken::Unexpected(other).into()),
            }
            at = next;
        }
        Ok(at)
    }

    fn take_up(&mut self, messages: &[u8]) -> io::Result<()> {
        if let Asked::NewKey { ours } = self.session.take_up(messages)? {
            self.opener = self.session.next_opener()?;
            self.owes_key |= ours;
        }
        Ok(())
    }
}

/// Whether an alert tells the end of what the peer sends.
fn is_end(alert: &[u8]) -> Result<bool, Broken> {
    match alert {
        [_, CLOSE_NOTIFY] => Ok(true),
        [_, USER_CANCELED] => Ok(false),
        [_, other] => Err(Broken::Alert(*other)),
        _ => Err(Broken::Unexpected(Content::ALERT.0)),
    }
}

/// Sending.
impl Tls {
    /// Seals as much of `slices` as goes out at once, and sends it as far as the socket takes it: the rest with the next call.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        let taken = slices.iter().map(|slice| slice.len()).sum::<usize>().min(BULK);
        self.keep_key_fresh()?;
        self.unsent.reserve(taken + taken.div_ceil(PAYLOAD) * (HEAD + TAIL));
        let mut left = taken;
        let mut slices = slices.iter().map(|slice| &**slice);
        let mut slice: &[u8] = &[];
        while left > 0 {
            let payload = left.min(PAYLOAD);
            left -= payload;
            self.seal(Content::DATA, |record| {
                let mut missing = payload;
                while missing > 0 {
                    if slice.is_empty() {
                        slice = slices.next().expect("as many bytes as were counted");
                    }
                    let (now, later) = slice.split_at(missing.min(slice.len()));
                    record.extend_from_slice(now);
                    missing -= now.len();
                    slice = later;
                }
            });
        }
        let _ = self.poll_flush(cx)?;
        Poll::Ready(Ok(taken))
    }

    /// Seals all of `passage` and sends it as far as the socket takes it now, the rest with the next call. Only after a
    /// flush that has come to its end: so what is kept is never more than one passage.
    pub fn send(&mut self, cx: &mut Context<'_>, passage: &mut Passage) -> io::Result<()> {
        self.keep_key_fresh()?;
        if !passage.is_roomy() {
            for part in passage.parts() {
                for payload in part.chunks(PAYLOAD) {
                    self.seal(Content::DATA, |record| record.extend_from_slice(payload));
                }
            }
            let _ = self.poll_flush(cx)?;
            return Ok(());
        }
        passage.widen(HEAD, TAIL, |record| self.sealer.seal(record, Content::DATA));
        if self.poll_flush(cx)?.is_pending() {
            passage.parts().for_each(|part| self.unsent.extend_from_slice(part));
            return Ok(());
        }
        passage.write(cx, &mut self.stream, &mut self.unsent)?;
        Ok(())
    }

    /// Ready when all that was sealed is with the socket.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.unsent.advance(n),
            }
        }
        if self.unsent.capacity() > 0 {
            self.unsent = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the direction in order: `close_notify`, then FIN.
    pub fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.finishing {
            self.finishing = true;
            self.keep_key_fresh()?;
            let warning = 1;
            self.seal(Content::ALERT, |record| record.extend_from_slice(&[warning, CLOSE_NOTIFY]));
        }
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Appends a record to what is to be sent; `payload` writes what is in it.
    fn seal(&mut self, content: Content, payload: impl FnOnce(&mut BytesMut)) {
        let begin = self.unsent.len();
        self.unsent.extend_from_slice(&[0; HEAD]);
        payload(&mut self.unsent);
        self.unsent.extend_from_slice(&[0; TAIL]);
        self.sealer.seal(&mut self.unsent[begin..], content);
    }

    /// Before up to [`BULK`] bytes are sealed: the key is changed when it is worn, or the peer has asked for another.
    fn keep_key_fresh(&mut self) -> io::Result<()> {
        // As many records as bytes, if a peer has cut them small.
        if self.owes_key || self.sealer.is_worn(BULK as u64) {
            self.seal(Content::HANDSHAKE, |record| record.extend_from_slice(&UPDATED));
            self.sealer = self.session.next_sealer()?;
            self.owes_key = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
