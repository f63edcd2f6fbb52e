//! Join tokens: what a workload outside Kubernetes shows for its first certificate.
//!
//! A token stands for one namespace and service account until it expires, and for as many workloads as show it: the
//! replicas of a deployment share one. The store has only its hash. Wrong, unknown and expired tokens are told alike.

use crate::rpc::seconds;
use crate::store::{Op, Store, StoreError};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::time::{Duration, SystemTime};
use subtle::ConstantTimeEq;
use weft_model::SpiffeId;

/// Where tokens stand, by their public half.
const TOKENS: &str = "tokens/";
/// Longer ones belong into a renewal, not into a file.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A fresh token; its text is told once and cannot be had again.
#[derive(Debug, Clone)]
pub struct JoinToken {
    /// `<name>.<secret>`: 64 and 256 random bits, base64url.
    pub text: String,
    pub expires: SystemTime,
}

/// Why there is no token, or no identity for it.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("ttl_seconds: a join token lives for 1 s to 1 year")]
    Ttl,
    #[error("the join token is unknown or has expired")]
    Refused,
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Serialize, Deserialize)]
struct Stored {
    /// SHA-256 of the secret, hexadecimal. The secret is random, so that no salt or slow hash is needed.
    hash: String,
    identity: SpiffeId,
    /// Seconds since the epoch.
    expires: i64,
}

pub async fn create(store: &dyn Store, id: SpiffeId, ttl: Duration, now: SystemTime) -> Result<JoinToken, TokenError> {
    if ttl < Duration::from_secs(1) || ttl > LONGEST {
        return Err(TokenError::Ttl);
    }
    let (name, secret) = (random::<8>(), random::<32>());
    let expires = now + ttl;
    let stored = Stored { hash: hash(&secret), identity: id, expires: seconds(expires) };
    let value = serde_json::to_vec(&stored).expect("text and numbers always have a JSON form");
    // The lease clears it away; whether it has expired is decided by the time in the record.
    let lease = store.grant(ttl).await?;
    let put = Op::Put { key: format!("{TOKENS}{name}"), value: value.into(), lease: Some(lease) };
    store.commit(Vec::new(), vec![put]).await?;
    Ok(JoinToken { text: format!("{name}.{secret}"), expires })
}

pub async fn redeem(store: &dyn Store, token: &str, now: SystemTime) -> Result<SpiffeId, TokenError> {
    let (name, secret) = token.trim().split_once('.').ok_or(TokenError::Refused)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        return Err(TokenError::Refused);
    }
    let entry = store.get(&format!("{TOKENS}{name}")).await?.ok_or(TokenError::Refused)?;
    let stored: Stored = serde_json::from_slice(&entry.value).map_err(|_| TokenError::Refused)?;
    let same = hash(secret).as_bytes().ct_eq(stored.hash.as_bytes());
    match bool::from(same) && stored.expires > seconds(now) {
        true => Ok(stored.identity),
        false => Err(TokenError::Refused),
    }
}

fn hash(secret: &str) -> String {
    Sha256::digest(secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn random<const N: usize>() -> String {
    let mut bytes = [0u8; N];
    let random = weft_identity::provider().secure_random;
    random.fill(&mut bytes).expect("the provider aborts the process when the system has no randomness");
    URL_SAFE_NO_PAD.encode(bytes)
}
