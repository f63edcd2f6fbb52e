//! The catalog on disk, so that a proxy can start while discovery is away.
//!
//! Written whole whenever the catalog has changed, a moment later and off every path; read once at start. A file that is
//! damaged or of another version is ignored with a warning: an empty catalog is right, a wrong one is not.

use super::{Bound, Catalog, CatalogMetrics, Guarded, Known, Snapshot};
use crate::affinity::Keys;
use crate::state_dir::StateDir;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weft_model::session::SessionKey;
use weft_model::{Binding, ServiceView, WorkloadPolicies};

/// The file's name in the state directory. Its first line says version and checksum of the second, which is the content.
pub const FILE: &str = "catalog.json";
const VERSION: u32 = 1;
/// Changes are gathered for this long ...
const DEBOUNCE: Duration = Duration::from_millis(200);
/// ... or longer: writing may take this share of the time at most.
const IDLE_SHARE: u32 = 10;

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    version: u32,
    sha256: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Content<V, A> {
    revision: u64,
    services: Vec<Saved<V>>,
    addresses: Vec<(IpAddr, A)>,
    /// So that sessions outlive a restart while discovery is away.
    #[serde(default)]
    session_keys: Vec<SessionKey>,
    /// Absent: never told.
    #[serde(default)]
    policies: Option<Saved<WorkloadPolicies>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Saved<V> {
    revision: u64,
    view: V,
}

/// Why a file was not used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error("reading failed: {0}")]
    Read(#[from] io::Error),
    #[error("it does not begin with a line that names version and checksum")]
    Head,
    #[error("it has version {0}, this program reads {VERSION}")]
    Version(u32),
    #[error("its checksum does not match: it was damaged")]
    Checksum,
    #[error("its content does not fit: {0}")]
    Content(serde_json::Error),
}

/// What was saved; `None` when nothing was.
pub(super) fn load(dir: &StateDir) -> Result<Option<Snapshot>, DiskError> {
    dir.read(FILE)?.map(|bytes| decode(&bytes)).transpose()
}

/// Saves the catalog after each change, forever. Failures are counted, and the next change is another try.
pub async fn keep(catalog: Catalog, dir: StateDir, metrics: CatalogMetrics) {
    let mut saved = 0;
    let mut pause = DEBOUNCE;
    let mut failing = false;
    loop {
        let published = catalog.published();
        // Compared after that, so that a publication in between is not missed.
        if catalog.publications() == saved {
            published.await;
        }
        tokio::time::sleep(pause).await;
        saved = catalog.publications();
        let (dir, snapshot) = (dir.clone(), catalog.snapshot().clone());
        let begun = Instant::now();
        let written = tokio::task::spawn_blocking(move || dir.write(FILE, &encode(&snapshot))).await;
        pause = DEBOUNCE.max(begun.elapsed() * IDLE_SHARE);
        let error = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = &error {
            metrics.saves_failed.inc();
            if !failing {
                tracing::warn!(%error, "saving the catalog failed; a restart would begin without it");
            }
        }
        failing = error.is_some();
    }
}

fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let services = snapshot.services.values().map(|known| Saved { revision: known.revision, view: &known.view });
    // What discovery did not know may be known when this is read.
    let addresses = snapshot.addresses.iter().filter(|(_, bound)| bound.binding != Binding::Unknown);
    let policies = snapshot.guard.as_ref();
    let policies = policies.map(|guard| Saved { revision: guard.revision, view: guard.policies.clone() });
    let content = Content {
        policies,
        revision: snapshot.revision,
        services: services.collect(),
        addresses: addresses.map(|(address, bound)| (*address, &bound.binding)).collect(),
        session_keys: snapshot.session_keys.given().to_vec(),
    };
    let content = serde_json::to_vec(&content).expect("the model's types all have a JSON form");
    let head = Head { version: VERSION, sha256: checksum(&content) };
    let mut bytes = serde_json::to_vec(&head).expect("a number and a text have a JSON form");
    bytes.push(b'\n');
    bytes.extend_from_slice(&content);
    bytes.push(b'\n');
    bytes
}

fn decode(bytes: &[u8]) -> Result<Snapshot, DiskError> {
    let at = bytes.iter().position(|byte| *byte == b'\n').ok_or(DiskError::Head)?;
    let head: Head = serde_json::from_slice(&bytes[..at]).map_err(|_| DiskError::Head)?;
    if head.version != VERSION {
        return Err(DiskError::Version(head.version));
    }
    let content = bytes[at + 1..].strip_suffix(b"\n").ok_or(DiskError::Checksum)?;
    if checksum(content) != head.sha256 {
        return Err(DiskError::Checksum);
    }
    let content: Content<ServiceView, Binding> = serde_json::from_slice(content).map_err(DiskError::Content)?;
    let mut snapshot = Snapshot::of(content.services.into_iter().map(|saved| Known::new(saved.view, saved.revision)));
    snapshot.revision = content.revision;
    snapshot.session_keys = Arc::new(Keys::new(content.session_keys));
    snapshot.guard = content.policies.map(|saved| Guarded::new(saved.view, saved.revision));
    for (address, binding) in content.addresses {
        snapshot.addresses.insert(address, Bound::new(binding));
    }
    Ok(snapshot)
}

fn checksum(content: &[u8]) -> String {
    STANDARD_NO_PAD.encode(Sha256::digest(content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::tests::{known, name};

    fn dir() -> (tempfile::TempDir, StateDir) {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        (dir, state)
    }

    fn snapshot() -> Snapshot {
        let mut snapshot = Snapshot::of([known("shop/cart", &["a", "b"], 7)]);
        let endpoint = Binding::Endpoint { service: name("shop/cart"), id: "a".to_owned() };
        snapshot.addresses.insert("10.0.0.1".parse().unwrap(), Bound::new(endpoint));
        snapshot.addresses.insert("8.8.8.8".parse().unwrap(), Bound::new(Binding::Unknown));
        snapshot.session_keys = Arc::new(Keys::new(vec![SessionKey { id: 3, secret: [5; 32], from: 9 }]));
        let mut policies = WorkloadPolicies::default();
        policies.namespace.default_action = weft_model::authorization::Action::Deny;
        snapshot.guard = Some(Guarded::new(policies, 6));
        snapshot
    }

    #[test]
    fn what_is_saved_is_what_is_loaded_but_for_what_was_unknown() {
        let (_keep, dir) = dir();
        assert!(load(&dir).unwrap().is_none());
        let before = snapshot();
        dir.write(FILE, &encode(&before)).unwrap();
        let after = load(&dir).unwrap().unwrap();
        assert_eq!(after.revision, 7);
        assert_eq!(after.session_keys.given(), before.session_keys.given());
        assert_eq!(after.services[&name("shop/cart")].view, before.services[&name("shop/cart")].view);
        let binding = |address: &str| after.addresses.get(&address.parse().unwrap()).map(|bound| bound.binding.clone());
        assert_eq!(binding("198.18.0.1"), Some(Binding::Service(name("shop/cart"))));
        assert!(matches!(binding("10.0.0.1"), Some(Binding::Endpoint { .. })));
        assert_eq!(binding("8.8.8.8"), None);
        let guard = after.guard.unwrap();
        assert!(guard.revision == 6 && guard.policies == before.guard.unwrap().policies && guard.table.is_some());
    }

    #[test]
    fn any_damage_is_seen() {
        let good = encode(&snapshot());
        for n in 0..good.len() {
            assert!(decode(&good[..n]).is_err(), "cut at {n}");
            let mut bad = good.clone();
            bad[n] ^= 4;
            assert!(decode(&bad).is_err(), "bit of byte {n} changed");
        }
        let old = String::from_utf8(good).unwrap().replacen("\"version\":1", "\"version\":2", 1);
        assert!(matches!(decode(old.as_bytes()), Err(DiskError::Version(2))));
    }

    #[tokio::test]
    async fn changes_are_saved() {
        let (_keep, dir) = dir();
        let (catalog, feed) = crate::catalog::channel(Duration::from_secs(1));
        let keeper = tokio::spawn(keep(catalog, dir.clone(), CatalogMetrics::default()));
        let deadline = Instant::now() + Duration::from_secs(20);
        feed.publish(snapshot());
        while load(&dir).unwrap().is_none_or(|saved| saved.services.is_empty()) {
            assert!(Instant::now() < deadline, "nothing was saved");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        keeper.abort();
    }
}
