//! How this proxy reaches discovery: replicas in the order of preference, over TLS to discovery's own identity.
//!
//! Below `certify`, `register` and `catalog`, which say what is asked. A replica that is down, hangs or answers that it
//! cannot serve is passed over for the next; an answer that every replica would give alike is final. Nothing is ever sent
//! to a server that does not prove to be discovery.

use crate::config::Config;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use weft_identity::certificate::Credentials;
use weft_identity::rotate::Identity;
use weft_identity::tls::Alpn;
use weft_model::SpiffeId;

/// TCP and TLS handshakes to one replica.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// One call's whole time at one replica.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// HTTP/2 pings find a replica that hangs while a call is open.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Why discovery could not be asked, or what it answered.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    #[error("{address}: {reason}")]
    Connect { address: String, reason: String },
    #[error("{address}: no answer within {CALL_TIMEOUT:?}")]
    Timeout { address: String },
    #[error("{address}: {:?}: {}", status.code(), status.message())]
    Answer { address: String, status: Box<Status> },
}

impl DiscoveryError {
    /// What a replica that could be reached said.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Answer { status, .. } => Some(status.code()),
            Self::Connect { .. } | Self::Timeout { .. } => None,
        }
    }

    /// Every replica would say the same, for they share one store.
    fn is_final(&self) -> bool {
        use Code::{AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, OutOfRange};
        use Code::{PermissionDenied, Unauthenticated, Unimplemented};
        matches!(
            self.code(),
            Some(
                InvalidArgument
                    | NotFound
                    | AlreadyExists
                    | PermissionDenied
                    | FailedPrecondition
                    | OutOfRange
                    | Unimplemented
                    | Unauthenticated
            )
        )
    }
}

/// The replicas, and which of them served last; clones share both.
#[derive(Debug, Clone)]
pub struct Discovery(Arc<Replicas>);

#[derive(Debug)]
struct Replicas {
    /// `https://host:port`, at least one.
    addresses: Vec<String>,
    expected: SpiffeId,
    current: AtomicUsize,
}

impl Discovery {
    pub fn new(config: &Config) -> Self {
        Self::at(config.discovery.clone(), config.discovery_identity())
    }

    /// # Panics
    /// Without addresses: a configuration never lacks them.
    pub fn at(addresses: Vec<String>, expected: SpiffeId) -> Self {
        assert!(!addresses.is_empty(), "a proxy has at least one address of discovery");
        Self(Arc::new(Replicas { addresses, expected, current: AtomicUsize::new(0) }))
    }

    /// Who discovery has to prove to be.
    pub fn expected(&self) -> &SpiffeId {
        &self.0.expected
    }

    pub fn replicas(&self) -> usize {
        self.0.addresses.len()
    }

    pub fn address(&self, replica: usize) -> &str {
        &self.0.addresses[replica % self.replicas()]
    }

    /// The replica to be asked first.
    pub fn current(&self) -> usize {
        self.0.current.load(Ordering::Relaxed)
    }

    /// `replica` did not serve: the one after it is asked from now on. Nothing changes when somebody has moved on already.
    pub fn pass_over(&self, replica: usize) {
        let next = (replica + 1) % self.replicas();
        let _ = self.0.current.compare_exchange(replica, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The TLS configuration of a workload that has a certificate.
    pub fn client(&self, identity: &Identity) -> Arc<ClientConfig> {
        identity.client(self.expected(), Alpn::Rpc)
    }

    /// A connection to one replica.
    pub async fn connect(&self, replica: usize, tls: Arc<ClientConfig>) -> Result<Channel, DiscoveryError> {
        let address = self.address(replica);
        let failed = |reason: String| DiscoveryError::Connect { address: address.to_owned(), reason };
        let authority = address.trim_start_matches("https://").to_owned();
        // Scheme http, for tonic must not add a TLS layer of its own: the connector below does.
        let endpoint = Endpoint::from_shared(format!("http://{authority}")).map_err(|e| failed(e.to_string()))?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        let connector = tower::service_fn(move |_| {
            let (authority, tls) = (authority.clone(), tls.clone());
            async move { dial(&authority, tls).await.map(TokioIo::new) }
        });
        endpoint.connect_with_connector(connector).await.map_err(|error| failed(innermost(&error)))
    }

    /// Asks one replica after the other until one of them answers.
    pub async fn ask<T, F>(&self, tls: &Arc<ClientConfig>, call: impl Fn(Channel) -> F) -> Result<T, DiscoveryError>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let first = self.current();
        let mut last = None;
        for n in 0..self.replicas() {
            let replica = (first + n) % self.replicas();
            let asked = async {
                let channel = self.connect(replica, tls.clone()).await?;
                call(channel).await.map_err(|status| self.answer(replica, status))
            };
            match self.in_time(replica, asked).await {
                Err(error) if !error.is_final() => {
                    tracing::debug!(%error, "discovery replica passed over");
                    self.pass_over(replica);
                    last = Some(error);
                }
                answer => return answer,
            }
        }
        Err(last.expect("there is at least one replica, and each one left the loop or an error"))
    }

    fn answer(&self, replica: usize, status: Status) -> DiscoveryError {
        DiscoveryError::Answer { address: self.address(replica).to_owned(), status: Box::new(status) }
    }

    async fn in_time<T>(
        &self,
        replica: usize,
        asked: impl Future<Output = Result<T, DiscoveryError>>,
    ) -> Result<T, DiscoveryError> {
        let timeout = |_| Err(DiscoveryError::Timeout { address: self.address(replica).to_owned() });
        tokio::time::timeout(CALL_TIMEOUT, asked).await.unwrap_or_else(timeout)
    }
}

async fn dial(authority: &str, tls: Arc<ClientConfig>) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    // The name is not verified: discovery is recognised by its SPIFFE ID.
    let name = ServerName::IpAddress(stream.peer_addr()?.ip().into());
    TlsConnector::from(tls).connect(name, stream).await
}

/// What really happened, beneath the layers that say "transport error".
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A connection that is kept between calls, for whoever calls often.
#[derive(Debug)]
pub struct Caller {
    discovery: Discovery,
    identity: Identity,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    replica: usize,
    channel: Channel,
    /// Under which the connection was made; renewed ones want a new connection.
    credentials: Arc<Credentials>,
}

impl Caller {
    pub fn new(discovery: Discovery, identity: Identity) -> Self {
        Self { discovery, identity, open: None }
    }

    /// As [`Discovery::ask`], over the connection that served last as long as it does.
    pub async fn ask<T, F>(&mut self, call: impl Fn(Channel) -> F) -> Result<T, DiscoveryError>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let mut tries = self.discovery.replicas();
        loop {
            let replica = self.open.as_ref().map_or_else(|| self.discovery.current(), |open| open.replica);
            let discovery = self.discovery.clone();
            let reused = self.open.is_some();
            let asked = async {
                let channel = self.channel(replica).await?;
                call(channel).await.map_err(|status| discovery.answer(replica, status))
            };
            match discovery.in_time(replica, asked).await {
                Err(error) if !error.is_final() => {
                    self.open = None;
                    // A kept connection may have died with nobody noticing; its replica gets a fresh one first.
                    tries -= usize::from(!reused);
                    if !reused {
                        discovery.pass_over(replica);
                    }
                    if tries == 0 {
                        return Err(error);
                    }
                }
                answer => return answer,
            }
        }
    }

    async fn channel(&mut self, replica: usize) -> Result<Channel, DiscoveryError> {
        let credentials = self.identity.credentials();
        if let Some(open) = self.open.as_ref().filter(|open| Arc::ptr_eq(&open.credentials, &credentials)) {
            return Ok(open.channel.clone());
        }
        let channel = self.discovery.connect(replica, self.discovery.client(&self.identity)).await?;
        self.open = Some(Open { replica, channel: channel.clone(), credentials });
        Ok(channel)
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
