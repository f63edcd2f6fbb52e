//! Finds out what a client speaks, by its first bytes and within a bounded wait.
//!
//! Used by both stories where nothing is declared. Nothing is lost: what was read stays in the connection's buffer. A
//! client that says nothing is [`First::Silent`]; only then may the server be asked to speak first.

use crate::detect::{Detected, detect};
use bytes::BytesMut;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// What the first bytes showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    Http1,
    Http2,
    /// A TLS handshake: a sidecar's, or one that the application started itself.
    Tls,
    /// Any other bytes.
    Opaque,
    /// Not a byte within the wait.
    Silent,
    /// The client ended, or failed, before it could be told.
    Gone,
}

/// [`first`] for a client that may take as long as it likes to begin, and `wait` from then on. May be dropped: what has
/// been read is in `buf`.
pub async fn at_leisure(stream: &mut TcpStream, buf: &mut BytesMut, wait: Duration) -> First {
    match stream.readable().await {
        Ok(()) => first(stream, buf, wait).await,
        Err(_) => First::Gone,
    }
}

/// Reads into `buf` until the protocol is clear, for at most `wait`.
pub async fn first(stream: &mut TcpStream, buf: &mut BytesMut, wait: Duration) -> First {
    let deadline = Instant::now() + wait;
    loop {
        match detect(buf) {
            Detected::Http1 => return First::Http1,
            Detected::Http2 => return First::Http2,
            Detected::Tls => return First::Tls,
            Detected::Opaque => return First::Opaque,
            Detected::NeedMore => {}
        }
        buf.reserve(4 * 1024);
        let read = match timeout_at(deadline, stream.read_buf(buf)).await {
            Ok(read) => read,
            Err(_) if buf.is_empty() => return First::Silent,
            Err(_) => return First::Opaque,
        };
        match read {
            // Bytes without a protocol and then an end: the server may understand them.
            Ok(0) if !buf.is_empty() => return First::Opaque,
            Ok(0) | Err(_) => return First::Gone,
            Ok(_) => {}
        }
    }
}
