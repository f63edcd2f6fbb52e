//! The certificate authority: who may speak for which workload, and the certificates that say so.
//!
//! Beside the path of documents: a proxy certifies before it registers or subscribes. The root and the join tokens stand
//! in the store, so that all replicas sign alike.

mod certify;
mod review;
mod sign;
mod token;
mod root;
mod sessions;
mod fault;

pub use certify::Certify;
pub use fault::AuthorityError;
pub use review::Reviewer;
pub use sessions::keep as keep_session_keys;
pub use sign::{Authority, Issued, Ledger, OWN_ACCOUNT, OWN_NAMESPACE};
pub use token::{JoinToken, TokenError};
