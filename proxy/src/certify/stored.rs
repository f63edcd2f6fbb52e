//! The identity as it rests in the state directory, so that a restart need not ask for another one.
//!
//! Key, chain and anchors are one file, for they only make sense together. What does not fit this workload or this mesh is
//! not used, with the reason; the file is as secret as the key in it (mode 0600).

use crate::state_dir::StateDir;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io;
use std::time::SystemTime;
use weft_identity::certificate::{CertificateError, Credentials, Key, from_pem, to_pem};
use weft_model::SpiffeId;

const FILE: &str = "identity.json";

/// Why what is stored is not used.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    #[error("{FILE}: {0}")]
    Read(#[from] io::Error),
    #[error("{FILE}: {0}")]
    Parse(#[from] serde_json::Error),
    #[error("{FILE}: {0}")]
    Certificate(#[from] CertificateError),
    #[error("{FILE}: it is that of {0}")]
    Identity(Box<SpiffeId>),
    #[error("{FILE}: it is not valid now")]
    Expired,
    #[error("{FILE}: it belongs to a mesh with other trust anchors")]
    Mesh,
}

/// PEM throughout.
#[derive(Serialize, Deserialize)]
pub struct Stored {
    key: String,
    /// Leaf first.
    chain: String,
    trust_anchors: String,
    /// SHA-256 over the trust anchors this proxy was configured with, hexadecimal.
    configured: String,
}

impl Stored {
    pub fn new(credentials: &Credentials, configured: &[CertificateDer<'_>]) -> Self {
        Self {
            key: credentials.key_pem(),
            chain: to_pem(&credentials.chain),
            trust_anchors: to_pem(&credentials.anchors),
            configured: fingerprint(configured),
        }
    }

    pub fn save(&self, directory: &StateDir) -> io::Result<()> {
        directory.write(FILE, &serde_json::to_vec(self)?)
    }
}

/// What is stored, if anything is. Anchors that discovery has replaced since the start count, unless the configured ones have
/// been exchanged for those of another mesh.
pub fn load(
    directory: &StateDir,
    wanted: &SpiffeId,
    configured: &[CertificateDer<'static>],
    now: SystemTime,
) -> Result<Option<Credentials>, StoredError> {
    let Some(bytes) = directory.read(FILE)? else { return Ok(None) };
    let stored: Stored = serde_json::from_slice(&bytes)?;
    let anchors = from_pem(&stored.trust_anchors)?;
    if stored.configured != fingerprint(configured) && !configured.iter().any(|anchor| anchors.contains(anchor)) {
        return Err(StoredError::Mesh);
    }
    let credentials = Credentials::new(from_pem(&stored.chain)?, Key::from_pem(&stored.key)?.private(), anchors)?;
    if credentials.id != *wanted {
        return Err(StoredError::Identity(Box::new(credentials.id)));
    }
    if now < credentials.not_before || now >= credentials.not_after {
        return Err(StoredError::Expired);
    }
    Ok(Some(credentials))
}

fn fingerprint(anchors: &[CertificateDer<'_>]) -> String {
    let mut digest = Sha256::new();
    anchors.iter().for_each(|anchor| digest.update(anchor));
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use weft_identity::certificate::Authority;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn id(account: &str) -> SpiffeId {
        SpiffeId::new("weft.local", "shop", account).unwrap()
    }

    fn saved(authority: &Authority, directory: &StateDir) {
        let key = Key::generate();
        let signed = authority.sign(&key.csr(), &id("cart"), SystemTime::now(), DAY).unwrap();
        let anchors = vec![authority.certificate().clone()];
        let credentials = Credentials::new(vec![signed.leaf], key.private(), anchors.clone()).unwrap();
        Stored::new(&credentials, &anchors).save(directory).unwrap();
    }

    #[test]
    fn what_was_stored_serves_again_until_it_expires() {
        let authority = Authority::generate("weft.local").unwrap();
        let anchors = [authority.certificate().clone()];
        let above = tempfile::tempdir().unwrap();
        let directory = StateDir::open(above.path()).unwrap();
        let now = SystemTime::now();
        assert!(load(&directory, &id("cart"), &anchors, now).unwrap().is_none());
        saved(&authority, &directory);
        assert_eq!(load(&directory, &id("cart"), &anchors, now).unwrap().unwrap().id, id("cart"));
        let load = |account, anchors: &[_], now| load(&directory, &id(account), anchors, now).unwrap_err();
        assert!(matches!(load("search", &anchors, now), StoredError::Identity(_)));
        assert!(matches!(load("cart", &anchors, now + 2 * DAY), StoredError::Expired));
        let other = [Authority::generate("weft.local").unwrap().certificate().clone()];
        assert!(matches!(load("cart", &other, now), StoredError::Mesh));
    }

    #[test]
    fn damaged_files_are_refused() {
        let authority = Authority::generate("weft.local").unwrap();
        let anchors = [authority.certificate().clone()];
        let above = tempfile::tempdir().unwrap();
        let directory = StateDir::open(above.path()).unwrap();
        saved(&authority, &directory);
        let sound = directory.read(FILE).unwrap().unwrap();
        for cut in [0, 1, sound.len() / 2, sound.len() - 1] {
            directory.write(FILE, &sound[..cut]).unwrap();
            assert!(load(&directory, &id("cart"), &anchors, SystemTime::now()).is_err(), "{cut}");
        }
    }
}
