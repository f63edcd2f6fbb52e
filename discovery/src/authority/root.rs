//! The root of trust: brought by the operator or made once, by whichever replica is first, and read by all others.
//!
//! Decided by one compare-and-put in the store. Fails when the stored root is damaged, for another trust domain, or another than
//! the one brought: an authority is never replaced silently, for every certificate in use would become worthless.

use super::fault::AuthorityError;
use crate::store::{Compare, Op, Store};
use serde::{Deserialize, Serialize};
use std::path::Path;
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

/// The root that all replicas on this store agree on: the one in the directory, if there is one, as long as the store has none.
pub async fn agree(
    store: &dyn Store,
    trust_domain: &str,
    directory: Option<&Path>,
) -> Result<Authority, AuthorityError> {
    let brought = directory.map(|directory| bring(directory, trust_domain)).transpose()?;
    if let Some(entry) = store.get(ROOT).await? {
        return same(read(&entry.value, trust_domain)?, brought.as_ref());
    }
    let is_brought = brought.is_some();
    let authority = brought.map_or_else(|| Authority::generate(trust_domain), Ok)?;
    let (certificate, key) = authority.to_pem();
    let stored = Stored { trust_domain: trust_domain.to_owned(), certificate, key };
    let value = serde_json::to_vec(&stored).expect("three texts always have a JSON form");
    let made = store.commit(vec![Compare::Absent(ROOT.to_owned())], vec![Op::put(ROOT, value)]).await?;
    if made.is_some() {
        tracing::info!(trust_domain, is_brought, "the mesh has its root of trust");
        return Ok(authority);
    }
    match store.get(ROOT).await? {
        Some(entry) => same(read(&entry.value, trust_domain)?, is_brought.then_some(&authority)),
        None => Err(damaged("another replica made it and took it away again")),
    }
}

/// `tls.crt` and `tls.key` of the directory, as Kubernetes mounts a Secret of type `kubernetes.io/tls`.
fn bring(directory: &Path, trust_domain: &str) -> Result<Authority, AuthorityError> {
    let text = |name: &str| {
        let path = directory.join(name);
        std::fs::read_to_string(&path).map_err(|error| AuthorityError::Brought(format!("{}: {error}", path.display())))
    };
    let authority = Authority::from_pem(&text("tls.crt")?, &text("tls.key")?);
    let authority = authority.map_err(|error| AuthorityError::Brought(format!("{}: {error}", directory.display())))?;
    match authority.trust_domain() {
        Some(named) if named != trust_domain => {
            let reason = format!("{} is for the trust domain {named}, not {trust_domain}", directory.display());
            Err(AuthorityError::Brought(reason))
        }
        _ => Ok(authority),
    }
}

fn same(stored: Authority, brought: Option<&Authority>) -> Result<Authority, AuthorityError> {
    match brought {
        Some(brought) if brought.certificate() != stored.certificate() => Err(AuthorityError::Another),
        _ => Ok(stored),
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
