//! A worker's buffer for what passes: read into it and sent from it, with every byte where it was read.
//!
//! Shaped so that what came in the clear becomes TLS records without being moved, and TLS records become what is in them.

use super::tls::{HEAD, PAYLOAD, TAIL};
use smallvec::SmallVec;
use socket2::SockRef;
use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncWrite, Interest};
use tokio::net::TcpStream;

/// How much is moved at once when there is a lot: a fraction of the system calls, packets and wake-ups. At 64 KiB a pair of
/// proxies takes 14 % more CPU time per byte, at 16 KiB 37 % more.
pub const BULK: usize = SLOTS * PAYLOAD;
/// How much is moved before somebody else has a turn: some milliseconds.
pub const TURN: u64 = 4 * BULK as u64;

const SLOTS: usize = 16;
/// Payloads begin with a line of the cache, and have their record's head and tail in the line between them.
const LINE: usize = 64;
const SLOT: usize = LINE + PAYLOAD;
const _: () = assert!(HEAD + TAIL <= LINE);
/// How many parts one system call writes.
const PARTS: usize = 64;

thread_local! {
    static PASSAGE: RefCell<Passage> = RefCell::new(Passage::new());
}

/// The buffer of a worker. Nothing stays in it from one poll to the next.
#[derive(Debug)]
pub struct Passage {
    /// Untouched, and so without memory, as far as it was never used.
    bytes: Vec<u8>,
    /// Where the first slot is.
    origin: usize,
    /// Where what passes lies, in its order.
    parts: Vec<Range<usize>>,
    /// Whether there is room for a record's head and tail around each part.
    roomy: bool,
}

impl Passage {
    fn new() -> Self {
        let bytes = vec![0; LINE + SLOTS * SLOT + LINE];
        let origin = bytes.as_ptr().align_offset(LINE).min(LINE);
        Self { bytes, origin, parts: vec![], roomy: false }
    }

    /// Lends out the worker's.
    pub fn with<T>(of: impl FnOnce(&mut Self) -> T) -> T {
        PASSAGE.with_borrow_mut(of)
    }

    /// Empties it, and gives out all its bytes: what of them is to be passed on is told by [`Self::pass`].
    pub fn clear(&mut self) -> &mut [u8] {
        self.parts.clear();
        self.roomy = false;
        &mut self.bytes
    }

    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    pub fn pass(&mut self, part: Range<usize>) {
        if !part.is_empty() {
            self.parts.push(part);
        }
    }

    /// How many bytes are to be passed on.
    pub fn len(&self) -> usize {
        self.parts.iter().map(Range::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub fn is_roomy(&self) -> bool {
        self.roomy
    }

    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(|part| &self.bytes[part.clone()])
    }

    /// Makes each part larger, by what is before and after it, and changes all of it.
    pub fn widen(&mut self, before: usize, after: usize, mut change: impl FnMut(&mut [u8])) {
        for part in &mut self.parts {
            *part = part.start - before..part.end + after;
            change(&mut self.bytes[part.clone()]);
        }
        self.roomy = false;
    }

    /// Reads what has come in the clear; how much that was, 0 at the end.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, stream: &TcpStream) -> Poll<io::Result<usize>> {
        self.clear();
        let mut slots = self.bytes[self.origin..].chunks_exact_mut(SLOT).map(|slot| IoSliceMut::new(&mut slot[LINE..]));
        let mut slots: [IoSliceMut<'_>; SLOTS] = std::array::from_fn(|_| slots.next().expect("as many slots as SLOTS"));
        let read = ready!(poll_read_vectored(cx, stream, &mut slots))?;
        self.settle(read);
        Poll::Ready(Ok(read))
    }

    /// As if `bytes` had been read; no more than fit.
    pub fn load(&mut self, bytes: &[u8]) -> usize {
        self.clear();
        let taken = bytes.len().min(BULK);
        for (payload, slot) in bytes[..taken].chunks(PAYLOAD).zip(self.bytes[self.origin..].chunks_exact_mut(SLOT)) {
            slot[LINE..][..payload.len()].copy_from_slice(payload);
        }
        self.settle(taken);
        taken
    }

    /// The first `filled` bytes of the slots are to be passed on.
    fn settle(&mut self, filled: usize) {
        let payload = |slot: usize| self.origin + slot * SLOT + LINE;
        let slots = (0..filled.div_ceil(PAYLOAD))
            .map(|slot| payload(slot)..payload(slot) + PAYLOAD.min(filled - slot * PAYLOAD));
        self.parts.extend(slots);
        self.roomy = true;
    }

    /// Writes until all is written or the socket takes no more; the rest is appended to `rest`. How much was written.
    pub fn write(&self, cx: &mut Context<'_>, stream: &mut TcpStream, rest: &mut bytes::BytesMut) -> io::Result<usize> {
        let (whole, mut written) = (self.len(), 0);
        while written < whole {
            let slices: SmallVec<[IoSlice<'_>; PARTS]> = self.after(written).take(PARTS).map(IoSlice::new).collect();
            match Pin::new(&mut *stream).poll_write_vectored(cx, &slices)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(n) => written += n,
                Poll::Pending => {
                    rest.reserve(whole - written);
                    self.after(written).for_each(|part| rest.extend_from_slice(part));
                    break;
                }
            }
        }
        Ok(written)
    }

    /// What is to be passed on but for its first `gone` bytes.
    fn after(&self, mut gone: usize) -> impl Iterator<Item = &[u8]> {
        self.parts().filter_map(move |part| {
            let skipped = gone.min(part.len());
            gone -= skipped;
            Some(&part[skipped..]).filter(|part| !part.is_empty())
        })
    }
}

fn poll_read_vectored(
    cx: &mut Context<'_>,
    stream: &TcpStream,
    slots: &mut [IoSliceMut<'_>],
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_read_ready(cx))?;
        let mut read = 0;
        let tried = stream.try_io(Interest::READABLE, || {
            read = (&*SockRef::from(stream)).read_vectored(slots)?;
            // Less than there was room for: that is all for now, and the next call need not ask, as in tokio's own reads.
            if (1..BULK).contains(&read) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match tried {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
            Err(_) if read == 0 => {}
            _ => return Poll::Ready(Ok(read)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

    fn numbers(len: usize) -> Vec<u8> {
        (0..len).map(|n| (n * 31 + n / 257) as u8).collect()
    }

    #[test]
    fn what_is_loaded_lies_in_slots_with_room_around_them() {
        let mut passage = Passage::new();
        for len in [0, 1, PAYLOAD, PAYLOAD + 1, BULK] {
            let sent = numbers(len);
            assert_eq!(passage.load(&sent), len);
            assert_eq!((passage.len(), passage.is_empty()), (len, len == 0));
            assert!(passage.is_roomy() && passage.parts().collect::<Vec<_>>().concat() == sent, "{len} bytes");
            let parts = passage.parts().count();
            passage.widen(HEAD, TAIL, |record| {
                let end = record.len() - TAIL;
                record[..HEAD].fill(1);
                record[end..].fill(2);
            });
            assert_eq!(passage.len(), len + parts * (HEAD + TAIL));
            let kept: Vec<u8> = passage.parts().flat_map(|part| part[HEAD..part.len() - TAIL].to_vec()).collect();
            assert!(kept == sent && !passage.is_roomy(), "{len} bytes");
        }
        assert_eq!(passage.load(&numbers(BULK + 5)), BULK);
    }

    #[test]
    fn the_rest_after_any_part_is_what_was_not_written() {
        let mut passage = Passage::new();
        passage.clear()[..10].copy_from_slice(b"0123456789");
        for part in [1..3, 4..4, 4..5, 7..10] {
            passage.pass(part);
        }
        for gone in 0..=6 {
            assert_eq!(passage.after(gone).collect::<Vec<_>>().concat(), b"124789"[gone..], "after {gone}");
        }
    }

    #[tokio::test]
    async fn what_the_socket_does_not_take_is_the_rest() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (mut near, (far, _)) = (near.unwrap(), far.unwrap());
        let (mut passage, mut rest, mut sent) = (Passage::new(), BytesMut::new(), vec![]);
        let batch = numbers(BULK - 3);
        // Nobody reads.
        while rest.is_empty() {
            passage.load(&batch);
            near.writable().await.unwrap();
            let written =
                std::future::poll_fn(|cx| Poll::Ready(passage.write(cx, &mut near, &mut rest))).await.unwrap();
            assert_eq!(written + rest.len(), batch.len());
            sent.extend_from_slice(&batch[..written]);
        }
        assert!(batch.ends_with(&rest));
        drop(near);
        let mut got = vec![];
        while std::future::poll_fn(|cx| passage.poll_read(cx, &far)).await.unwrap() > 0 {
            passage.parts().for_each(|part| got.extend_from_slice(part));
        }
        assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
    }
}
