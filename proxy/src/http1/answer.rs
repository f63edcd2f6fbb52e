//! What the mesh itself says to an HTTP/1 client: that it failed, or where to go instead.
//!
//! Called when a request was not forwarded. The connection is kept only if the client's next message can be told from this
//! one's body.

use super::framing::Framing;
use super::head::Head;
use crate::conn::Conn;
use crate::error::Failure;
use crate::plan::{Redirected, Story};
use crate::respond;

/// What becomes of the client's connection after a request.
pub enum Next {
    Keep,
    /// Ended in order.
    Close,
    /// Reset: the client has part of an answer, or is gone.
    Abort,
}

/// An answer of the mesh's own.
pub enum Said<'a> {
    Failure(&'a Failure),
    Redirect(&'a Redirected),
}

impl Said<'_> {
    fn write(&self, close: bool, to_head: bool, out: &mut Vec<u8>) {
        match self {
            Self::Failure(failure) => respond::http1(failure, close, to_head, out),
            Self::Redirect(to) => {
                respond::http1_redirect(to.status(), &to.location, &to.rule.response_headers, close, out);
            }
        }
    }
}

/// Says it to the client and ends the connection, whose next message could not be told from this one's body.
pub async fn last(client: &mut Conn, said: Said<'_>, to_head: bool) -> Next {
    let mut out = Vec::with_capacity(256);
    said.write(true, to_head, &mut out);
    match client.send(&out).await {
        Ok(()) => Next::Close,
        Err(_) => Next::Abort,
    }
}

/// Answers `request`, whose body, if it has one, has not been read. `buffer` is overwritten.
pub async fn answer(
    story: &impl Story,
    client: &mut Conn,
    request: &Head,
    buffer: &mut Vec<u8>,
    said: Said<'_>,
) -> Next {
    let to_head = request.method() == b"HEAD";
    if request.framing() != Framing::None || !request.persistent() || story.draining() {
        return last(client, said, to_head).await;
    }
    buffer.clear();
    said.write(false, to_head, buffer);
    match client.send(buffer).await {
        Ok(()) => Next::Keep,
        Err(_) => Next::Abort,
    }
}
