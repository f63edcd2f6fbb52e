//! What can be wrong with keys, certificates, signing requests, and with how they fit together.
//!
//! One error for the whole of [`certificate`](super), because its callers treat all of them alike: they keep what they had.

use crate::spiffe;
use std::fmt;
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
