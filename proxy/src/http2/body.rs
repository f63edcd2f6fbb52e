//! Moves one HTTP/2 body, with its trailers, from one stream to another.
//!
//! Flow control is end to end: the source's window opens only as the destination takes data, so a slow reader slows its
//! own sender and nobody else. Errors name the side that broke.

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

/// Which side of a body's way broke.
#[derive(Debug)]
pub enum BodyError {
    /// The sender reset its stream or its connection.
    Source(h2::Error),
    /// The receiver reset, or its connection is gone; it may have answered all the same.
    Sink(h2::Error),
}

/// A body on its way up: what has been sent of it is kept (bounded) for another attempt.
#[derive(Debug)]
pub struct Upload {
    body: RecvStream,
    kept: Vec<Bytes>,
    kept_size: usize,
    limit: usize,
    trailers: Option<HeaderMap>,
    ended: bool,
    progress: Rc<Progress>,
}

/// How far an upload has come. Shared, so that it can be asked while the upload is running.
#[derive(Debug, Default)]
pub struct Progress {
    overflowed: Cell<bool>,
    moved: Cell<u64>,
}

impl Progress {
    /// More was sent than is kept: it cannot be sent again.
    pub fn overflowed(&self) -> bool {
        self.overflowed.get()
    }

    /// Bytes that the client has sent.
    pub fn moved(&self) -> u64 {
        self.moved.get()
    }
}

impl Upload {
    /// `limit`: how many bytes are kept for a replay; 0 keeps nothing.
    pub fn new(body: RecvStream, limit: usize) -> Self {
        let ended = body.is_end_stream();
        Self { body, kept: Vec::new(), kept_size: 0, limit, trailers: None, ended, progress: Rc::default() }
    }

    /// There is no body at all: the request's head ends its stream.
    pub fn empty(&self) -> bool {
        self.ended && self.kept.is_empty() && self.trailers.is_none() && !self.progress.overflowed()
    }

    /// All of the body and its trailers, if all of it has come and was kept.
    pub fn whole(&self) -> Option<(Vec<Bytes>, Option<HeaderMap>)> {
        (self.ended && !self.progress.overflowed()).then(|| (self.kept.clone(), self.trailers.clone()))
    }

    /// How far it has come, also while it is running.
    pub fn progress(&self) -> Rc<Progress> {
        Rc::clone(&self.progress)
    }

    /// Sends what was kept, then the rest as it comes. Dropping the future leaves the upload ready for another attempt.
    pub async fn run(&mut self, to: &mut SendStream<Bytes>) -> Result<(), BodyError> {
        for at in 0..self.kept.len() {
            let last = self.ended && self.trailers.is_none() && at + 1 == self.kept.len();
            send(to, self.kept[at].clone(), last).await.map_err(BodyError::Sink)?;
            if last {
                return Ok(());
            }
        }
        while !self.ended {
            match self.body.data().await {
                Some(chunk) => {
                    let chunk = chunk.map_err(BodyError::Source)?;
                    let size = chunk.len();
                    self.keep(&chunk);
                    self.ended = self.body.is_end_stream();
                    send(to, chunk, self.ended).await.map_err(BodyError::Sink)?;
                    // Fails only when the stream is gone, which the next read reports.
                    let _ = self.body.flow_control().release_capacity(size);
                    if self.ended {
                        return Ok(());
                    }
                }
                None => {
                    self.trailers = self.body.trailers().await.map_err(BodyError::Source)?;
                    self.ended = true;
                }
            }
        }
        match &self.trailers {
            Some(trailers) => to.send_trailers(trailers.clone()).map_err(BodyError::Sink),
            None => to.send_data(Bytes::new(), true).map_err(BodyError::Sink),
        }
    }

    fn keep(&mut self, chunk: &Bytes) {
        self.progress.moved.set(self.progress.moved.get() + chunk.len() as u64);
        if self.progress.overflowed() || self.kept_size + chunk.len() > self.limit {
            self.progress.overflowed.set(true);
            self.kept = Vec::new();
        } else {
            self.kept_size += chunk.len();
            self.kept.push(chunk.clone());
        }
    }
}

/// A body on its way down; `edit` changes its trailers. Returns the number of bytes moved and the trailers' `grpc-status`, if
/// there was one.
pub async fn download(
    mut body: RecvStream,
    to: &mut SendStream<Bytes>,
    edit: impl Fn(&mut HeaderMap),
) -> (u64, Result<Option<u16>, BodyError>) {
    let mut moved = 0;
    let result = async {
        while let Some(chunk) = next(&mut body, to).await? {
            let size = chunk.len();
            let last = body.is_end_stream();
            send(to, chunk, last).await.map_err(BodyError::Sink)?;
            moved += size as u64;
            let _ = body.flow_control().release_capacity(size);
            if last {
                return Ok(None);
            }
        }
        match body.trailers().await.map_err(BodyError::Source)? {
            Some(mut trailers) => {
                edit(&mut trailers);
                let status = grpc_status(&trailers);
                to.send_trailers(trailers).map_err(BodyError::Sink)?;
                Ok(status)
            }
            None => to.send_data(Bytes::new(), true).map(|()| None).map_err(BodyError::Sink),
        }
    }
    .await;
    (moved, result)
}

/// The next chunk, unless the receiver goes away first: a silent stream must not outlive its client.
async fn next(body: &mut RecvStream, to: &mut SendStream<Bytes>) -> Result<Option<Bytes>, BodyError> {
    poll_fn(|cx| {
        if let Poll::Ready(reset) = to.poll_reset(cx) {
            return Poll::Ready(Err(BodyError::Sink(reset.map_or_else(|error| error, h2::Error::from))));
        }
        body.poll_data(cx).map(|chunk| chunk.transpose().map_err(BodyError::Source))
    })
    .await
}

/// The `grpc-status` among header fields or trailers.
pub fn grpc_status(fields: &HeaderMap) -> Option<u16> {
    fields.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// Sends a body that is there as a whole, with its trailers.
pub(super) async fn send_whole(
    to: &mut SendStream<Bytes>,
    chunks: Vec<Bytes>,
    trailers: Option<HeaderMap>,
) -> Result<(), h2::Error> {
    let count = chunks.len();
    for (at, chunk) in chunks.into_iter().enumerate() {
        send(to, chunk, trailers.is_none() && at + 1 == count).await?;
    }
    trailers.map_or(Ok(()), |trailers| to.send_trailers(trailers))
}

/// Sends `chunk` as the receiver's window allows.
async fn send(to: &mut SendStream<Bytes>, mut chunk: Bytes, last: bool) -> Result<(), h2::Error> {
    if chunk.is_empty() {
        return if last { to.send_data(chunk, true) } else { Ok(()) };
    }
    while !chunk.is_empty() {
        to.reserve_capacity(chunk.len());
        if to.capacity() == 0 {
            match poll_fn(|cx| to.poll_capacity(cx)).await {
                Some(granted) => granted?,
                None => return Err(Reason::CANCEL.into()),
            };
        }
        let part = chunk.split_to(to.capacity().min(chunk.len()));
        to.send_data(part, last && chunk.is_empty())?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
