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
    #[error("{subject} is not the certificate of an authority (CA:TRUE is missing)")]
    NotAnAuthority { subject: String },
    #[error("{subject} may not sign certificates (its key usage lacks keyCertSign)")]
    Usage { subject: String },
    #[error("{subject} allows {allowed} authorities below it (path length {allowed}), the chain has {depth}")]
    PathLength { subject: String, allowed: u32, depth: usize },
    #[error("{subject} is valid from {from} only")]
    NotYet { subject: String, from: String },
    #[error("{subject} has expired: it was valid until {to}")]
    Expired { subject: String, to: String },
    #[error(
        "the chain does not end in a trust anchor: {subject} is signed by {issuer}, whose certificate is neither among the anchors \
         (ca.crt) nor at the end of the chain"
    )]
    Unanchored { subject: String, issuer: String },
    #[error(
        "the chain is out of order: {subject} is signed by {issuer}, but {next} follows it; the one that signs comes first, then the one \
         that signed it"
    )]
    Order { subject: String, issuer: String, next: String },
    #[error("what {subject} signs is not accepted by those who trust {anchor_name}: {reason}")]
    Unproven { subject: String, anchor_name: String, reason: rustls::Error },
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
