//! Our records against those of rustls, in both roles: order, ends, failures, and keys that are changed.
//!
//! Real handshakes over loopback.

mod unruly;

use super::*;
use crate::conn::Conn;
use crate::discovery::fake::credentials;
use rustls_pki_types::{CertificateDer, ServerName};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use weft_identity::certificate::{Authority, Credentials, Key};
use weft_identity::tls::{Clients, client_config, server_config};
use weft_model::SpiffeId;

#[derive(Debug, Clone, Copy, PartialEq)]
enum We {
    Connect,
    Accept,
}

type Configs = (Arc<rustls::ClientConfig>, Arc<rustls::ServerConfig>);

fn configs() -> Configs {
    with_client(&Authority::generate("weft.local").unwrap(), vec![])
}

/// With a client that shows so many certificates with its own.
fn with_client(authority: &Authority, chain: Vec<CertificateDer<'static>>) -> Configs {
    let server = credentials(authority, "shop", "server");
    let (key, id) = (Key::generate(), SpiffeId::new("weft.local", "shop", "client").unwrap());
    let signed = authority.sign(&key.csr(), &id, SystemTime::now(), Duration::from_secs(3600)).unwrap();
    let shown = std::iter::once(signed.leaf).chain(chain).collect();
    let client = Credentials::new(shown, key.private(), vec![authority.certificate().clone()]).unwrap();
    let expected = SpiffeId::new("weft.local", "shop", "server").unwrap();
    (client_config(&client, &expected, Alpn::Tcp), server_config(&server, &[Alpn::Tcp], Clients::Required))
}

async fn sockets() -> (TcpStream, TcpStream, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0, address)
}

/// Ours, and the peer's by rustls.
async fn pair(we: We, (client, server): Configs) -> (Tls, TlsStream<TcpStream>) {
    let (near, far, address) = sockets().await;
    let name = ServerName::IpAddress(address.ip().into());
    match we {
        We::Connect => {
            let (acceptor, ours) = (TlsAcceptor::from(server), handshake::connect(near, client, name));
            let (ours, theirs) = tokio::join!(ours, acceptor.accept(far));
            (ours.unwrap(), TlsStream::Server(theirs.unwrap()))
        }
        We::Accept => {
            let (connector, ours) = (TlsConnector::from(client), handshake::accept(far, BytesMut::new(), server));
            let (ours, theirs) = tokio::join!(ours, connector.connect(name, near));
            let (ours, shown) = ours.unwrap();
            let id = weft_identity::spiffe::id_of(&shown.unwrap()).unwrap();
            assert_eq!(id.to_string(), "spiffe://weft.local/ns/shop/sa/client");
            (ours, TlsStream::Client(theirs.unwrap()))
        }
    }
}

/// A client and a server, both ours: so that one can do what rustls never does.
async fn ours_only() -> (Tls, Tls) {
    let (client, server) = configs();
    let (near, far, address) = sockets().await;
    let client = handshake::connect(near, client, ServerName::IpAddress(address.ip().into()));
    let (client, server) = tokio::join!(client, handshake::accept(far, BytesMut::new(), server));
    (client.unwrap(), server.unwrap().0)
}

async fn both() -> [(Tls, TlsStream<TcpStream>); 2] {
    [pair(We::Connect, configs()).await, pair(We::Accept, configs()).await]
}

async fn timely<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it comes to its end")
}

fn numbers(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 + n / 257) as u8).collect()
}

/// What comes until the end, read `most` bytes at a time, and how it ended.
async fn read_all(conn: &mut Conn, most: usize) -> (Vec<u8>, io::Result<()>) {
    let mut got = vec![];
    loop {
        let fill = timely(poll_fn(|cx| conn.poll_fill(cx, most))).await;
        assert!(conn.buf.len() <= most);
        got.extend_from_slice(&conn.buf);
        conn.buf.clear();
        match fill {
            Ok(0) => return (got, Ok(())),
            Ok(_) => {}
            Err(failure) => return (got, Err(failure)),
        }
    }
}

#[tokio::test]
async fn bytes_come_and_go_in_order_in_pieces_of_any_size() {
    for (ours, mut theirs) in both().await {
        let (mut ours, sent) = (Conn::tls(ours), numbers(3_000_001));
        assert_eq!(ours.alpn(), Some(Alpn::Tcp));
        let send = async {
            for (n, piece) in sent.chunks(77_777).enumerate() {
                // Many small records first, then large ones.
                for part in piece.chunks(if n == 0 { 1_000 } else { 50_000 }) {
                    ours.send(part).await.unwrap();
                }
            }
            poll_fn(|cx| ours.poll_finish(cx)).await.unwrap();
        };
        let mut got = vec![];
        let (_, read) = tokio::join!(timely(send), timely(theirs.read_to_end(&mut got)));
        read.unwrap();
        assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
        // Their direction is still open.
        let back = async {
            theirs.write_all(&sent).await.unwrap();
            theirs.shutdown().await.unwrap();
        };
        let (_, (got, end)) = tokio::join!(timely(back), read_all(&mut ours, 10_000));
        end.unwrap();
        assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
        assert!(matches!(timely(ours.fill(100)).await, Ok(0)), "an end is told again");
    }
}

#[tokio::test]
async fn slices_are_sent_as_one() {
    let (mut ours, mut theirs) = pair(We::Connect, configs()).await;
    let sent = numbers(BULK + 100_000);
    let mut slices = [&sent[..3], &[], &sent[3..9], &sent[9..40_000], &sent[40_000..]].map(IoSlice::new);
    let mut left = &mut slices[..];
    let send = async {
        while !left.is_empty() {
            let taken = poll_fn(|cx| ours.poll_write(cx, left)).await.unwrap();
            assert!(taken > 0 && taken <= BULK);
            IoSlice::advance_slices(&mut left, taken);
        }
        poll_fn(|cx| ours.poll_flush(cx)).await.unwrap();
    };
    let mut got = vec![0; sent.len()];
    let (_, read) = tokio::join!(timely(send), timely(theirs.read_exact(&mut got)));
    read.unwrap();
    assert!(got == sent);
}

#[tokio::test]
async fn what_the_socket_does_not_take_is_kept_up_to_a_bound_and_sent_later() {
    let (mut ours, mut theirs) = pair(We::Accept, configs()).await;
    let batch = numbers(BULK);
    let mut taken = 0;
    // Nobody reads: at some time it is not taken any more.
    while let Some(n) = poll_fn(|cx| {
        Poll::Ready(match ours.poll_write(cx, &[IoSlice::new(&batch)]) {
            Poll::Ready(taken) => Some(taken.unwrap()),
            Poll::Pending => None,
        })
    })
    .await
    {
        taken += n;
        assert!(ours.unsent.len() <= BULK + 16 * (HEAD + TAIL) && taken < 100 << 20);
    }
    assert!(!ours.unsent.is_empty());
    let mut got = vec![0; taken];
    let (flushed, read) = tokio::join!(timely(poll_fn(|cx| ours.poll_flush(cx))), timely(theirs.read_exact(&mut got)));
    flushed.unwrap();
    read.unwrap();
    assert!(got.chunks(BULK).all(|chunk| chunk == batch) && ours.unsent.capacity() == 0);
}

#[tokio::test]
async fn keys_are_changed_when_they_are_worn_and_when_the_peer_changes_its_own() {
    for (mut ours, mut theirs) in both().await {
        // After every third record.
        let limit = BULK as u64 + 3;
        let sent = numbers(200_000);
        let send = async {
            for piece in sent.chunks(10_000) {
                ours.sealer.set_limit(limit);
                let mut piece = piece;
                while !piece.is_empty() {
                    let n = poll_fn(|cx| ours.poll_write(cx, &[IoSlice::new(piece)])).await.unwrap();
                    piece = &piece[n..];
                }
            }
        };
        let mut got = vec![0; sent.len()];
        let (_, read) = tokio::join!(timely(send), timely(theirs.read_exact(&mut got)));
        read.unwrap();
        assert!(got == sent && ours.sealer.used() < 6, "a key was changed");

        match &mut theirs {
            TlsStream::Client(theirs) => theirs.get_mut().1.refresh_traffic_keys().unwrap(),
            TlsStream::Server(theirs) => theirs.get_mut().1.refresh_traffic_keys().unwrap(),
        }
        theirs.write_all(b"by a new key").await.unwrap();
        theirs.flush().await.unwrap();
        let mut ours = Conn::tls(ours);
        timely(ours.fill(100)).await.unwrap();
        assert_eq!(&ours.buf[..], b"by a new key");
        ours.send(b"and back").await.unwrap();
        let mut back = [0; 8];
        timely(theirs.read_exact(&mut back)).await.unwrap();
        assert_eq!(&back, b"and back");
    }
}

#[tokio::test]
async fn a_key_that_the_peer_asks_for_is_taken_for_what_is_sent_next() {
    let configs = configs();
    let (near, far, address) = sockets().await;
    let name = ServerName::IpAddress(address.ip().into());
    let (ours, theirs) =
        (handshake::connect(near, configs.0, name), handshake::accept(far, BytesMut::new(), configs.1));
    let (ours, theirs) = tokio::join!(ours, theirs);
    let (mut ours, (mut theirs, _)) = (ours.unwrap(), theirs.unwrap());
    // As a peer does that wants an answer by a new key.
    theirs.seal(Content::HANDSHAKE, |record| record.extend_from_slice(&[24, 0, 0, 1, 1]));
    theirs.sealer = theirs.session.next_sealer().unwrap();
    let mut theirs = Conn::tls(theirs);
    theirs.send(b"asked").await.unwrap();
    let mut got = vec![];
    timely(poll_fn(|cx| ours.poll_give(cx, 5, |bytes| got.extend_from_slice(bytes)))).await.unwrap();
    assert!(got == b"asked" && ours.owes_key);
    let mut ours = Conn::tls(ours);
    ours.send(b"answered").await.unwrap();
    timely(theirs.fill(100)).await.unwrap();
    assert_eq!(&theirs.buf[..], b"answered");
}

#[tokio::test]
async fn what_the_peer_sends_with_its_last_flight_is_read_with_its_end() {
    let (client, server) = configs();
    let (near, far, address) = sockets().await;
    let theirs = async {
        let mut theirs = TlsConnector::from(client).connect(address.ip().into(), near).await.unwrap();
        theirs.get_mut().1.refresh_traffic_keys().unwrap();
        theirs.write_all(b"at once").await.unwrap();
        theirs.shutdown().await.unwrap();
        theirs
    };
    // All of it is there when the server looks at it.
    let ours = async {
        let mut ahead = BytesMut::new();
        let mut far = far;
        far.readable().await.unwrap();
        far.read_buf(&mut ahead).await.unwrap();
        timely(handshake::accept(far, ahead, server)).await.unwrap().0
    };
    let (_theirs, ours) = tokio::join!(timely(theirs), ours);
    let (got, end) = read_all(&mut Conn::tls(ours), 100).await;
    end.unwrap();
    assert_eq!(got, b"at once");
}

#[tokio::test]
async fn tickets_that_come_later_are_for_the_next_connection() {
    let authority = Authority::generate("weft.local").unwrap();
    // With one certificate in each the tickets fit a record, with many they do not.
    for certificates in [1, 24] {
        let chain = vec![authority.certificate().clone(); certificates];
        resumed(with_client(&authority, chain)).await;
    }
}

async fn resumed(configs: Configs) {
    for kind in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
        let (mut ours, mut theirs) = pair(We::Connect, configs.clone()).await;
        assert_eq!(theirs.get_ref().1.handshake_kind(), Some(kind));
        theirs.write_all(b"x").await.unwrap();
        timely(poll_fn(|cx| ours.poll_give(cx, 5, |_| {}))).await.unwrap();
    }
    let (ours, theirs) = pair(We::Accept, configs.clone()).await;
    assert_eq!(theirs.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    drop((ours, theirs));
}
