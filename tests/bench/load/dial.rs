//! A new connection for every exchange that nobody looks into: a few bytes there, eight bytes back, and it is closed.
//!
//! Between two proxies that cannot share such connections, each of them needs a TLS session of its own. Blocking, a thread for each
//! connection that is open at the same time; the first failure fails the run.

use anyhow::{Context, ensure};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};
use weft_examples::pods::Pod;

/// How long any step of a connection may take.
const LIMIT: Duration = Duration::from_secs(10);

/// What one run came to.
#[derive(Debug, Clone, Copy)]
pub struct Dialled {
    pub connections: u64,
    pub elapsed: Duration,
}

/// Dials `target` from inside `client` for `duration`, `at_once` at the same time, `bytes` in each connection.
pub fn run(
    client: &Pod,
    target: SocketAddr,
    at_once: u32,
    bytes: usize,
    duration: Duration,
) -> anyhow::Result<Dialled> {
    client.within(|| {
        let (begin, sent) = (Instant::now(), vec![b'x'; bytes]);
        let dial = || {
            let mut connections = 0;
            while begin.elapsed() < duration {
                exchange(target, &sent).with_context(|| format!("connection {connections} of a thread"))?;
                connections += 1;
            }
            anyhow::Ok(connections)
        };
        let counted: anyhow::Result<u64> = thread::scope(|scope| {
            let threads: Vec<_> = (0..at_once).map(|_| scope.spawn(dial)).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).sum()
        });
        let connections = counted?;
        ensure!(connections > 0, "not one connection within {duration:?}");
        Ok(Dialled { connections, elapsed: begin.elapsed() })
    })?
}

fn exchange(target: SocketAddr, sent: &[u8]) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect_timeout(&target, LIMIT).context("dial")?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(sent)?;
    stream.shutdown(Shutdown::Write)?;
    let mut arrived = [0; 8];
    stream.read_exact(&mut arrived).context("wait for the server's word")?;
    let arrived = u64::from_be_bytes(arrived);
    ensure!(arrived == sent.len() as u64, "{} bytes were sent and {arrived} arrived", sent.len());
    Ok(())
}
