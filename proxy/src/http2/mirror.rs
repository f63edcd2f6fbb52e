//! Copies of HTTP/2 requests for mirrors: sent after the request, their answers read and thrown away.
//!
//! Started when the client has its answer, so that a copy never delays it. Whatever goes wrong with a copy is counted and
//! nobody is told; it ends after `plan`'s time limit.

use super::body;
use crate::cluster::Upstream;
use crate::connect::http2::failure;
use crate::error::Failure;
use crate::plan::{Mirrored, Plan};
use bytes::Bytes;
use http::{HeaderMap, Request};
use std::rc::Rc;

/// A request with all that belongs to it.
struct Whole {
    head: Request<()>,
    body: Vec<Bytes>,
    trailers: Option<HeaderMap>,
}

/// Sends a copy of a request to a mirror. Comes back at once.
pub fn send(copy: Mirrored, head: Request<()>, body: Vec<Bytes>, trailers: Option<HeaderMap>) {
    copy.carry_out(async move |plan, upstream| exchange(plan, upstream, Whole { head, body, trailers }).await);
}

/// The whole exchange; gives the status of the answer.
async fn exchange(plan: &Plan, upstream: &Rc<Upstream>, request: Whole) -> Result<u16, Failure> {
    let Whole { head, body: chunks, trailers } = request;
    let (mut sender, _place) = upstream.http2(plan.port_of(upstream), plan.connect_timeout()).await?;
    let empty = chunks.is_empty() && trailers.is_none();
    let (response, mut to) = sender.send_request(head, empty).map_err(|_| Failure::RefusedStream)?;
    if !empty {
        body::send_whole(&mut to, chunks, trailers).await.map_err(|error| failure(&error))?;
    }
    let answer = response.await.map_err(|error| failure(&error))?;
    let (status, mut incoming) = (answer.status().as_u16(), answer.into_body());
    while let Some(chunk) = incoming.data().await {
        let chunk = chunk.map_err(|_| Failure::ResetMidResponse)?;
        // Fails only when the stream is gone, which the next read reports.
        let _ = incoming.flow_control().release_capacity(chunk.len());
    }
    Ok(status)
}
