//! Reading from TLS in bulk: what fails after bytes have come is told after them.
//!
//! Real handshakes over loopback.

use super::*;
use crate::discovery::fake::credentials;
use std::future::poll_fn;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::{TlsAcceptor, TlsConnector, server};
use weft_identity::certificate::Authority;
use weft_identity::tls::{Alpn, Clients, client_config, server_config};
use weft_model::SpiffeId;

async fn pair() -> (Conn, server::TlsStream<TcpStream>) {
    let authority = Authority::generate("weft.local").unwrap();
    let (client, server) = (credentials(&authority, "shop", "client"), credentials(&authority, "shop", "server"));
    let expected = SpiffeId::new("weft.local", "shop", "server").unwrap();
    let connector = TlsConnector::from(client_config(&client, &expected, Alpn::Tcp));
    let acceptor = TlsAcceptor::from(server_config(&server, &[Alpn::Tcp], Clients::Required));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let near = async {
        let stream = Tcp::new(TcpStream::connect(address).await.unwrap(), BytesMut::new());
        connector.connect(address.ip().into(), stream).await.unwrap()
    };
    let far = async { acceptor.accept(listener.accept().await.unwrap().0).await.unwrap() };
    let (near, far) = tokio::join!(near, far);
    (Conn::tls(TlsStream::Client(near)), far)
}

async fn gather(conn: &mut Conn) -> io::Result<Vec<u8>> {
    let mut into = vec![];
    let gathered = poll_fn(|cx| conn.poll_gather(cx, &mut (&mut into).limit(1 << 20)));
    let gathered = tokio::time::timeout(Duration::from_secs(5), gathered).await.expect("something comes")?;
    assert_eq!(gathered, into.len());
    Ok(into)
}

#[tokio::test]
async fn records_that_have_come_are_read_together_and_then_the_end() {
    let (mut near, mut far) = pair().await;
    let sent = vec![b'x'; 100_000];
    far.write_all(&sent).await.unwrap();
    far.shutdown().await.unwrap();
    let (mut got, mut reads) = (vec![], 0);
    loop {
        let more = gather(&mut near).await.unwrap();
        if more.is_empty() {
            break;
        }
        reads += 1;
        got.extend(more);
    }
    assert!(got == sent && reads < 7, "{} bytes in {reads} reads", got.len());
}

#[tokio::test]
async fn a_broken_record_is_told_after_the_records_that_were_read_before_it() {
    let (mut near, mut far) = pair().await;
    far.write_all(&[b'x'; 100_000]).await.unwrap();
    far.flush().await.unwrap();
    far.get_mut().0.write_all(&[&b"\x17\x03\x03\x00\x20"[..], &[7; 32]].concat()).await.unwrap();
    let mut got = 0;
    let failure = loop {
        match gather(&mut near).await {
            Ok(more) if more.is_empty() => panic!("an end after {got} bytes"),
            Ok(more) => got += more.len(),
            Err(failure) => break failure,
        }
    };
    assert!(got > 50_000 && failure.kind() == io::ErrorKind::InvalidData, "{got} bytes, then {failure}");
}
