//! The head of an HTTP/1 message: parsed once, kept as bytes with the places of its parts, written out again per hop.
//!
//! Both directions use it. Whatever could be read two ways by two servers (RFC 9112 section 11.2, request smuggling) is
//! refused here, so what is forwarded has exactly one reading. Buffers are reused from message to message.

use super::framing::{Framing, Lengths};
use memchr::memchr_iter;

/// Most header fields a head may have.
pub const MAX_FIELDS: usize = 128;

/// Why bytes are not an acceptable head; the text goes to the log and the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadError {
    /// Larger than the configured bound, or too many fields.
    TooLarge,
    /// Malformed, with the rule that was broken.
    Malformed(&'static str),
}

/// A part of the head: start and end in `Head::raw`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

/// One field line. `skip` marks fields that belong to this hop only, or that the mesh has removed.
#[derive(Debug, Clone, Copy)]
struct Field {
    name: Span,
    value: Span,
    skip: bool,
}

/// What the connection-level fields of a head said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hop {
    /// `connection: close` was given.
    pub close: bool,
    /// `connection: keep-alive` was given.
    pub keep_alive: bool,
    /// `connection: upgrade` together with an `upgrade` field.
    pub upgrade: bool,
    /// `expect: 100-continue`.
    pub expect_continue: bool,
}

/// A request or response head.
#[derive(Debug, Default)]
pub struct Head {
    raw: Vec<u8>,
    /// Method (request) or reason phrase (response).
    first: Span,
    target: Span,
    host: Span,
    fields: Vec<Field>,
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub minor: u8,
    /// Responses only.
    pub status: u16,
    pub hop: Hop,
    framing: Option<Framing>,
}

impl Head {
    /// Bytes of memory that it holds.
    pub fn capacity(&self) -> usize {
        self.raw.capacity() + self.fields.capacity() * size_of::<Field>()
    }

    /// Forgets the message and keeps the memory.
    pub fn clear(&mut self) {
        self.begin(&[], 0);
        self.first = Span::default();
    }

    /// Reads a request head from the front of `buffer`. `Ok(Some(n))`: it took the first `n` bytes; `Ok(None)`: more are needed.
    pub fn read_request(&mut self, buffer: &[u8]) -> Result<Option<usize>, HeadError> {
        // RFC 9112 section 2.2: a server should ignore an empty line before the request line.
        let blank = buffer.iter().take(4).take_while(|b| matches!(b, b'\r' | b'\n')).count();
        let bytes = &buffer[blank..];
        let mut storage = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut storage);
        let length = match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(refused(error)),
        };
        strict_line_ends(&bytes[..length])?;
        let base = bytes.as_ptr() as usize;
        // httparse fills all three when it reports a complete head.
        let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
            return Err(HeadError::Malformed("request line"));
        };
        self.begin(&bytes[..length], minor);
        self.first = span(base, method.as_bytes());
        self.target = span(base, target.as_bytes());
        self.place_fields(base, request.headers);
        self.check_request()?;
        Ok(Some(blank + length))
    }

    /// Reads a response head; `to_head` says that the request was HEAD, whose answers have no body.
    pub fn read_response(&mut self, buffer: &[u8], to_head: bool) -> Result<Option<usize>, HeadError> {
        let mut storage = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut storage);
        let length = match response.parse(buffer) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(refused(error)),
        };
        let base = buffer.as_ptr() as usize;
        let (Some(status), Some(minor)) = (response.code, response.version) else {
            return Err(HeadError::Malformed("status line"));
        };
        self.begin(&buffer[..length], minor);
        self.status = status;
        self.first = response.reason.filter(|r| !r.is_empty()).map_or(Span::default(), |r| span(base, r.as_bytes()));
        self.place_fields(base, response.headers);
        self.check_response(to_head)?;
        Ok(Some(length))
    }

    fn begin(&mut self, bytes: &[u8], minor: u8) {
        self.raw.clear();
        self.raw.extend_from_slice(bytes);
        self.fields.clear();
        self.minor = minor;
        self.status = 0;
        self.target = Span::default();
        self.host = Span::default();
        self.hop = Hop::default();
        self.framing = None;
    }

    fn place_fields(&mut self, base: usize, headers: &[httparse::Header<'_>]) {
        self.fields.extend(headers.iter().map(|h| Field {
            name: span(base, h.name.as_bytes()),
            value: span(base, trim(h.value)),
            skip: false,
        }));
    }

    /// Body framing as section 6.3 of RFC 9112 gives it.
    pub fn framing(&self) -> Framing {
        self.framing.unwrap_or(Framing::None)
    }

    /// The body has been taken from the connection: what follows is another message.
    pub fn body_taken(&mut self) {
        self.framing = Some(Framing::None);
    }

    pub fn method(&self) -> &[u8] {
        self.at(self.first)
    }

    /// The request target as it was sent.
    pub fn target(&self) -> &[u8] {
        self.at(self.target)
    }

    /// The authority asked for: of an absolute or authority-form target, otherwise the `host` field. May carry a port.
    pub fn authority(&self) -> &[u8] {
        self.at(self.host)
    }

    /// Values of the field `name` (lower case), in order; fields that were removed do not show.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields
            .iter()
            .filter(move |f| !f.skip && self.at(f.name).eq_ignore_ascii_case(name.as_bytes()))
            .map(|f| self.at(f.value))
    }

    /// All fields that will be written, as name and value.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().filter(|f| !f.skip).map(|f| (self.at(f.name), self.at(f.value)))
    }

    /// The same as text, one after the other; what is no text has no name.
    pub fn each_field(&self, each: &mut dyn FnMut(&str, &[u8])) {
        self.fields().for_each(|(name, value)| each(std::str::from_utf8(name).unwrap_or_default(), value));
    }

    /// Takes the field `name` (any case) out of what is forwarded.
    pub fn remove(&mut self, name: &str) {
        let Self { raw, fields, .. } = self;
        for field in fields.iter_mut().filter(|f| slice(raw, f.name).eq_ignore_ascii_case(name.as_bytes())) {
            field.skip = true;
        }
    }

    /// Whether the client wants the connection kept, by version and `connection` (RFC 9112 section 9.3).
    pub fn persistent(&self) -> bool {
        !self.hop.close && (self.minor == 1 || self.hop.keep_alive)
    }

    /// Request line and end-to-end fields; the caller adds its own fields and the empty line.
    /// `target`: in place of the target that came.
    pub fn write_request(&self, out: &mut Vec<u8>, target: Option<&[u8]>) {
        out.extend_from_slice(self.method());
        out.push(b' ');
        out.extend_from_slice(target.unwrap_or(self.target()));
        out.extend_from_slice(if self.minor == 0 { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" });
        self.write_fields(out);
    }

    /// Status line and end-to-end fields; the caller adds its own fields and the empty line.
    pub fn write_response(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 ");
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(digits.format(self.status).as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.at(self.first));
        out.extend_from_slice(b"\r\n");
        self.write_fields(out);
    }

    fn write_fields(&self, out: &mut Vec<u8>) {
        for (name, value) in self.fields() {
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    }

    fn at(&self, span: Span) -> &[u8] {
        slice(&self.raw, span)
    }

    /// Notes framing and connection fields, marks what belongs to this hop, refuses what is ambiguous.
    fn check_fields(&mut self) -> Result<Lengths, HeadError> {
        let Self { raw, fields, hop, .. } = self;
        let mut lengths = Lengths::default();
        // `connection` names fields beyond the usual words.
        let mut listed = false;
        let mut has_upgrade = false;
        for field in fields.iter_mut() {
            let (name, value) = (slice(raw, field.name), slice(raw, field.value));
            // One look at the length sorts out nearly every field of a usual request.
            match name.len() {
                2 if name.eq_ignore_ascii_case(b"te") => field.skip = !has_token(value, b"trailers"),
                6 if name.eq_ignore_ascii_case(b"expect") => hop.expect_continue = has_token(value, b"100-continue"),
                7 if name.eq_ignore_ascii_case(b"upgrade") => has_upgrade = true,
                10 if name.eq_ignore_ascii_case(b"connection") => {
                    field.skip = true;
                    let (close, keep_alive) = (has_token(value, b"close"), has_token(value, b"keep-alive"));
                    let upgrade = has_token(value, b"upgrade");
                    hop.close |= close;
                    hop.keep_alive |= keep_alive;
                    hop.upgrade |= upgrade;
                    listed |= value.contains(&b',') || !(close || keep_alive || upgrade);
                }
                10 if name.eq_ignore_ascii_case(b"keep-alive") => field.skip = true,
                14 if name.eq_ignore_ascii_case(b"content-length") => {
                    lengths.add_length(value).map_err(HeadError::Malformed)?
                }
                16 if name.eq_ignore_ascii_case(b"proxy-connection") => field.skip = true,
                17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                    lengths.add_coding(value).map_err(HeadError::Malformed)?
                }
                _ => {}
            }
        }
        hop.upgrade &= has_upgrade;
        if listed {
            self.skip_listed();
        }
        if !self.hop.upgrade && has_upgrade {
            self.remove("upgrade");
        }
        Ok(lengths)
    }

    /// Fields that `connection` names are for this hop only (RFC 9110 section 7.6.1), but for those that frame the
    /// message or carry the authority: no list may take them away.
    fn skip_listed(&mut self) {
        let listed: Vec<Vec<u8>> = self
            .fields
            .iter()
            .filter(|f| self.at(f.name).eq_ignore_ascii_case(b"connection"))
            .flat_map(|f| tokens(self.at(f.value)))
            .map(|t| t.to_ascii_lowercase())
            .filter(|t| !matches!(&t[..], b"host" | b"content-length" | b"transfer-encoding" | b"upgrade" | b"te"))
            .collect();
        for name in listed {
            if let Ok(name) = std::str::from_utf8(&name) {
                self.remove(name);
            }
        }
    }

    fn check_request(&mut self) -> Result<(), HeadError> {
        let lengths = self.check_fields()?;
        self.framing = Some(lengths.of_request(self.minor).map_err(HeadError::Malformed)?);
        let mut hosts = self.fields.iter().filter(|f| self.at(f.name).eq_ignore_ascii_case(b"host"));
        let host = hosts.next().map(|f| f.value);
        if hosts.next().is_some() {
            return Err(HeadError::Malformed("more than one host"));
        }
        if host.is_none() && self.minor == 1 {
            return Err(HeadError::Malformed("no host"));
        }
        self.host = self.target_authority().or(host).unwrap_or_default();
        Ok(())
    }

    /// The authority inside an absolute-form or authority-form target.
    fn target_authority(&self) -> Option<Span> {
        let target = self.target();
        let start = match target {
            [b'/', ..] | b"*" => return None,
            _ if self.method() == b"CONNECT" => 0,
            _ => memchr::memmem::find(target, b"://")? + 3,
        };
        let end = target[start..].iter().position(|b| matches!(b, b'/' | b'?')).map_or(target.len(), |n| start + n);
        let from = self.target.start;
        Some(Span { start: from + start as u32, end: from + end as u32 })
    }

    fn check_response(&mut self, to_head: bool) -> Result<(), HeadError> {
        let lengths = self.check_fields()?;
        self.framing = Some(lengths.of_response(self.status, to_head).map_err(HeadError::Malformed)?);
        Ok(())
    }
}

fn refused(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::TooManyHeaders => HeadError::TooLarge,
        httparse::Error::HeaderName => HeadError::Malformed("field name"),
        httparse::Error::HeaderValue => HeadError::Malformed("field value"),
        httparse::Error::NewLine => HeadError::Malformed("line end"),
        httparse::Error::Status => HeadError::Malformed("status"),
        httparse::Error::Token => HeadError::Malformed("method or target"),
        httparse::Error::Version => HeadError::Malformed("version"),
    }
}

/// A bare LF ends a line for some servers and not for others.
fn strict_line_ends(head: &[u8]) -> Result<(), HeadError> {
    match memchr_iter(b'\n', head).all(|at| at > 0 && head[at - 1] == b'\r') {
        true => Ok(()),
        false => Err(HeadError::Malformed("bare LF")),
    }
}

fn span(base: usize, part: &[u8]) -> Span {
    let start = part.as_ptr() as usize - base;
    // Heads are bounded far below 4 GiB.
    Span { start: start as u32, end: (start + part.len()) as u32 }
}

fn slice(raw: &[u8], span: Span) -> &[u8] {
    &raw[span.start as usize..span.end as usize]
}

fn trim(value: &[u8]) -> &[u8] {
    value.trim_ascii()
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|t| !t.is_empty())
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    tokens(value).any(|t| t.eq_ignore_ascii_case(token))
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
