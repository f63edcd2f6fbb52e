//! Connections that were used once and are kept: what a pod full of connection pools looks like to its proxy.
//!
//! Opened one after the other, each with one request, so that the proxies' buffers never pile up. All of them have to be open
//! until the end.

use super::paced::receive;
use anyhow::Context;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use weft_examples::pods::Pod;

/// How long a connection or an answer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Open connections from inside a pod.
pub struct Idle<'a> {
    client: &'a Pod,
    target: SocketAddr,
    streams: Vec<TcpStream>,
}

impl<'a> Idle<'a> {
    pub fn new(client: &'a Pod, target: SocketAddr) -> Self {
        Self { client, target, streams: vec![] }
    }

    /// Opens more until there are `count`, and asks once on each new one.
    pub fn grow(&mut self, count: usize) -> anyhow::Result<()> {
        let (target, missing) = (self.target, count.saturating_sub(self.streams.len()));
        let open = || {
            let one = |index| dial(target).with_context(|| format!("connection {index} of {missing} more"));
            (0..missing).map(one).collect::<anyhow::Result<Vec<_>>>()
        };
        self.streams.extend(self.client.within(open)??);
        Ok(())
    }

    /// Asks again on every hundredth: a proxy that closed them on the sly would look thrifty.
    pub fn still_open(&mut self) -> anyhow::Result<()> {
        let target = self.target;
        let mut sample = self.streams.iter_mut().step_by(100);
        sample.try_for_each(|stream| ask(stream, target)).context("ask on an idle connection")
    }
}

fn dial(target: SocketAddr) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&target, LIMIT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    ask(&mut stream, target)?;
    Ok(stream)
}

fn ask(stream: &mut TcpStream, target: SocketAddr) -> anyhow::Result<()> {
    stream.write_all(format!("GET / HTTP/1.1\r\nhost: {target}\r\n\r\n").as_bytes())?;
    receive(stream, &mut vec![])
}
