//! HTTP/1.1 byte by byte, for both ends of a test: nothing is smoothed over, so that a test sees what was really sent.
//!
//! Used by the test server and by the raw client. Fails with `InvalidData` naming what is not HTTP, and with
//! `UnexpectedEof` when the other side closes in the middle of a message.

use std::io::{Error, ErrorKind, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A stream with what was read too far.
#[derive(Debug)]
pub struct Wire<S> {
    stream: S,
    buffer: Vec<u8>,
}

/// The first line and the headers of a request or a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// `GET / HTTP/1.1` or `HTTP/1.1 200 OK`.
    pub line: String,
    /// Names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
}

/// How the end of a body is found (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

/// A body and the trailers after it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    pub bytes: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// How many chunks it came in; 0 unless chunked.
    pub chunks: usize,
}

impl Head {
    /// The first value of the header `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// Whether a comma-separated header has `token` among its values.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        let values = self.headers.iter().filter(|(header, _)| header == name);
        values.flat_map(|(_, value)| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(token))
    }

    /// The `index`th word of the first line.
    pub fn word(&self, index: usize) -> &str {
        self.line.split(' ').nth(index).unwrap_or("")
    }

    /// The status of a response; 0 when this is none.
    pub fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or(0)
    }

    /// What the headers say about the body; `None`: they say nothing.
    pub fn framing(&self) -> Option<Framing> {
        if self.has_token("transfer-encoding", "chunked") {
            return Some(Framing::Chunked);
        }
        self.header("content-length").and_then(|length| length.parse().ok()).map(Framing::Length)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// The stream and what was read from it but not used.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.buffer)
    }

    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        self.stream.flush().await
    }

    /// The next bytes without taking them, at least `count` of them unless the stream ends.
    pub async fn peek(&mut self, count: usize) -> Result<&[u8]> {
        while self.buffer.len() < count && self.fill().await? {}
        Ok(&self.buffer)
    }

    /// The next head; `None` when the stream ends before it starts.
    pub async fn head(&mut self) -> Result<Option<Head>> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let bytes: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return parse_head(&bytes[..end + 2]).map(Some);
            }
            if !self.fill().await? {
                return if self.buffer.is_empty() { Ok(None) } else { Err(cut_short("a head")) };
            }
        }
    }

    pub async fn body(&mut self, framing: Framing) -> Result<Body> {
        match framing {
            Framing::Length(length) => Ok(Body { bytes: self.take(length).await?, ..Body::default() }),
            Framing::UntilClose => {
                while self.fill().await? {}
                Ok(Body { bytes: std::mem::take(&mut self.buffer), ..Body::default() })
            }
            Framing::Chunked => self.chunked().await,
        }
    }

    async fn chunked(&mut self) -> Result<Body> {
        let mut body = Body::default();
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or("").trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| malformed(&format!("chunk size {line:?}")))?;
            if size == 0 {
                break;
            }
            body.bytes.extend(self.take(size).await?);
            body.chunks += 1;
            if self.take(2).await? != b"\r\n" {
                return Err(malformed("a chunk is longer than it says"));
            }
        }
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(body);
            }
            body.trailers.push(parse_field(&line)?);
        }
    }

    async fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let bytes: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&bytes[..end]).into_owned());
            }
            if !self.fill().await? {
                return Err(cut_short("a line"));
            }
        }
    }

    async fn take(&mut self, count: usize) -> Result<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill().await? {
                return Err(cut_short("a body"));
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Reads once; false at the end of the stream.
    async fn fill(&mut self) -> Result<bool> {
        self.buffer.reserve(64 * 1024);
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }
}

fn parse_head(bytes: &[u8]) -> Result<Head> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
    let line = lines.next().unwrap_or("").to_owned();
    if !line.contains("HTTP/1.") {
        return Err(malformed(&format!("first line {line:?}")));
    }
    Ok(Head { line, headers: lines.map(parse_field).collect::<Result<_>>()? })
}

fn parse_field(line: &str) -> Result<(String, String)> {
    let (name, value) = line.split_once(':').ok_or_else(|| malformed(&format!("header {line:?}")))?;
    Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what.to_owned())
}

fn cut_short(what: &str) -> Error {
    Error::new(ErrorKind::UnexpectedEof, format!("the stream ended inside {what}"))
}
