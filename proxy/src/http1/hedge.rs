//! The two tries of an HTTP/1 request that is at two endpoints at once.
//!
//! Beside `serve`, when an answer is late and `plan` has found another endpoint. The request has been sent whole and kept, so
//! both tries have a connection and a response head of their own and can end in any order; dropping one closes its connection.

use super::exchange::{self, Expect, Upload};
use super::head::Head;
use crate::cluster::Upstream;
use crate::conn::Conn;
use crate::error::Failure;
use crate::plan::{Plan, within};
use std::rc::Rc;
use tokio::time::Instant;

/// A response head, and the connection that its body comes on.
pub struct Reply {
    pub conn: Conn,
    pub port: u16,
    pub head: Head,
}

/// A try whose request has been sent, and whose answer is late.
pub struct Late {
    pub conn: Conn,
    pub port: u16,
    pub expect: Expect,
    /// When the try's time is over.
    pub end: Option<Instant>,
}

/// Goes on waiting. `head` is overwritten.
pub async fn wait(client: &mut Conn, late: Late, upload: &mut Upload, mut head: Head) -> Result<Reply, Failure> {
    let Late { mut conn, port, expect, end } = late;
    let expect = Expect { patience: None, ..expect };
    within(end, exchange::request(client, &mut conn, upload, &mut head, expect)).await?;
    match head.status {
        101 => Err(Failure::MalformedResponse("upgrade that nobody asked for")),
        _ => Ok(Reply { conn, port, head }),
    }
}

/// Sends `message`, the whole request, to `upstream` and waits for its answer. Interim responses are not passed on: the client
/// has had those of the first try.
pub async fn send(plan: &Plan, upstream: &Rc<Upstream>, message: Vec<u8>, expect: Expect) -> Result<Reply, Failure> {
    let port = plan.port_of(upstream);
    // What is hedged may be repeated, so that any connection will do.
    let (mut conn, reused) = upstream.http1(port, plan.connect_timeout(), true).await?;
    let expect = Expect { reused, ..expect };
    let mut head = Head::default();
    let exchange = async {
        let broken = |_| if reused { Failure::StaleConnection } else { Failure::ResetBeforeResponse };
        conn.send(&message).await.map_err(broken)?;
        loop {
            exchange::read_expected(&mut conn, &mut head, expect).await?;
            match head.status {
                101 => return Err(Failure::MalformedResponse("upgrade that nobody asked for")),
                100..200 => {}
                _ => return Ok(()),
            }
        }
    };
    within(plan.try_timeout.map(|limit| Instant::now() + limit), exchange).await?;
    Ok(Reply { conn, port, head })
}
