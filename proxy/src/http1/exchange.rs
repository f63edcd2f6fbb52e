//! One attempt of one HTTP/1 request over one upstream connection.
//!
//! Body up and response down move at the same time in one task, without splitting either connection. Until the final
//! response head has arrived nothing has been said to the client, so the attempt can still be made again; afterwards a
//! failure can only cut the client's connection.

use super::framing::Framing;
use super::head::{Head, HeadError};
use super::pump::{Pump, PumpError, Replay};
use crate::conn::Conn;
use crate::error::Failure;
use bytes::Buf;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// The request's way up: survives from attempt to attempt.
#[derive(Debug)]
pub struct Upload {
    pub pump: Pump,
    /// `None`: not to be repeated.
    pub replay: Option<Replay>,
    /// The endpoint no longer reads; its answer may be there all the same.
    refused: bool,
    /// The client has ended its side behind the request.
    ended: bool,
    /// The endpoint has been told so.
    told: bool,
}

impl Upload {
    /// `buffer` is reused; `head` goes before the body.
    pub fn new(framing: Framing, mut buffer: Vec<u8>, head: &[u8], replay: Option<Replay>) -> Self {
        buffer.extend_from_slice(head);
        Self { pump: Pump::new(framing, buffer), replay, refused: false, ended: false, told: false }
    }

    /// Gives the buffer back for the next request.
    pub fn into_buffer(self) -> Vec<u8> {
        self.pump.into_buffer()
    }

    /// Prepares another attempt.
    pub fn restart(&mut self, head: &[u8]) {
        (self.refused, self.told) = (false, false);
        self.pump.restart(head, self.replay.as_ref());
    }

    /// Everything that has been sent can be sent again.
    pub fn repeatable(&self) -> bool {
        self.replay.as_ref().is_some_and(Replay::possible)
    }

    /// The endpoint has taken the whole request.
    pub fn complete(&self) -> bool {
        self.pump.finished()
    }

    /// Neither the client nor the connection to the endpoint will carry another request.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The body as it was sent, if all of it has been sent and kept.
    pub fn copy(&self) -> Option<&[u8]> {
        if !self.pump.finished() {
            return None;
        }
        self.replay.as_ref().map_or(Some(&[]), Replay::whole)
    }

    fn poll(&mut self, cx: &mut Context<'_>, client: &mut Conn, upstream: &mut Conn) -> Result<(), Failure> {
        if self.refused || self.pump.finished() {
            return Ok(());
        }
        match self.pump.poll(cx, client, upstream, &mut self.replay) {
            Poll::Pending | Poll::Ready(Ok(())) => Ok(()),
            Poll::Ready(Err(PumpError::Write(_))) => {
                self.refused = true;
                Ok(())
            }
            Poll::Ready(Err(PumpError::Malformed(what))) => Err(Failure::MalformedRequest(what)),
            Poll::Ready(Err(PumpError::Read(_) | PumpError::Cut)) => Err(Failure::ClientGone),
        }
    }

    /// A client that has sent its request may leave, which is an error, or end its side only: then the endpoint is told, and decides
    /// whether it goes on, as it would without a mesh.
    fn poll_end(&mut self, cx: &mut Context<'_>, client: &mut Conn, upstream: &mut Conn) -> Result<(), Failure> {
        if !self.pump.finished() {
            return Ok(());
        }
        if !self.ended {
            match client.poll_end(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(ended) => ended.map_err(|_| Failure::ClientGone)?,
            }
            self.ended = true;
        }
        // Should it fail, that shows in the answer.
        self.told = self.told || upstream.poll_finish(cx).is_ready();
        Ok(())
    }
}

/// What the response head is read with.
#[derive(Debug, Clone, Copy)]
pub struct Expect {
    /// Answers to HEAD have no body.
    pub to_head: bool,
    /// The client understands interim responses.
    pub interim: bool,
    /// The connection has served before: its end without an answer may only mean that it had grown old.
    pub reused: bool,
    pub max_head: usize,
    /// How long the answer is waited for once all of the request has been sent and kept; `None`: for as long as it takes.
    pub patience: Option<Duration>,
}

/// What came of waiting for a response head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    Answered,
    /// `Expect::patience` is over; waiting can go on.
    InVain,
}

/// Sends the request and waits for the final response head, which is left in `response`.
/// Interim responses (1xx) are passed on as they come.
pub async fn request(
    client: &mut Conn,
    upstream: &mut Conn,
    upload: &mut Upload,
    response: &mut Head,
    expect: Expect,
) -> Result<Waited, Failure> {
    let mut patience: Option<Pin<Box<Sleep>>> = None;
    loop {
        let waited = poll_fn(|cx| {
            if let Err(failure) = upload.poll(cx, client, upstream) {
                return Poll::Ready(Err(failure));
            }
            if let Poll::Ready(done) = poll_head(cx, upstream, response, expect) {
                return Poll::Ready(match done {
                    // It has stopped working for a client that nobody needs to be tried for again.
                    Err(_) if upload.ended() => Err(Failure::ClientGone),
                    done => done.map(|()| Waited::Answered),
                });
            }
            if let Err(failure) = upload.poll_end(cx, client, upstream) {
                return Poll::Ready(Err(failure));
            }
            let Some(limit) = expect.patience.filter(|_| upload.copy().is_some()) else { return Poll::Pending };
            // On the heap: few services have their requests hedged.
            let patience = patience.get_or_insert_with(|| Box::pin(sleep(limit)));
            patience.as_mut().poll(cx).map(|()| Ok(Waited::InVain))
        });
        if waited.await? == Waited::InVain {
            return Ok(Waited::InVain);
        }
        match response.status {
            101 | 200.. => return Ok(Waited::Answered),
            _ if expect.interim => {
                let mut interim = Vec::with_capacity(128);
                response.write_response(&mut interim);
                interim.extend_from_slice(b"\r\n");
                client.send(&interim).await.map_err(|_| Failure::ClientGone)?;
            }
            _ => {}
        }
    }
}

fn poll_head(cx: &mut Context<'_>, upstream: &mut Conn, head: &mut Head, expect: Expect) -> Poll<Result<(), Failure>> {
    loop {
        if !upstream.buf.is_empty() {
            match head.read_response(&upstream.buf, expect.to_head) {
                Ok(Some(n)) => {
                    upstream.buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Ok(None) if upstream.buf.len() < expect.max_head => {}
                Ok(None) | Err(HeadError::TooLarge) => {
                    return Poll::Ready(Err(Failure::MalformedResponse("head too large")));
                }
                Err(HeadError::Malformed(what)) => return Poll::Ready(Err(Failure::MalformedResponse(what))),
            }
        }
        match ready!(upstream.poll_fill(cx, 8 * 1024)) {
            Ok(n) if n > 0 => {}
            _ if !upstream.buf.is_empty() => {
                return Poll::Ready(Err(Failure::MalformedResponse("cut inside the head")));
            }
            _ if expect.reused => return Poll::Ready(Err(Failure::StaleConnection)),
            _ => return Poll::Ready(Err(Failure::ResetBeforeResponse)),
        }
    }
}

/// Waits for the next response head on `conn`, which is left in `head`.
pub async fn read_response(conn: &mut Conn, head: &mut Head, to_head: bool, max_head: usize) -> Result<(), Failure> {
    read_expected(conn, head, Expect { to_head, interim: false, reused: false, max_head, patience: None }).await
}

/// The same with what else is known about it.
pub async fn read_expected(conn: &mut Conn, head: &mut Head, expect: Expect) -> Result<(), Failure> {
    poll_fn(|cx| poll_head(cx, conn, head, expect)).await
}

/// Moves the response body down, and what is left of the request up, until the response is complete.
pub async fn response(
    client: &mut Conn,
    upstream: &mut Conn,
    upload: &mut Upload,
    download: &mut Pump,
) -> Result<(), Failure> {
    poll_fn(|cx| {
        // A client that stops sending in the middle of its body can still read the answer.
        if upload.poll(cx, client, upstream).is_err() {
            upload.refused = true;
        }
        match ready!(download.poll(cx, upstream, client, &mut None)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(PumpError::Write(_)) => Poll::Ready(Err(Failure::ClientGone)),
            Err(PumpError::Malformed(what)) => Poll::Ready(Err(Failure::MalformedResponse(what))),
            Err(PumpError::Read(_) | PumpError::Cut) => Poll::Ready(Err(Failure::ResetMidResponse)),
        }
    })
    .await
}

/// Reads until a whole request head is there. `Ok(false)`: the client ended in order between requests.
pub async fn read_request(client: &mut Conn, head: &mut Head, max_head: usize) -> Result<bool, Failure> {
    loop {
        if !client.buf.is_empty() {
            match head.read_request(&client.buf) {
                Ok(Some(n)) if n <= max_head => {
                    client.buf.advance(n);
                    return Ok(true);
                }
                Ok(None) if client.buf.len() < max_head => {}
                Ok(_) | Err(HeadError::TooLarge) => return Err(Failure::HeadersTooLarge),
                Err(HeadError::Malformed(what)) => return Err(Failure::MalformedRequest(what)),
            }
        }
        match client.fill(4 * 1024).await {
            Ok(0) if client.buf.is_empty() => return Ok(false),
            Ok(0) => return Err(Failure::ClientGone),
            Ok(_) => {}
            Err(error) if client.buf.is_empty() && error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(_) => return Err(Failure::ClientGone),
        }
    }
}
