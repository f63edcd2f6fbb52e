//! Who a fleet is: one workload's certificate, and connections to discovery under it that count their bytes.
//!
//! The certificate comes as a sidecar's does, by a join token. Each connection has a TLS configuration of its own, so that none
//! resumes another one's session: a thousand sidecars could not either.

use anyhow::Context;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{self, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use weft_examples::mesh::Discovery;
use weft_identity::certificate::{Credentials, Key, from_pem};
use weft_identity::tls::{Alpn, bootstrap_client_config, client_config};
use weft_model::SpiffeId;
use weft_proto::v1::CertifyRequest;
use weft_proto::v1::authority_client::AuthorityClient;
use weft_proto::v1::certify_request::Proof;

use super::names::NAMESPACE;

/// The account of everybody in a fleet.
const ACCOUNT: &str = "fleet";

/// Bytes on the wire, both ways, TLS included.
#[derive(Debug, Default)]
pub struct Wire {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Wire {
    /// All that discovery has sent so far.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// All that it was sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// A certificate, and where it counts.
#[derive(Clone)]
pub struct Membership {
    api: SocketAddr,
    discovery: SpiffeId,
    credentials: Arc<Credentials>,
}

impl Membership {
    /// Asks a replica of discovery for a certificate. To be called where the replica can be reached.
    pub async fn obtain(replica: &Discovery) -> anyhow::Result<Self> {
        let anchors = std::fs::read_to_string(replica.trust_anchors()).context("read the trust anchors")?;
        let anchors = from_pem(&anchors)?;
        let token = replica.token(NAMESPACE, ACCOUNT)?;
        let discovery = SpiffeId::new("weft.local", "weft", "weft-discovery").map_err(anyhow::Error::msg)?;
        let (api, key) = (replica.api(), Key::generate());
        let channel = dial(api, bootstrap_client_config(&anchors, &discovery)?, Arc::default()).await?;
        let proof = Some(Proof::JoinToken(token));
        let request = CertifyRequest { csr: key.csr(), proof, proxy: "fleet".to_owned(), ..Default::default() };
        let issued = AuthorityClient::new(channel).certify(request).await.context("ask for a certificate")?;
        let chain = issued.into_inner().chain.into_iter().map(CertificateDer::from).collect();
        let credentials = Arc::new(Credentials::new(chain, key.private(), anchors)?);
        Ok(Self { api, discovery, credentials })
    }

    pub fn identity(&self) -> &SpiffeId {
        &self.credentials.id
    }

    /// A new connection.
    pub async fn connect(&self, wire: &Arc<Wire>) -> anyhow::Result<Channel> {
        let tls = client_config(&self.credentials, &self.discovery, Alpn::Rpc);
        dial(self.api, tls, Arc::clone(wire)).await
    }
}

async fn dial(api: SocketAddr, tls: Arc<rustls::ClientConfig>, wire: Arc<Wire>) -> anyhow::Result<Channel> {
    // Scheme http, for tonic must not add a TLS layer of its own: the connector below does.
    let endpoint = Endpoint::from_shared(format!("http://{api}"))?;
    let connector = tower::service_fn(move |_| {
        let (tls, wire) = (tls.clone(), wire.clone());
        async move {
            let stream = TcpStream::connect(api).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::IpAddress(api.ip().into());
            let stream = TlsConnector::from(tls).connect(name, Counted { stream, wire }).await?;
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    endpoint.connect_with_connector(connector).await.with_context(|| format!("connect to {api}"))
}

/// A connection that counts.
struct Counted {
    stream: TcpStream,
    wire: Arc<Wire>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let done = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.wire.received.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        done
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(length)) = &done {
            self.wire.sent.fetch_add(*length as u64, Ordering::Relaxed);
        }
        done
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
