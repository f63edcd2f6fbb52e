//! What endpoints get of a request that is tried again and again, over real sockets.
//!
//! However the body comes in and wherever tries break off: each gets a prefix of the same message and the last one all of it, once,
//! and no more is kept than allowed.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

const HEAD: &[u8] = b"PUT / HTTP/1.1\r\n\r\n";

async fn pair(listener: &TcpListener) -> (Conn, TcpStream) {
    let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (Conn::plain(near.unwrap(), bytes::BytesMut::new()), far.unwrap().0)
}

/// What has arrived at `peer` goes into `got`.
fn drain(peer: &mut TcpStream, cx: &mut Context<'_>, got: &mut Vec<u8>) {
    let mut room = [0; 4096];
    loop {
        let mut read = ReadBuf::new(&mut room);
        match Pin::new(&mut *peer).poll_read(cx, &mut read) {
            Poll::Ready(Ok(())) if !read.filled().is_empty() => got.extend_from_slice(read.filled()),
            _ => return,
        }
    }
}

/// One try to a fresh endpoint, which breaks off once `most` bytes have come; gives what came, and whether it was the whole.
async fn attempt(
    (pump, replay): (&mut Pump, &mut Option<Replay>),
    (from, chunks): (&mut Conn, &mut VecDeque<Vec<u8>>),
    listener: &TcpListener,
    most: usize,
) -> (Vec<u8>, bool) {
    let (mut to, mut peer) = pair(listener).await;
    let mut got = Vec::new();
    let whole = poll_fn(|cx| {
        loop {
            let moved = pump.poll(cx, from, &mut to, replay);
            drain(&mut peer, cx, &mut got);
            match moved {
                Poll::Ready(moved) => return Poll::Ready(moved.map(|()| true).unwrap()),
                Poll::Pending if got.len() >= most => return Poll::Ready(false),
                Poll::Pending => {}
            }
            let Some(chunk) = chunks.pop_front() else { return Poll::Pending };
            from.buf.extend_from_slice(&chunk);
        }
    })
    .await;
    if whole {
        // What has been written may still be on its way.
        drop(to);
        tokio::io::AsyncReadExt::read_to_end(&mut peer, &mut got).await.unwrap();
    }
    (got, whole)
}

async fn tried(chunks: Vec<Vec<u8>>, chunked: bool, limit: usize, breaks: Vec<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut from, _client) = pair(&listener).await;
    let data: usize = chunks.iter().map(Vec::len).sum();
    let framed = |chunk: &Vec<u8>| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
    let (framing, mut pieces) = match chunked {
        true => (Framing::Chunked, chunks.iter().map(framed).chain([b"0\r\n\r\n".to_vec()]).collect()),
        // As heads are read: no length is no body.
        false if data == 0 => (Framing::None, VecDeque::new()),
        false => (Framing::Length(data as u64), VecDeque::from(chunks)),
    };
    let body: Vec<u8> = pieces.iter().flatten().copied().collect();
    let message = [HEAD, &body].concat();
    let mut replay = Some(Replay::new(limit));
    let mut pump = Pump::new(framing, HEAD.to_vec());
    // The last try is left in peace.
    for most in breaks.into_iter().map(Some).chain([None]) {
        let most = most.unwrap_or(usize::MAX);
        let (got, whole) = attempt((&mut pump, &mut replay), (&mut from, &mut pieces), &listener, most).await;
        assert!(message.starts_with(&got), "{} bytes that are no beginning of the {}", got.len(), message.len());
        let kept = replay.as_ref().unwrap();
        assert!(kept.bytes.len() <= limit, "{} kept of {limit}", kept.bytes.len());
        if whole {
            assert_eq!(got.len(), message.len());
            assert_eq!(kept.possible(), body.len() <= limit);
            assert_eq!(kept.whole(), kept.possible().then_some(&body[..]));
        }
        if !kept.possible() {
            // Nobody would try again.
            assert!(body.len() > limit && kept.whole().is_none() && kept.bytes.is_empty());
            return;
        }
        pump.restart(HEAD, Some(kept));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_try_gets_other_bytes_than_the_body(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..3000), 0..12),
        chunked: bool,
        limit in 0usize..30_000,
        breaks in prop::collection::vec(0usize..25_000, 0..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let limited = async { tokio::time::timeout(std::time::Duration::from_secs(60), tried(chunks, chunked, limit, breaks)).await };
        runtime.block_on(limited).expect("it ends");
    }
}
