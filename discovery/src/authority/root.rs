//! The root of trust: made once, by whichever replica is first, and read by all others.
//!
//! Decided by one compare-and-put in the store. Fails when the stored root is damaged or for another trust domain: an
//! authority is never replaced by a new one silently, for every certificate in use would become worthless.

use super::fault::AuthorityError;
use crate::store::{Compare, Op, Store};
use serde::{Deserialize, Serialize};
use weft_identity::certificate::Authority;

/// The root's key in the store. Whoever can read the store can sign for the mesh.
const ROOT: &str = "authority/root";

#[derive(Serialize, Deserialize)]
struct Stored {
    trust_domain: String,
    /// PEM.
    certificate: String,
    /// PEM, PKCS #8.
    key: String,
}

/// The root that all replicas on this store agree on.
pub async fn agree(store: &dyn Store, trust_domain: &str) -> Result<Authority, AuthorityError> {
    if let Some(entry) = store.get(ROOT).await? {
        return read(&entry.value, trust_domain);
    }
    let authority = Authority::generate(trust_domain)?;
    let (certificate, key) = authority.to_pem();
    let stored = Stored { trust_domain: trust_domain.to_owned(), certificate, key };
    let value = serde_json::to_vec(&stored).expect("three texts always have a JSON form");
    let made = store.commit(vec![Compare::Absent(ROOT.to_owned())], vec![Op::put(ROOT, value)]).await?;
    if made.is_some() {
        tracing::info!(trust_domain, "made the mesh's root of trust");
        return Ok(authority);
    }
    match store.get(ROOT).await? {
        Some(entry) => read(&entry.value, trust_domain),
        None => Err(damaged("another replica made it and took it away again")),
    }
}

fn read(value: &[u8], trust_domain: &str) -> Result<Authority, AuthorityError> {
    let stored: Stored = serde_json::from_slice(value).map_err(damaged)?;
    if stored.trust_domain != trust_domain {
        let configured = trust_domain.to_owned();
        return Err(AuthorityError::TrustDomain { stored: stored.trust_domain, configured });
    }
    Authority::from_pem(&stored.certificate, &stored.key).map_err(damaged)
}

fn damaged(reason: impl std::fmt::Display) -> AuthorityError {
    AuthorityError::Damaged { key: ROOT, reason: reason.to_string() }
}
