//! The certificate authority: who may speak for which workload, and the certificates that say so.
//!
//! Beside the path of documents: a proxy certifies before it registers or subscribes. The root and the join tokens stand
//! in the store, so that all replicas sign alike.

mod certify;
mod review;
mod rotate;
mod sign;
mod follow;
mod secret;
mod pods;
mod ledger;
mod token;
mod trust;
mod sessions;
mod fault;

pub use certify::Certify;
pub use fault::AuthorityError;
pub use follow::follow;
pub use ledger::{Ledger, OWN_ACCOUNT, OWN_NAMESPACE, Proven, in_use};
pub use review::Reviewer;
pub use rotate::{RotateError, waiting};
pub use secret::{SecretName, keep as keep_secret};
pub use sessions::keep as keep_session_keys;
pub use sign::{Asked, Authority, Issued};
pub use token::{JoinToken, TokenError};
pub use trust::{Leaving, Rotation, Trust};
