//! What endpoints get of a request that is tried again and again, over real HTTP/2 streams.
//!
//! However the body comes in and wherever tries break off: each gets a prefix of the same body and the last one all of it, once, with
//! its trailers; no more is kept than allowed.

use super::*;
use futures::FutureExt;
use proptest::prelude::*;
use std::time::Duration;

/// A stream from a client to a server, over a pipe: both ends of its request body.
async fn stream() -> (SendStream<Bytes>, RecvStream) {
    let (near, far) = tokio::io::duplex(16 * 1024);
    let (accepted, accept) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut connection = h2::server::handshake(far).await.unwrap();
        let (request, respond) = connection.accept().await.unwrap().unwrap();
        // Whoever let go of the answer's end would reset the stream.
        let held = (accepted.send(request.into_body()).is_ok(), respond);
        while connection.accept().await.is_some() {}
        drop(held);
    });
    let (mut sender, driver) = h2::client::handshake(near).await.unwrap();
    tokio::spawn(driver);
    let (response, to) = sender.send_request(http::Request::new(()), false).unwrap();
    tokio::spawn(response);
    (to, accept.await.unwrap())
}

/// Reads until the end of the body, or until `most` bytes are there.
async fn read(from: &mut RecvStream, most: usize, got: &mut Vec<u8>) {
    while let Some(chunk) = from.data().await {
        let chunk = chunk.unwrap();
        from.flow_control().release_capacity(chunk.len()).unwrap();
        got.extend_from_slice(&chunk);
        if got.len() >= most {
            return;
        }
    }
}

async fn tried(chunks: Vec<Vec<u8>>, trailers: bool, limit: usize, breaks: Vec<usize>) {
    let body = chunks.concat();
    let (mut client, incoming) = stream().await;
    let told = trailers.then(|| HeaderMap::from_iter([("x-sum".parse().unwrap(), 7.into())]));
    let last = told.clone();
    tokio::spawn(async move {
        for chunk in chunks {
            send(&mut client, chunk.into(), false).await.unwrap();
            tokio::task::yield_now().await;
        }
        match last {
            Some(trailers) => client.send_trailers(trailers).unwrap(),
            None => client.send_data(Bytes::new(), true).unwrap(),
        }
        std::future::pending::<()>().await;
    });
    let mut upload = Upload::new(incoming, limit);
    let progress = upload.progress();
    for most in breaks {
        let (mut to, mut peer) = stream().await;
        let mut got = Vec::new();
        {
            let mut sending = std::pin::pin!(upload.run(&mut to));
            let mut reading = std::pin::pin!(read(&mut peer, most, &mut got));
            let both = futures::future::select(&mut sending, &mut reading).await;
            if let futures::future::Either::Left((sent, reading)) = both {
                sent.unwrap();
                reading.await;
            }
        }
        assert!(body.starts_with(&got), "{} bytes that are no beginning of the {}", got.len(), body.len());
        assert!(upload.kept_size <= limit, "{} kept of {limit}", upload.kept_size);
        if progress.overflowed() {
            // Nobody would try again.
            assert!(body.len() > limit && upload.whole().is_none() && upload.kept.is_empty());
            return;
        }
    }
    let (mut to, mut peer) = stream().await;
    let mut got = Vec::new();
    let (sent, ()) = futures::join!(upload.run(&mut to), read(&mut peer, usize::MAX, &mut got));
    sent.unwrap();
    assert!(got == body, "{} bytes instead of {}", got.len(), body.len());
    assert_eq!(peer.trailers().now_or_never().and_then(Result::ok).flatten(), told);
    assert_eq!(progress.overflowed(), body.len() > limit);
    assert_eq!(progress.moved(), body.len() as u64);
    let whole = upload.whole().map(|(chunks, trailers)| (chunks.concat(), trailers));
    assert_eq!(whole, (body.len() <= limit).then_some((body, told)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_try_gets_other_bytes_than_the_body(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..3000), 0..12),
        trailers: bool,
        limit in 0usize..30_000,
        breaks in prop::collection::vec(1usize..25_000, 0..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let limited = async { tokio::time::timeout(Duration::from_secs(60), tried(chunks, trailers, limit, breaks)).await };
        runtime.block_on(limited).expect("it ends");
    }
}
