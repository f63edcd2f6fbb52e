//! Peers that break the rules, or are refused: each is told why where that is possible, and none keeps a worker busy.
//!
//! Real handshakes over loopback.

use super::*;

/// A client that trusts the server, who does not trust it.
fn stranger() -> Configs {
    let (mut client, server) = configs();
    let shown = configs().0.client_auth_cert_resolver.clone();
    Arc::make_mut(&mut client).client_auth_cert_resolver = shown;
    (client, server)
}

#[tokio::test]
async fn an_end_without_close_notify_is_a_failure() {
    for (ours, mut theirs) in both().await {
        theirs.write_all(b"all of it?").await.unwrap();
        theirs.flush().await.unwrap();
        theirs.get_mut().0.shutdown().await.unwrap();
        let (got, end) = read_all(&mut Conn::tls(ours), 1_000).await;
        assert_eq!((&got[..], end.unwrap_err().kind()), (&b"all of it?"[..], io::ErrorKind::UnexpectedEof));
    }
}

#[tokio::test]
async fn a_broken_record_is_told_after_the_records_that_were_read_before_it() {
    for (ours, mut theirs) in both().await {
        theirs.write_all(&numbers(100_000)).await.unwrap();
        theirs.flush().await.unwrap();
        theirs.get_mut().0.write_all(&[&b"\x17\x03\x03\x00\x20"[..], &[7; 32]].concat()).await.unwrap();
        let (got, end) = read_all(&mut Conn::tls(ours), 30_000).await;
        assert!(got == numbers(100_000), "{} bytes", got.len());
        let said = end.unwrap_err();
        assert!(said.kind() == io::ErrorKind::InvalidData && said.to_string().contains("not sealed by"), "{said}");
    }
}

#[tokio::test]
async fn an_alert_is_a_failure_that_says_which() {
    let (client, server) = stranger();
    let (near, far, address) = sockets().await;
    // The server refuses the certificate when the client is done with its handshake.
    let ours = handshake::connect(near, client, ServerName::IpAddress(address.ip().into()));
    let (ours, theirs) = tokio::join!(ours, TlsAcceptor::from(server).accept(far));
    assert!(theirs.is_err());
    let (_, end) = read_all(&mut Conn::tls(ours.unwrap()), 100).await;
    let said = end.unwrap_err().to_string();
    assert!(said.contains("the peer ended the connection with alert"), "{said}");
}

#[tokio::test]
async fn a_client_that_is_refused_is_told_why() {
    let (client, server) = stranger();
    let (near, far, address) = sockets().await;
    let theirs = async {
        let mut theirs = TlsConnector::from(client).connect(address.ip().into(), near).await?;
        theirs.read_u8().await
    };
    let (ours, theirs) = tokio::join!(handshake::accept(far, BytesMut::new(), server), theirs);
    let reason = ours.err().unwrap();
    let reason = reason.get_ref().and_then(|reason| reason.downcast_ref());
    assert!(matches!(reason, Some(rustls::Error::InvalidCertificate(_))), "{reason:?}");
    let told = theirs.unwrap_err().to_string();
    assert!(told.contains("fatal alert"), "{told}");
}

#[tokio::test]
async fn a_server_that_is_refused_is_told_why() {
    let ((client, _), (_, server)) = (configs(), configs());
    let (near, far, address) = sockets().await;
    let ours = handshake::connect(near, client, ServerName::IpAddress(address.ip().into()));
    let (ours, theirs) = tokio::join!(ours, TlsAcceptor::from(server).accept(far));
    let reason = ours.err().unwrap();
    let reason = reason.get_ref().and_then(|reason| reason.downcast_ref());
    assert!(matches!(reason, Some(rustls::Error::InvalidCertificate(_))), "{reason:?}");
    let told = theirs.err().unwrap().to_string();
    assert!(told.contains("fatal alert"), "{told}");
}

#[tokio::test]
async fn a_peer_that_sends_nothing_again_and_again_is_left() {
    for (content, message) in
        [(Content::DATA, &[][..]), (Content::HANDSHAKE, &[24, 0, 0, 1, 1]), (Content::ALERT, &[1, 90])]
    {
        let (mut ours, mut theirs) = ours_only().await;
        let mut send = async |count: usize| {
            for _ in 0..count {
                theirs.seal(content, |record| record.extend_from_slice(message));
                if content == Content::HANDSHAKE {
                    theirs.sealer = theirs.session.next_sealer().unwrap();
                }
            }
            poll_fn(|cx| theirs.poll_write(cx, &[IoSlice::new(b"x")])).await.unwrap();
        };
        for count in [10, 20] {
            send(count).await;
            assert_eq!(timely(poll_fn(|cx| ours.poll_give(cx, 5, |_| {}))).await.unwrap(), 1);
        }
        send(100).await;
        let said = timely(poll_fn(|cx| ours.poll_give(cx, 5, |_| {}))).await.unwrap_err();
        assert!(said.to_string().contains("records without data"), "{said}");
    }
}

#[tokio::test]
async fn a_handshake_without_end_is_left() {
    let (_, server) = configs();
    let (mut near, far, _) = sockets().await;
    // A ClientHello that is said to be long, a byte at a time.
    let hello = [1, 0, 0xff, 0xff].into_iter().chain(std::iter::repeat(0)).take(60_000);
    let pieces: Vec<u8> = hello.flat_map(|byte| [22, 3, 1, 0, 1, byte]).collect();
    let theirs = async {
        let _ = near.write_all(&pieces).await;
        // For as long as it takes.
        let _ = near.read(&mut [0; 1]).await;
    };
    let (ours, ()) = tokio::join!(timely(handshake::accept(far, BytesMut::new(), server)), timely(theirs));
    let said = ours.err().unwrap();
    assert!(said.kind() == io::ErrorKind::InvalidData && said.to_string().contains("64 KiB"), "{said}");
}
