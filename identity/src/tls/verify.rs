//! The two decisions about a peer's certificate: is this server the workload we meant, is this client one of ours?
//!
//! Called by rustls during a full handshake. Both require a chain to any of the anchors at the present time; refusals
//! end the handshake with an alert and carry a [`PeerRefused`] for the log.

use crate::certificate::Credentials;
use crate::provider::provider;
use crate::spiffe::{self, SpiffeError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::verify_tls13_signature;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::fmt;
use std::sync::Arc;
use weft_model::SpiffeId;

/// Whether a server insists on a client certificate. One that is presented is checked either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    Required,
    Optional,
}

/// Why a peer with a valid chain was refused all the same.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerRefused {
    #[error("the server is {presented}, not {expected}")]
    OtherWorkload { expected: Box<SpiffeId>, presented: Box<SpiffeId> },
    #[error("the client {presented} is not in the trust domain {trust_domain}")]
    OtherTrustDomain { trust_domain: String, presented: Box<SpiffeId> },
    #[error(transparent)]
    NoIdentity(#[from] SpiffeError),
}

/// rustls prints what it wraps with `Debug`; people should read the sentence.
impl fmt::Debug for PeerRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The reason of ours inside a failed handshake's error, if it was ours.
pub fn refusal(error: &Error) -> Option<&PeerRefused> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(reason))) => reason.downcast_ref(),
        _ => None,
    }
}

fn refuse(reason: PeerRefused) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(reason))))
}

fn never_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("TLS 1.2 is not spoken between proxies".to_owned()))
}

/// A client's check of its server: chain, and exactly the expected ID. The server's name plays no part.
#[derive(Debug)]
pub(super) struct ExpectServer {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) expected: SpiffeId,
}

impl ServerCertVerifier for ExpectServer {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let algorithms = provider().signature_verification_algorithms.all;
        let parsed = ParsedCertificate::try_from(leaf)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        let presented = spiffe::id_of(leaf).map_err(|error| refuse(error.into()))?;
        if presented == self.expected {
            Ok(ServerCertVerified::assertion())
        } else {
            let expected = Box::new(self.expected.clone());
            Err(refuse(PeerRefused::OtherWorkload { expected, presented: Box::new(presented) }))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        never_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A server's check of its clients: chain, and an ID in our own trust domain.
#[derive(Debug)]
pub(super) struct SameTrustDomain {
    chain: Arc<dyn ClientCertVerifier>,
    trust_domain: String,
}

impl SameTrustDomain {
    pub(super) fn new(credentials: &Credentials, clients: Clients) -> Self {
        // Clients have one certificate each, so hints which to choose would be wasted bytes.
        let builder = WebPkiClientVerifier::builder_with_provider(credentials.roots.clone(), provider().clone())
            .clear_root_hint_subjects();
        let builder = match clients {
            Clients::Required => builder,
            Clients::Optional => builder.allow_unauthenticated(),
        };
        let chain = builder.build().expect("credentials have at least one anchor and no revocation lists are given");
        Self { chain, trust_domain: credentials.id.trust_domain.clone() }
    }
}

impl ClientCertVerifier for SameTrustDomain {
    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(leaf, intermediates, now)?;
        let presented = spiffe::id_of(leaf).map_err(|error| refuse(error.into()))?;
        if presented.trust_domain == self.trust_domain {
            Ok(verified)
        } else {
            let trust_domain = self.trust_domain.clone();
            Err(refuse(PeerRefused::OtherTrustDomain { trust_domain, presented: Box::new(presented) }))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        never_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
