//! Where a body ends: a scanner that walks over the bytes of a message without changing or copying them.
//!
//! Chunked bodies are forwarded exactly as they came, chunk lines and trailers included, so the scanner accepts only the
//! one spelling every server agrees on (CRLF line ends, bounded extensions). It fails with the rule that was broken.

use super::framing::Framing;

/// Bounds on what a sender can put between the data.
const MAX_CHUNK_LINE: u32 = 1024;
const MAX_TRAILERS: u32 = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Data(u64),
    Endless,
    /// Hexadecimal digits of a chunk size: value so far, number of digits.
    Size(u64, u8),
    /// The rest of a chunk line.
    Extension(u64),
    /// LF is due after the chunk line's CR.
    SizeEnd(u64),
    /// Data of a chunk, then its CR and LF.
    Chunk(u64),
    ChunkCr,
    ChunkLf,
    /// At the start of a trailer line.
    Trailer,
    TrailerLine,
    TrailerLf,
    LastLf,
    Done,
}

/// Walks over one body.
#[derive(Debug, Clone)]
pub struct BodyScanner {
    state: State,
    /// Bytes of the present chunk line, or of all trailers.
    line: u32,
}

impl BodyScanner {
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None => State::Done,
            Framing::Length(length) => State::Data(length),
            Framing::Chunked => State::Size(0, 0),
            Framing::UntilClose => State::Endless,
        };
        Self { state, line: 0 }
    }

    /// The body is complete.
    pub fn done(&self) -> bool {
        self.state == State::Done
    }

    /// Only the end of the connection ends this body.
    pub fn endless(&self) -> bool {
        self.state == State::Endless
    }

    /// How many of `bytes` belong to this body. Fewer than all only when the body ended within them.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Done {
            let rest = (bytes.len() - at) as u64;
            match self.state {
                State::Endless => return Ok(bytes.len()),
                State::Data(left) => {
                    let take = left.min(rest);
                    at += take as usize;
                    self.state = if left == take { State::Done } else { State::Data(left - take) };
                }
                State::Chunk(left) => {
                    let take = left.min(rest);
                    at += take as usize;
                    self.state = if left == take { State::ChunkCr } else { State::Chunk(left - take) };
                }
                _ => {
                    self.state = self.step(bytes[at])?;
                    at += 1;
                }
            }
        }
        Ok(at)
    }

    /// One byte of chunk framing.
    fn step(&mut self, byte: u8) -> Result<State, &'static str> {
        self.line += 1;
        let bound = match self.state {
            State::Trailer | State::TrailerLine | State::TrailerLf | State::LastLf => MAX_TRAILERS,
            _ => MAX_CHUNK_LINE,
        };
        if self.line > bound {
            return Err("chunk line or trailers too long");
        }
        match (self.state, byte) {
            (State::Size(size, digits), b) if b.is_ascii_hexdigit() => {
                if digits == 15 {
                    return Err("chunk size");
                }
                let digit = (b as char).to_digit(16).unwrap_or(0);
                Ok(State::Size(size << 4 | u64::from(digit), digits + 1))
            }
            (State::Size(_, 0), _) => Err("chunk size"),
            (State::Size(size, _), b'\r') | (State::Extension(size), b'\r') => Ok(State::SizeEnd(size)),
            (State::Size(size, _), b';' | b' ' | b'\t') => Ok(State::Extension(size)),
            (State::Size(..), _) => Err("chunk size"),
            (State::Extension(_), b'\n') => Err("bare LF in a chunk line"),
            (State::Extension(size), _) => Ok(State::Extension(size)),
            (State::SizeEnd(size), b'\n') => {
                self.line = 0;
                Ok(if size == 0 { State::Trailer } else { State::Chunk(size) })
            }
            (State::ChunkCr, b'\r') => Ok(State::ChunkLf),
            (State::ChunkLf, b'\n') => {
                self.line = 0;
                Ok(State::Size(0, 0))
            }
            (State::ChunkCr | State::ChunkLf, _) => Err("chunk longer than its size"),
            (State::Trailer, b'\r') => Ok(State::LastLf),
            (State::LastLf, b'\n') => Ok(State::Done),
            (State::TrailerLine, b'\r') => Ok(State::TrailerLf),
            (State::TrailerLf, b'\n') => Ok(State::Trailer),
            (State::Trailer | State::TrailerLine, b'\n') => Err("bare LF in trailers"),
            (State::Trailer | State::TrailerLine, _) => Ok(State::TrailerLine),
            _ => Err("bare CR in chunk framing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan(text: &[u8]) -> Result<(usize, bool), &'static str> {
        let mut scanner = BodyScanner::new(Framing::Chunked);
        scanner.scan(text).map(|n| (n, scanner.done()))
    }

    #[test]
    fn chunked_bodies_end_after_their_trailers() {
        assert_eq!(scan(b"5\r\nhello\r\n0\r\n\r\nGET "), Ok((15, true)));
        assert_eq!(scan(b"5;a=b\r\nhello\r\n0\r\nx: y\r\n\r\n"), Ok((25, true)));
        assert_eq!(scan(b"5\r\nhel"), Ok((6, false)));
    }

    #[test]
    fn other_spellings_are_refused() {
        for bad in [
            &b"\r\n"[..],
            b"g\r\n",
            b"5\nhello",
            b"5;a\nhello",
            b"5\r\nhelloX",
            b"0\r\nx: y\n\r\n",
            b"0\r\n\n",
            b"-1\r\n",
            b"0x5\r\n",
            b"1000000000000000\r\n",
            b"5\rXhello",
        ] {
            assert!(scan(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
        assert!(scan(&[b"5;".to_vec(), vec![b'a'; 2000]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_end(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8), cut in any::<prop::sample::Index>()) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                body.extend(chunk);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n\r\n");
            let whole = body.len();
            body.extend(b"next");
            let cut = cut.index(whole);
            let mut scanner = BodyScanner::new(Framing::Chunked);
            prop_assert_eq!(scanner.scan(&body[..cut]).unwrap(), cut);
            prop_assert_eq!(scanner.scan(&body[cut..]).unwrap(), whole - cut);
            prop_assert!(scanner.done());
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = scan(&bytes);
        }
    }
}
