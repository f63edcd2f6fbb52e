//! What a workload shows to its peers and whom it trusts, checked when it is put together.
//!
//! Every TLS configuration is made from it. Fails when key, chain and anchors do not fit; [`Credentials`] that exist name
//! exactly one workload. Whether they are still valid is for the peers to judge.

use super::encoding::{serial, validity};
use super::fault::{CertificateError, malformed};
use crate::provider::provider;
use crate::spiffe;
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use weft_model::SpiffeId;

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

    /// The same key and chain under other anchors, one of which the chain has to lead to.
    pub fn trusting(&self, anchors: Vec<CertificateDer<'static>>) -> Result<Self, CertificateError> {
        Self::new(self.chain.clone(), self.key.clone_key(), anchors)
    }

    /// Whether those who trust nothing but `anchor` accept this workload.
    pub fn rests_on(&self, anchor: &CertificateDer<'static>) -> bool {
        let now = SystemTime::now().clamp(self.not_before, self.not_after);
        roots(std::slice::from_ref(anchor)).is_ok_and(|roots| verify_chain(&self.chain, &roots, now).is_ok())
    }

    /// The leaf's serial number, as [`Signed`](super::Signed) has it.
    pub fn serial(&self) -> String {
        serial(&self.chain[0]).unwrap_or_default()
    }

    /// The private key, to be kept for a restart: PKCS #8, PEM.
    pub fn key_pem(&self) -> String {
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        pem::encode_config(&pem::Pem::new("PRIVATE KEY", self.key.secret_der()), config)
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

pub(crate) fn verify_chain(
    chain: &[CertificateDer<'static>],
    roots: &RootCertStore,
    now: SystemTime,
) -> Result<(), rustls::Error> {
    let leaf = ParsedCertificate::try_from(&chain[0])?;
    let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
    let algorithms = provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&leaf, roots, &chain[1..], now, algorithms)
}
