//! Reaches one endpoint: TCP, then mTLS when it is meshed; [`http2`] makes a connection for many requests of it.
//!
//! The last step before bytes move. An endpoint with an address in each family is tried in both (happy eyeballs, RFC 8305,
//! with a short head start for the first). An endpoint that has an identity is spoken to by mTLS towards exactly that
//! identity, or not at all.

pub mod http2;

use crate::conn::{Conn, tls};
use crate::error::Failure;
use bytes::BytesMut;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use weft_identity::rotate::Identity;
use weft_identity::tls::Alpn;
use weft_model::{Endpoint, SpiffeId};

/// How long the first address is tried alone (RFC 8305 section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to `port` at one of `addresses`; `tls` carries the configuration that expects the endpoint's identity.
/// The whole may take `limit`.
pub async fn connect(
    addresses: &[IpAddr],
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    limit: Duration,
) -> Result<Conn, Failure> {
    let whole = async {
        let stream = race(addresses, port).await.map_err(refused)?;
        let _ = stream.set_nodelay(true);
        keep_alive(&stream);
        match tls {
            None => Ok(Conn::plain(stream, BytesMut::new())),
            Some(config) => handshake(stream, config).await,
        }
    };
    tokio::time::timeout(limit, whole).await.unwrap_or(Err(Failure::ConnectTimeout))
}

/// An endpoint's port, as this pod sees it.
#[derive(Debug, Clone, Copy)]
pub struct Destination<'a> {
    pub endpoint: &'a Endpoint,
    pub port: u16,
    /// This pod's own addresses.
    pub own: &'a [IpAddr],
}

impl<'a> Destination<'a> {
    /// Whom its certificate has to name; `None`: connections there are not encrypted.
    pub fn expected(&self) -> Option<&'a SpiffeId> {
        // A call from the pod to itself never leaves the pod: no sidecar is in between and nothing to encrypt.
        let is_own = self.endpoint.addresses.iter().any(|address| self.own.contains(address));
        self.endpoint.identity.as_ref().filter(|_| !is_own)
    }
}

/// Connects to an endpoint in the way that it wants: by mTLS when it has an identity.
pub async fn reach(to: Destination<'_>, identity: &Identity, alpn: Alpn, limit: Duration) -> Result<Conn, Failure> {
    let tls = to.expected().map(|id| identity.client(id, alpn));
    connect(&to.endpoint.addresses, to.port, tls, limit).await
}

/// Keeps half-dead peers from holding a connection for ever: probes after a minute of silence, gives up after three.
fn keep_alive(stream: &TcpStream) {
    let probe =
        TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10)).with_retries(3);
    // Only fails on a socket that is gone already.
    let _ = SockRef::from(stream).set_tcp_keepalive(&probe);
}

async fn handshake(stream: TcpStream, config: Arc<ClientConfig>) -> Result<Conn, Failure> {
    let peer = stream.peer_addr().map_err(refused)?;
    // The peer is checked by its SPIFFE ID, not by a host name; an address as server name keeps SNI out of the handshake.
    let name = ServerName::IpAddress(peer.ip().into());
    tls::handshake::connect(stream, config, name).await.map(Conn::tls).map_err(|error| handshake_failure(&error))
}

fn handshake_failure(error: &io::Error) -> Failure {
    match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        Some(error @ rustls::Error::InvalidCertificate(_)) => Failure::PeerIdentity(error.to_string()),
        Some(error) => Failure::TlsFailed(error.to_string()),
        // The endpoint's sidecar ended the connection: nothing of the request was sent.
        None => Failure::ConnectFailed(error.kind()),
    }
}

fn refused(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Failure::ConnectRefused,
        io::ErrorKind::TimedOut => Failure::ConnectTimeout,
        kind => Failure::ConnectFailed(kind),
    }
}

async fn race(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let dial = |ip: &IpAddr| TcpStream::connect(SocketAddr::new(*ip, port));
    match addresses {
        [] => Err(io::ErrorKind::AddrNotAvailable.into()),
        [only] => dial(only).await,
        [first, second, ..] => first_of(dial(first), dial(second)).await,
    }
}

/// The first success; the second begins when the first has failed or its head start is over. Both failed: the first's error.
async fn first_of<T>(
    first: impl Future<Output = io::Result<T>>,
    second: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let early = tokio::time::timeout(HEAD_START, first.as_mut()).await;
    match early {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(error)) => return second.await.map_err(|_| error),
        Err(_) => {}
    }
    tokio::select! {
        result = first.as_mut() => match result {
            Ok(stream) => Ok(stream),
            Err(error) => second.await.map_err(|_| error),
        },
        result = second.as_mut() => match result {
            Ok(stream) => Ok(stream),
            Err(_) => first.await,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[tokio::test]
    async fn a_refused_connection_is_told_apart() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let failed = connect(&[Ipv4Addr::LOCALHOST.into()], port, None, Duration::from_secs(5)).await;
        assert!(matches!(failed, Err(Failure::ConnectRefused)), "{failed:?}");
    }

    #[tokio::test]
    async fn the_second_address_is_used_when_the_first_fails() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let addresses = ["127.0.0.2".parse().unwrap(), "127.0.0.1".parse().unwrap()];
        assert!(connect(&addresses, port, None, Duration::from_secs(5)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_first_address_costs_only_the_head_start() {
        let started = tokio::time::Instant::now();
        let silent = std::future::pending::<io::Result<u8>>();
        assert_eq!(first_of(silent, async { Ok(2) }).await.unwrap(), 2);
        assert_eq!(started.elapsed(), HEAD_START);
    }
}
