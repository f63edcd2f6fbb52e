//! The shared connections of a pool, against endpoints that take few streams or none at all.
//!
//! The endpoints are `h2` servers at the other end of a pipe.

use super::*;
use std::future::pending;

/// A connection to an endpoint that lets two streams be open and answers none.
async fn endpoint() -> SendRequest<Bytes> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        let mut server = h2::server::Builder::new();
        let mut connection = server.max_concurrent_streams(2).handshake::<_, Bytes>(far).await.unwrap();
        let mut held = Vec::new();
        while let Some(Ok(stream)) = connection.accept().await {
            held.push(stream);
        }
    });
    let (sender, driver) = h2::client::handshake(near).await.unwrap();
    tokio::spawn(driver);
    // Before the endpoint's SETTINGS have come, nobody knows how few streams it takes.
    while sender.current_max_send_streams() != 2 {
        tokio::task::yield_now().await;
    }
    sender
}

async fn place(pool: &Pool, opened: &Cell<u32>) -> Result<(SendRequest<Bytes>, Place), Failure> {
    let open = || async {
        opened.set(opened.get() + 1);
        Ok((endpoint().await, None))
    };
    pool.share(Instant::now(), open).await
}

#[tokio::test]
async fn a_full_connection_is_not_waited_for() {
    let (pool, opened) = (Pool::default(), Cell::new(0));
    let first = place(&pool, &opened).await.unwrap();
    let second = place(&pool, &opened).await.unwrap();
    assert_eq!(opened.get(), 1);
    let _third = place(&pool, &opened).await.unwrap();
    assert_eq!(opened.get(), 2);
    drop((first, second));
    let _again = place(&pool, &opened).await.unwrap();
    assert_eq!(opened.get(), 2, "room on the first connection is used again");
}

#[tokio::test]
async fn connections_without_streams_go_but_for_one() {
    let (pool, opened) = (Pool::default(), Cell::new(0));
    let mut places = Vec::new();
    for _ in 0..6 {
        places.push(place(&pool, &opened).await.unwrap());
    }
    assert_eq!(opened.get(), 3);
    places.clear();
    pool.sweep(Instant::now(), Duration::from_secs(1));
    for _ in 0..2 {
        places.push(place(&pool, &opened).await.unwrap());
    }
    assert_eq!(opened.get(), 3);
    places.push(place(&pool, &opened).await.unwrap());
    assert_eq!(opened.get(), 4);
}

#[tokio::test]
async fn a_connection_that_failed_a_request_is_not_used_again() {
    let (pool, opened) = (Pool::default(), Cell::new(0));
    let (_, failed) = place(&pool, &opened).await.unwrap();
    pool.discard(&failed).await;
    let _next = place(&pool, &opened).await.unwrap();
    assert_eq!(opened.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_waited_for_a_failing_try_makes_none_of_their_own() {
    let (pool, opened) = (Pool::default(), Cell::new(0));
    let refused = || async {
        opened.set(opened.get() + 1);
        let _ = tokio::time::timeout(Duration::from_secs(1), pending::<()>()).await;
        Err(Failure::ConnectTimeout)
    };
    let begun = tokio::time::Instant::now();
    let waiting = (0..50).map(|_| pool.share(Instant::now(), refused));
    let results = futures::future::join_all(waiting).await;
    assert!(results.iter().all(|result| matches!(result, Err(Failure::ConnectTimeout))));
    assert_eq!((opened.get(), begun.elapsed().as_secs()), (1, 1), "fifty requests, one try");
    let _ = pool.share(Instant::now(), refused).await;
    assert_eq!(opened.get(), 2, "who comes later tries again");
}

/// A connection that nobody will close.
async fn idle(listener: &tokio::net::TcpListener) -> (Conn, tokio::net::TcpStream) {
    let dialled = tokio::net::TcpStream::connect(listener.local_addr().unwrap());
    let (dialled, accepted) = tokio::join!(dialled, listener.accept());
    (Conn::plain(dialled.unwrap(), bytes::BytesMut::new()), accepted.unwrap().0)
}

#[tokio::test]
async fn a_full_pool_gives_up_its_oldest_connection() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gauge = Gauge::default();
    let (pool, now, second) = (Pool::shown_by(gauge.clone()), Instant::now(), Duration::from_secs(1));
    let mut peers = Vec::new();
    for _ in 0..MAX_IDLE {
        let (conn, peer) = idle(&listener).await;
        pool.put(conn, now);
        peers.push(peer);
    }
    // All of them are too old for a request that cannot be repeated; the one it has to make takes their place.
    let later = now + 5 * second;
    assert!(pool.take(later, second).is_none());
    let (fresh, _peer) = idle(&listener).await;
    pool.put(fresh, later);
    assert!(pool.take(later, second).is_some());
    assert_eq!((pool.idle.borrow().len(), gauge.get()), (MAX_IDLE - 1, MAX_IDLE as i64 - 1));
    pool.sweep(later + 60 * second, second);
    assert_eq!(gauge.get(), 0, "what is closed is not shown");
}
