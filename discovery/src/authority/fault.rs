//! What can go wrong with the authority as a whole.
//!
//! One error for root, ledger and signing, because their callers treat all of them alike: nothing is handed out.

use crate::store::StoreError;
use weft_identity::certificate::CertificateError;

/// Why the authority did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("the store's authority signs for trust domain {stored}, not for {configured}")]
    TrustDomain { stored: String, configured: String },
    #[error("store key {key:?}: {reason}")]
    Damaged { key: &'static str, reason: String },
    #[error("--root: {0}")]
    Brought(String),
    #[error(
        "--root: the mesh already has another root of trust, which certificates in use rest on; weftctl trust rotate \
             --issuer replaces it"
    )]
    Another,
    #[error("{0}")]
    Identity(String),
}
