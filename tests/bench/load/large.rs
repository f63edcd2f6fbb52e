//! HTTP/1.1 with large bodies: one after the other on one connection, each answered by a body as large.
//!
//! The answer begins when the request has ended, so each direction is loaded by itself. A byte that is missing fails the run.

use crate::message;
use anyhow::{Context, bail, ensure};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use weft_examples::pods::Pod;

const PATH: &str = "/large";
/// Bytes in each body, in both directions.
pub const BODY: usize = 64 << 20;
/// Large, so that this end is not what limits.
const CHUNK: usize = 256 * 1024;
/// How long a single read or write may take.
const LIMIT: Duration = Duration::from_secs(10);

/// What one run came to: bytes of bodies in both directions together.
#[derive(Debug, Clone, Copy)]
pub struct Moved {
    pub bytes: u64,
    pub elapsed: Duration,
}

/// Asks `target` from inside `client` until `duration` is over, at least once.
pub fn run(client: &Pod, target: SocketAddr, duration: Duration) -> anyhow::Result<Moved> {
    let mut stream = client.within(|| TcpStream::connect_timeout(&target, LIMIT))?.context("dial")?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut chunk = vec![b'x'; CHUNK];
    let (mut bytes, begin) = (0, Instant::now());
    while bytes == 0 || begin.elapsed() < duration {
        send(&mut stream, target, &chunk).context("send a request")?;
        receive(&mut stream, &mut chunk).context("read its answer")?;
        bytes += 2 * BODY as u64;
    }
    Ok(Moved { bytes, elapsed: begin.elapsed() })
}

fn send(stream: &mut TcpStream, target: SocketAddr, chunk: &[u8]) -> anyhow::Result<()> {
    write!(stream, "POST {PATH} HTTP/1.1\r\nhost: {target}\r\ncontent-length: {BODY}\r\n\r\n")?;
    (0..BODY / CHUNK).try_for_each(|_| stream.write_all(chunk))?;
    Ok(())
}

fn receive(stream: &mut TcpStream, chunk: &mut [u8]) -> anyhow::Result<()> {
    let mut buffer = vec![];
    let head = loop {
        match stream.read(chunk)? {
            0 => bail!("the connection ended before the answer"),
            length => buffer.extend_from_slice(&chunk[..length]),
        }
        if let Some(head) = message::head(&buffer) {
            break head;
        }
    };
    let good = buffer.starts_with(b"HTTP/1.1 200 ") && head.body == BODY;
    ensure!(good, "the answer is {:?}", String::from_utf8_lossy(&buffer[..head.length]));
    let mut missing = head.length + head.body - buffer.len();
    while missing > 0 {
        let most = missing.min(chunk.len());
        match stream.read(&mut chunk[..most])? {
            0 => bail!("the connection ended {missing} bytes early"),
            length => missing -= length,
        }
    }
    Ok(())
}
