//! Copies of HTTP/2 requests for mirrors: sent after the request, their answers read and thrown away.
//!
//! Started when the client has its answer, so that a copy never delays it. Whatever goes wrong with a copy is counted and
//! nobody is told; it ends after [`MIRROR_LIMIT`].

use super::body;
use crate::cluster::Upstream;
use crate::connect::http2::failure;
use crate::error::Failure;
use crate::plan::{Attempts, MIRROR_LIMIT, Mirrored, Plan};
use bytes::Bytes;
use http::{HeaderMap, Request};
use std::rc::Rc;
use std::time::Instant;
use tokio::time::timeout;

/// A request with all that belongs to it.
struct Whole {
    head: Request<()>,
    body: Vec<Bytes>,
    trailers: Option<HeaderMap>,
}

/// Sends a copy of a request to a mirror. Comes back at once.
pub fn send(copy: Mirrored, head: Request<()>, body: Vec<Bytes>, trailers: Option<HeaderMap>) {
    tokio::task::spawn_local(async move {
        let Mirrored { plan, label, permit } = copy;
        let started = Instant::now();
        let mut attempts = Attempts::new(&plan);
        match attempts.pick(started) {
            Err(failure) => plan.unserved(&failure, started.elapsed()),
            Ok(upstream) => {
                let begun = upstream.load.begin(started);
                let exchange = exchange(&plan, &upstream, Whole { head, body, trailers });
                let result = timeout(MIRROR_LIMIT, exchange).await.unwrap_or(Err(Failure::RequestTimeout));
                attempts.ended(begun, result.as_ref().err());
                let (status, reason) = match &result {
                    Ok(status) => (*status, ""),
                    Err(failure) => (failure.status(), failure.reason()),
                };
                upstream.meter.record(&label.label, status, reason, started.elapsed());
            }
        }
        drop(permit);
    });
}

/// The whole exchange; gives the status of the answer.
async fn exchange(plan: &Plan, upstream: &Rc<Upstream>, request: Whole) -> Result<u16, Failure> {
    let Whole { head, body: chunks, trailers } = request;
    let (mut sender, _place) = upstream.http2(plan.port_of(upstream), plan.connect_timeout()).await?;
    let empty = chunks.is_empty() && trailers.is_none();
    let (response, mut to) = sender.send_request(head, empty).map_err(|_| Failure::RefusedStream)?;
    let sending = async {
        for (at, chunk) in chunks.iter().enumerate() {
            let last = trailers.is_none() && at + 1 == chunks.len();
            body::send(&mut to, chunk.clone(), last).await?;
        }
        trailers.map_or(Ok(()), |trailers| to.send_trailers(trailers))
    };
    if !empty {
        sending.await.map_err(|error| failure(&error))?;
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
