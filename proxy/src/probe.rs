//! Asking an endpoint's sidecar how busy the endpoint is: the protocol of both ends.
//!
//! Over a connection of its own between two sidecars (ALPN `weft-probe`), which no application and no unmeshed client can
//! reach: one byte asks, twelve answer (requests in flight, then the latency to expect in microseconds, big endian). A probe that fails
//! or takes too long is followed by a pause; the balancer then goes by what it sees itself.

use crate::balance::Load;
use crate::balance::prequal::Probe;
use crate::conn::Conn;
use bytes::Buf;
use std::cell::{Cell, RefCell};
use std::io;
use std::time::{Duration, Instant};

const QUESTION: u8 = b'?';
const ANSWER: usize = 12;
/// An answer that comes later is worth nothing.
const LIMIT: Duration = Duration::from_secs(1);
/// After a failure; also how long a sidecar that knows no probes is left alone.
const PAUSE: Duration = Duration::from_secs(5);

/// One endpoint's probes: one at a time, over one connection.
#[derive(Debug, Default)]
pub struct Prober {
    idle: RefCell<Option<Conn>>,
    asking: Cell<bool>,
    paused_until: Cell<Option<Instant>>,
}

impl Prober {
    /// A probe may be sent now; `None` while another is under way.
    pub fn ready(&self, now: Instant) -> bool {
        !self.asking.get() && !self.failed(now)
    }

    /// The last one failed a moment ago.
    pub fn failed(&self, now: Instant) -> bool {
        self.paused_until.get().is_some_and(|until| now < until)
    }

    /// Asks, over the connection that is there, or one that `dial` makes.
    pub async fn ask<E>(&self, dial: impl Future<Output = Result<Conn, E>>) -> Option<Probe> {
        self.asking.set(true);
        let idle = self.idle.borrow_mut().take();
        let whole = async {
            let mut conn = match idle {
                Some(conn) => conn,
                None => dial.await.ok()?,
            };
            let probe = ask(&mut conn).await.ok()?;
            Some((conn, probe))
        };
        let asked = tokio::time::timeout(LIMIT, whole).await.ok().flatten();
        self.asking.set(false);
        match asked {
            Some((conn, probe)) => {
                *self.idle.borrow_mut() = Some(conn);
                Some(probe)
            }
            None => {
                self.paused_until.set(Some(Instant::now() + PAUSE));
                None
            }
        }
    }
}

async fn ask(conn: &mut Conn) -> io::Result<Probe> {
    conn.send(&[QUESTION]).await?;
    while conn.buf.len() < ANSWER {
        if conn.fill(ANSWER).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Probe { in_flight: conn.buf.get_u32(), latency: Duration::from_micros(conn.buf.get_u64()) })
}

/// Answers for the application with this `load` until the other side has had enough, or sends what is no question.
pub async fn answer(mut conn: Conn, load: &Load) -> io::Result<()> {
    loop {
        if conn.fill(1).await? == 0 {
            return Ok(());
        }
        while conn.buf.has_remaining() {
            if conn.buf.get_u8() != QUESTION {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let probe = load.probe(Instant::now());
            let latency = u64::try_from(probe.latency.as_micros()).unwrap_or(u64::MAX);
            let mut answer = [0; ANSWER];
            answer[..4].copy_from_slice(&probe.in_flight.to_be_bytes());
            answer[4..].copy_from_slice(&latency.to_be_bytes());
            conn.send(&answer).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use tokio::net::{TcpListener, TcpStream};

    async fn pair() -> (Conn, Conn) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        (Conn::plain(dialled, BytesMut::new()), Conn::plain(accepted, BytesMut::new()))
    }

    #[tokio::test]
    async fn both_ends_understand_each_other_over_one_connection() {
        let (client, server) = pair().await;
        let load = Load::new(Instant::now());
        let _held = [load.serving(), load.serving()];
        let asking = async {
            let prober = Prober::default();
            let first = prober.ask(async { Ok::<_, ()>(client) }).await;
            assert_eq!(first, Some(Probe { in_flight: 2, latency: Duration::ZERO }));
            assert!(prober.ready(Instant::now()));
            let second = prober.ask(async { Err::<Conn, _>(()) }).await;
            assert_eq!(second, first, "the connection is kept");
        };
        let (answered, ()) = tokio::join!(answer(server, &load), asking);
        assert!(answered.is_ok(), "the client's end is the end");
    }

    #[tokio::test]
    async fn a_failure_is_followed_by_a_pause_and_what_is_no_question_by_the_end() {
        let prober = Prober::default();
        assert_eq!(prober.ask(async { Err::<Conn, _>(()) }).await, None);
        let now = Instant::now();
        assert!(prober.failed(now) && !prober.ready(now) && prober.ready(now + PAUSE));
        let (mut client, server) = pair().await;
        client.send(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(answer(server, &Load::new(now)).await.is_err());
    }
}
