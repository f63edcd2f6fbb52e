//! TLS configurations between proxies, and from proxies to discovery. TLS 1.3 only.
//!
//! Made from [`Credentials`], used by every connection. Verification is by SPIFFE ID ([`verify`](self)); a resumed session
//! ends with the configuration it was made under, at the latest an hour after its full handshake.

mod verify;

pub use verify::{Clients, PeerRefused, refusal};

use crate::certificate::{CertificateError, Credentials, roots};
use crate::provider::provider;
use crate::spiffe;
use rustls::client::Resumption;
use rustls::crypto::{GetRandomFailed, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::SingleCertAndKey;
use rustls::ticketer::TicketRotator;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::CertificateDer;
use std::sync::Arc;
use std::time::Duration;
use weft_model::SpiffeId;

/// Ticket keys change this often and the previous one stays good, so that tickets live for at most twice as long.
const TICKET_KEY_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// How many sessions one client configuration remembers (rustls keeps up to 8 per server).
const REMEMBERED_SESSIONS: usize = 256;

/// What is inside a TLS connection, as negotiated (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// HTTP/1.1 between two sidecars.
    Http1,
    /// HTTP/2 between two sidecars.
    H2,
    /// The application's bytes, unread.
    Tcp,
    /// gRPC to discovery.
    Rpc,
    /// How busy is the endpoint? Asked by balancers, never seen by applications.
    Probe,
}

impl Alpn {
    pub const ALL: [Self; 5] = [Self::Http1, Self::H2, Self::Tcp, Self::Rpc, Self::Probe];

    pub const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"weft-http/1.1",
            Self::H2 => b"weft-h2",
            Self::Tcp => b"weft-tcp",
            Self::Rpc => b"h2",
            Self::Probe => b"weft-probe",
        }
    }

    /// What the two sides agreed on; `None` for a protocol that is not one of ours.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|alpn| alpn.as_bytes() == bytes)
    }
}

/// What becomes of sessions when their connection has ended (RFC 8446 section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sessions {
    /// A client that comes back goes on with one: no certificates, and a fraction of the CPU time.
    Resumed,
    /// Every connection begins with a full handshake.
    Forgotten,
}

impl Sessions {
    pub fn of_client(self, mut config: Arc<ClientConfig>) -> Arc<ClientConfig> {
        if self == Self::Forgotten {
            Arc::make_mut(&mut config).resumption = Resumption::disabled();
        }
        config
    }

    pub fn of_server(self, mut config: Arc<ServerConfig>) -> Arc<ServerConfig> {
        if self == Self::Forgotten {
            // Nobody can show a ticket under keys that were never used.
            Arc::make_mut(&mut config).send_tls13_tickets = 0;
        }
        config
    }
}

/// To the workload `expected` and nobody else, showing our own certificate. The server name that a connection is opened
/// with is not verified and not sent: pass the peer's IP address.
pub fn client_config(credentials: &Credentials, expected: &SpiffeId, alpn: Alpn) -> Arc<ClientConfig> {
    let certificate = Arc::new(SingleCertAndKey::from(credentials.certified.clone()));
    let mut config = expecting(credentials.roots.clone(), expected).with_client_cert_resolver(certificate);
    finish(&mut config, alpn);
    Arc::new(config)
}

/// As [`client_config`] but without a certificate of our own: for the first `Certify`, which brings one.
pub fn bootstrap_client_config(
    anchors: &[CertificateDer<'static>],
    expected: &SpiffeId,
) -> Result<Arc<ClientConfig>, CertificateError> {
    let mut config = expecting(Arc::new(roots(anchors)?), expected).with_no_client_auth();
    finish(&mut config, Alpn::Rpc);
    Ok(Arc::new(config))
}

fn expecting(
    roots: Arc<RootCertStore>,
    expected: &SpiffeId,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    ClientConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has TLS 1.3 cipher suites")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verify::ExpectServer { roots, expected: expected.clone() }))
}

fn finish(config: &mut ClientConfig, alpn: Alpn) {
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    config.enable_sni = false;
    // The proxy seals and opens records itself.
    config.enable_secret_extraction = true;
    config.resumption = Resumption::in_memory_sessions(REMEMBERED_SESSIONS);
}

/// For connections from workloads of our own trust domain. `alpns` in order of preference; a client that offers only
/// others is refused, one that offers none gets through without (the caller sees it).
pub fn server_config(credentials: &Credentials, alpns: &[Alpn], clients: Clients) -> Arc<ServerConfig> {
    let verifier = verify::SameTrustDomain::new(credentials, clients);
    let mut config = ServerConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has TLS 1.3 cipher suites")
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(credentials.certified.clone())));
    config.alpn_protocols = alpns.iter().map(|alpn| alpn.as_bytes().to_vec()).collect();
    // Early data can be replayed by anybody who saw it.
    config.max_early_data_size = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = ticketer();
    config.enable_secret_extraction = true;
    Arc::new(config)
}

/// Stateless tickets under keys of this configuration alone, so that they die with it.
fn ticketer() -> Arc<dyn ProducesTickets> {
    let seconds = TICKET_KEY_LIFETIME.as_secs() as u32;
    Arc::new(TicketRotator::new(seconds, ticket_key).expect("ticket keys need nothing but randomness"))
}

fn ticket_key() -> Result<Box<dyn ProducesTickets>, GetRandomFailed> {
    Ok(Box::new(TicketKey(aws_lc_rs::Ticketer::new().map_err(|_| GetRandomFailed)?)))
}

/// One key of the rotation; the provider hands them out shared, the rotation wants them boxed.
#[derive(Debug)]
struct TicketKey(Arc<dyn ProducesTickets>);

impl ProducesTickets for TicketKey {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}

/// Who is at the other end of a finished handshake: `conn.peer_certificates()` goes in. `None`: it showed no certificate.
pub fn peer(certificates: Option<&[CertificateDer<'_>]>) -> Option<SpiffeId> {
    // A certificate that has no ID does not pass either verifier.
    spiffe::id_of(certificates?.first()?).ok()
}

#[cfg(test)]
mod tests;
