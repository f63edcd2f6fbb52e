//! One TCP stream, written as fast as it is taken.
//!
//! The server says how many bytes arrived, and the time ends with its word: what is still in somebody's buffer is not counted as
//! done. A byte that is missing fails the run.

use anyhow::{Context, ensure};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use weft_examples::pods::Pod;

/// How long the connection, and at the end the server, may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Large, so that this end is not what limits.
const CHUNK: usize = 256 * 1024;

/// What one run came to.
#[derive(Debug, Clone, Copy)]
pub struct Moved {
    pub bytes: u64,
    pub elapsed: Duration,
}

/// Writes to `target` from inside `client` for `duration`.
pub fn run(client: &Pod, target: SocketAddr, duration: Duration) -> anyhow::Result<Moved> {
    let mut stream = client.within(|| TcpStream::connect_timeout(&target, LIMIT))?.context("dial")?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.set_read_timeout(Some(LIMIT))?;
    let (chunk, mut bytes, begin) = (vec![b'x'; CHUNK], 0, Instant::now());
    while begin.elapsed() < duration {
        stream.write_all(&chunk).context("write")?;
        bytes += chunk.len() as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut arrived = [0; 8];
    stream.read_exact(&mut arrived).context("wait for the server's word")?;
    let (elapsed, arrived) = (begin.elapsed(), u64::from_be_bytes(arrived));
    ensure!(arrived == bytes, "{bytes} bytes were sent and {arrived} arrived");
    Ok(Moved { bytes, elapsed })
}
