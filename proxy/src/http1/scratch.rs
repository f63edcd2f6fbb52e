//! Heads and buffers of one request, which its worker uses again for others.
//!
//! A connection has them from a request's first byte to its answer's last: most connections are idle, and should cost little.
//! Nothing of a request is left in them for the next, which may be somebody else's.

use super::head::Head;
use std::cell::RefCell;

/// How many one worker keeps while no request uses them.
const SPARES: usize = 64;
/// What has grown larger than this, bytes, is not kept.
const LARGE: usize = 32 * 1024;

thread_local! {
    #[expect(clippy::vec_box, reason = "a connection's task is to hold no more than a pointer")]
    static SPARE: RefCell<Vec<Box<Scratch>>> = const { RefCell::new(Vec::new()) };
}

/// Half of those that nobody uses are given up: to be called now and then.
pub fn sweep() {
    SPARE.with_borrow_mut(|spare| spare.truncate(spare.len() / 2));
}

#[derive(Default)]
pub struct Scratch {
    pub request: Head,
    pub response: Head,
    /// The head to be sent, kept for another attempt.
    pub wire: Vec<u8>,
    /// What the pumps write from.
    pub out: Vec<u8>,
    /// Part of an answer may have reached the client.
    pub answering: bool,
}

impl Scratch {
    /// An empty one.
    pub fn take() -> Box<Self> {
        SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()
    }

    pub fn give_back(mut self: Box<Self>) {
        if self.capacity() > LARGE {
            return;
        }
        self.clear();
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARES {
                spare.push(self);
            }
        });
    }

    fn capacity(&self) -> usize {
        self.request.capacity() + self.response.capacity() + self.wire.capacity() + self.out.capacity()
    }

    fn clear(&mut self) {
        self.request.clear();
        self.response.clear();
        self.wire.clear();
        self.out.clear();
        self.answering = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(size: usize) -> Box<Scratch> {
        let mut scratch = Scratch::take();
        let head = b"GET /secret HTTP/1.1\r\nhost: a\r\ncookie: b\r\n\r\n";
        assert_eq!(scratch.request.read_request(head), Ok(Some(head.len())));
        let head = b"HTTP/1.1 204 No Content\r\nset-cookie: c\r\n\r\n";
        assert_eq!(scratch.response.read_response(head, false), Ok(Some(head.len())));
        scratch.wire.extend_from_slice(&vec![b'x'; size]);
        scratch.out.extend_from_slice(b"rest");
        scratch.answering = true;
        scratch
    }

    #[test]
    fn nothing_is_left_for_the_next_request() {
        used(100).give_back();
        let scratch = Scratch::take();
        assert!(scratch.capacity() > 100, "the same memory");
        for head in [&scratch.request, &scratch.response] {
            assert_eq!((head.method(), head.target(), head.authority()), (&b""[..], &b""[..], &b""[..]));
            assert_eq!((head.fields().count(), head.status, head.minor), (0, 0, 0));
        }
        assert!(scratch.wire.is_empty() && scratch.out.is_empty() && !scratch.answering);
    }

    #[test]
    fn what_one_large_request_needed_is_not_kept() {
        used(LARGE + 1).give_back();
        assert_eq!(Scratch::take().capacity(), 0);
    }

    #[test]
    fn a_burst_leaves_little_behind() {
        let all: Vec<_> = (0..3 * SPARES).map(|_| used(10)).collect();
        all.into_iter().for_each(Scratch::give_back);
        assert_eq!(SPARE.with_borrow(Vec::len), SPARES);
        (0..10).for_each(|_| sweep());
        assert_eq!(SPARE.with_borrow(Vec::len), 0);
    }
}
