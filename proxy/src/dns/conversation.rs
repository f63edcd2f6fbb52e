//! One TCP client's queries: each with its length before it, several at once, answered in whatever order (RFC 7766).
//!
//! Below the listener. A client that is silent, or takes nothing, is given up; one that closes its side still gets the
//! answers to what it has asked.

use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{SinkExt, StreamExt};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::codec::LengthDelimitedCodec;

/// A client that neither asks nor waits for this long is gone; one that does not take its answer for this long, too.
const IDLE: Duration = Duration::from_secs(10);
/// Queries of one client under way at once; further ones wait in its socket.
const PIPELINED: usize = 32;

/// Answers until the client leaves. A query that `answer` says nothing to ends the conversation.
pub(super) async fn conversation<F>(stream: TcpStream, answer: impl Fn(Bytes) -> F) -> io::Result<()>
where
    F: Future<Output = Option<Vec<u8>>>,
{
    stream.set_nodelay(true)?;
    let mut messages = LengthDelimitedCodec::builder()
        .length_field_type::<u16>()
        .max_frame_length(usize::from(u16::MAX))
        .new_framed(stream);
    let mut pending = FuturesUnordered::new();
    let mut open = true;
    while open || !pending.is_empty() {
        tokio::select! {
            query = timeout(IDLE, messages.next()), if open && pending.len() < PIPELINED => match query {
                Ok(Some(query)) => pending.push(answer(query?.freeze())),
                Ok(None) => open = false,
                Err(_) => open = !pending.is_empty(),
            },
            Some(answer) = pending.next() => match answer {
                Some(answer) => timeout(IDLE, messages.send(Bytes::from(answer))).await.map_err(|_| io::ErrorKind::TimedOut)??,
                None => return Ok(()),
            },
        }
    }
    Ok(())
}
