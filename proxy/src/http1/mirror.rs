//! Copies of HTTP/1 requests for mirrors: sent beside the request, their answers read and thrown away.
//!
//! Started when the endpoint has answered the request itself, so that a copy never delays it. Whatever goes wrong with a copy
//! is counted and nobody is told; it ends after `plan`'s time limit.

use super::body::BodyScanner;
use super::exchange;
use super::framing::Framing;
use super::head::Head;
use crate::cluster::Upstream;
use crate::conn::{Conn, READ_CHUNK};
use crate::error::Failure;
use crate::plan::{Mirrored, Plan};
use bytes::Buf;
use std::rc::Rc;

/// The largest head of an answer that is read.
const MAX_HEAD: usize = 64 * 1024;

/// Sends `request`, a whole message, to a mirror; `to_head`: its method is HEAD. Comes back at once.
pub fn send(copy: Mirrored, request: Vec<u8>, to_head: bool) {
    copy.carry_out(async move |plan, upstream| exchange(plan, upstream, &request, to_head).await);
}

/// The whole exchange; gives the status of the answer.
async fn exchange(plan: &Plan, upstream: &Rc<Upstream>, request: &[u8], to_head: bool) -> Result<u16, Failure> {
    let port = plan.port_of(upstream);
    // A copy is never sent twice, so it takes only connections that are sure to be alive.
    let (mut conn, _) = upstream.http1(port, plan.connect_timeout(), false).await?;
    conn.send(request).await.map_err(|_| Failure::ResetBeforeResponse)?;
    let mut head = Head::default();
    loop {
        exchange::read_response(&mut conn, &mut head, to_head, MAX_HEAD).await?;
        match head.status {
            101 => return Err(Failure::MalformedResponse("upgrade that nobody asked for")),
            100..200 => {}
            _ => break,
        }
    }
    let framing = head.framing();
    discard(&mut conn, framing).await?;
    if framing != Framing::UntilClose && head.persistent() && conn.buf.is_empty() {
        upstream.give_back(port, conn);
    }
    Ok(head.status)
}

async fn discard(conn: &mut Conn, framing: Framing) -> Result<(), Failure> {
    let mut body = BodyScanner::new(framing);
    loop {
        let taken = body.scan(&conn.buf).map_err(Failure::MalformedResponse)?;
        conn.buf.advance(taken);
        if body.done() {
            return Ok(());
        }
        match conn.fill(READ_CHUNK).await {
            Ok(0) if body.endless() => return Ok(()),
            Ok(n) if n > 0 => {}
            _ => return Err(Failure::ResetMidResponse),
        }
    }
}
