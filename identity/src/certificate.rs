//! Keys and the credentials made with them: a certificate chain, its private key, and the trust anchors.
//!
//! Stands at the start of every TLS configuration. [`Credentials`] that exist are consistent: the key is the leaf's, the
//! leaf names one workload, and the chain leads to an anchor. Whether they are still valid is for the peers to judge.

mod authority;

pub use authority::{Authority, Signed};

use crate::provider::provider;
use crate::spiffe;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use weft_model::SpiffeId;

/// What is wrong with a key, a certificate or a signing request.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("{what}: {reason}")]
    Malformed { what: &'static str, reason: String },
    #[error("the certificate chain is empty")]
    NoChain,
    #[error("there is no trust anchor")]
    NoAnchors,
    #[error(transparent)]
    Identity(#[from] spiffe::SpiffeError),
    #[error("the private key does not belong to the certificate: {0}")]
    Key(rustls::Error),
    #[error("the chain of {id} leads to none of the {anchors} trust anchors: {reason}")]
    Chain { id: Box<SpiffeId>, anchors: usize, reason: rustls::Error },
    #[error("the certificate is not one of an authority (CA:TRUE is missing)")]
    NotAnAuthority,
    #[error("the authority's certificate has expired; rotate the root")]
    AuthorityExpired,
    #[error("{id} is not in the authority's trust domain {trust_domain}")]
    TrustDomain { id: Box<SpiffeId>, trust_domain: String },
    #[error("the signing request holds a key that is not ECDSA P-256")]
    KeyKind,
    #[error("signing failed: {0}")]
    Signing(rcgen::Error),
}

pub(crate) fn malformed(what: &'static str, reason: impl fmt::Display) -> CertificateError {
    CertificateError::Malformed { what, reason: reason.to_string() }
}

/// A workload's private key: ECDSA P-256.
pub struct Key(KeyPair);

impl Key {
    pub fn generate() -> Self {
        Self(new_key_pair())
    }

    /// A PKCS #10 signing request, DER. It names nobody: the authority decides the name.
    pub fn csr(&self) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request =
            params.serialize_request(&self.0).expect("a request without names has nothing that could be refused");
        request.der().to_vec()
    }

    /// The key for a TLS configuration.
    pub fn private(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.serialize_der()).into()
    }

    /// PKCS #8 PEM. A file that holds it is for its owner's eyes only (mode 0600).
    pub fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    pub fn from_pem(pem: &str) -> Result<Self, CertificateError> {
        KeyPair::from_pem(pem).map(Self).map_err(|error| malformed("private key", error))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

fn new_key_pair() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .expect("generating a P-256 key fails only without a random source, and then the provider aborts")
}

/// What a workload presents to its peers, and whom it trusts.
#[derive(Clone)]
pub struct Credentials {
    /// The leaf's SPIFFE ID.
    pub id: SpiffeId,
    /// Leaf first, without the anchor.
    pub chain: Vec<CertificateDer<'static>>,
    /// Each of them is trusted; during a rotation of the root there are two.
    pub anchors: Vec<CertificateDer<'static>>,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    key: Arc<PrivateKeyDer<'static>>,
    pub(crate) certified: Arc<CertifiedKey>,
    pub(crate) roots: Arc<RootCertStore>,
}

impl Credentials {
    /// Checks that the leaf names exactly one workload, that `key` is the leaf's, and that the chain leads to an anchor.
    /// Expired credentials are accepted here (a caller sees `not_after`); no peer accepts them.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        anchors: Vec<CertificateDer<'static>>,
    ) -> Result<Self, CertificateError> {
        let leaf = chain.first().ok_or(CertificateError::NoChain)?;
        let id = spiffe::id_of(leaf)?;
        let (not_before, not_after) = validity(leaf)?;
        let roots = Arc::new(roots(&anchors)?);
        let now = SystemTime::now().clamp(not_before, not_after);
        verify_chain(&chain, &roots, now).map_err(|reason| CertificateError::Chain {
            id: Box::new(id.clone()),
            anchors: anchors.len(),
            reason,
        })?;
        let certified =
            CertifiedKey::from_der(chain.clone(), key.clone_key(), provider()).map_err(CertificateError::Key)?;
        Ok(Self {
            id,
            chain,
            anchors,
            not_before,
            not_after,
            key: Arc::new(key),
            certified: Arc::new(certified),
            roots,
        })
    }

    /// The private key, to be kept for a restart.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("id", &self.id.to_string())
            .field("not_after", &self.not_after)
            .field("anchors", &self.anchors.len())
            .finish_non_exhaustive()
    }
}

/// The anchors as rustls wants them; each has to be readable.
pub(crate) fn roots(anchors: &[CertificateDer<'static>]) -> Result<RootCertStore, CertificateError> {
    if anchors.is_empty() {
        return Err(CertificateError::NoAnchors);
    }
    let mut roots = RootCertStore::empty();
    for anchor in anchors {
        roots.add(anchor.clone()).map_err(|error| malformed("trust anchor", error))?;
    }
    Ok(roots)
}

fn verify_chain(
    chain: &[CertificateDer<'static>],
    roots: &RootCertStore,
    now: SystemTime,
) -> Result<(), rustls::Error> {
    let leaf = ParsedCertificate::try_from(&chain[0])?;
    let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
    let algorithms = provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&leaf, roots, &chain[1..], now, algorithms)
}

/// From when to when a certificate is valid.
pub fn validity(certificate: &CertificateDer<'_>) -> Result<(SystemTime, SystemTime), CertificateError> {
    let parsed = spiffe::parse(certificate).map_err(|reason| malformed("certificate", reason))?;
    let time = |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let (from, to) = (time(parsed.validity().not_before.timestamp()), time(parsed.validity().not_after.timestamp()));
    if from <= to { Ok((from, to)) } else { Err(malformed("certificate", "it ends before it begins")) }
}

/// Certificates as PEM, in the order given.
pub fn to_pem(certificates: &[CertificateDer<'_>]) -> String {
    let block = |der: &CertificateDer<'_>| pem::Pem::new("CERTIFICATE", der.to_vec());
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_many_config(&certificates.iter().map(block).collect::<Vec<_>>(), config)
}

/// Every certificate in `pem`, at least one.
pub fn from_pem(pem: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let all = all.map_err(|error| malformed("PEM", error))?;
    if all.is_empty() { Err(malformed("PEM", "it holds no certificate")) } else { Ok(all) }
}

#[cfg(test)]
mod tests;
