//! gRPC streams in both directions: each message comes back before the next one takes its place.
//!
//! Some messages are under way on each stream all the time. What comes back is counted by its bytes, and every stream has to end
//! well with all that was sent: a message that is missing fails the run.

use anyhow::{Context, ensure};
use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use weft_examples::pods::Pod;

/// How long a stream may take to end after its last message.
const LIMIT: Duration = Duration::from_secs(20);

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub struct Streams {
    pub connections: u32,
    /// On each connection.
    pub streams: u32,
    /// Messages under way on each stream.
    pub window: u64,
    /// Bytes in a message.
    pub message: usize,
}

/// What one run came to.
#[derive(Debug, Clone, Copy)]
pub struct Loaded {
    pub messages: u64,
    pub elapsed: Duration,
}

/// Streams to `target` from inside `client` for `duration`.
pub fn run(client: &Pod, target: SocketAddr, streams: &Streams, duration: Duration) -> anyhow::Result<Loaded> {
    client.within(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let all = converse(target, *streams, duration);
            tokio::time::timeout(duration + LIMIT, all).await.context("the streams do not end")?
        })
    })?
}

async fn converse(target: SocketAddr, streams: Streams, duration: Duration) -> anyhow::Result<Loaded> {
    let (begin, mut tasks) = (Instant::now(), JoinSet::new());
    for _ in 0..streams.connections {
        let tcp = TcpStream::connect(target).await.context("dial")?;
        tcp.set_nodelay(true)?;
        let (requests, connection) = h2::client::handshake(tcp).await?;
        // How it ends is seen by its streams.
        tokio::spawn(connection);
        for _ in 0..streams.streams {
            tasks.spawn(echo(requests.clone(), target, streams, begin + duration));
        }
    }
    let mut messages = 0;
    while let Some(ended) = tasks.join_next().await {
        messages += ended??;
    }
    ensure!(messages > 0, "not one message came back within {duration:?}");
    Ok(Loaded { messages, elapsed: begin.elapsed() })
}

/// One stream; how many messages came back.
async fn echo(requests: SendRequest<Bytes>, target: SocketAddr, streams: Streams, end: Instant) -> anyhow::Result<u64> {
    let message = framed(streams.message);
    let request = Request::post(format!("http://{target}/weft.bench.Echo/Stream"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let (answer, mut sending) = requests.ready().await?.send_request(request, false)?;
    for _ in 0..streams.window {
        sending.send_data(message.clone(), false)?;
    }
    let (mut sent, mut received) = (streams.window, 0);
    let mut body = answer.await?.into_body();
    let mut ended = false;
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        received += data.len() as u64;
        let back = received / message.len() as u64;
        if Instant::now() < end {
            while sent < back + streams.window {
                sending.send_data(message.clone(), false)?;
                sent += 1;
            }
        } else if !ended {
            sending.send_data(Bytes::new(), true)?;
            ended = true;
        }
    }
    let trailers = body.trailers().await?.unwrap_or_else(HeaderMap::new);
    let status = trailers.get("grpc-status").map(|status| status.as_bytes());
    let expected = sent * message.len() as u64;
    ensure!(status == Some(b"0"), "a stream ended with {trailers:?}");
    ensure!(received == expected, "{expected} bytes were sent on a stream and {received} came back");
    Ok(sent)
}

/// With gRPC's prefix: not compressed, and how long it is.
fn framed(message: usize) -> Bytes {
    let length = (message as u32).to_be_bytes();
    [&[0], &length[..], &vec![b'x'; message][..]].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_how_long_it_is() {
        assert_eq!(framed(3).as_ref(), b"\x00\x00\x00\x00\x03xxx");
    }
}
