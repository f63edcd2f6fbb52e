//! Whom the mesh trusts and who signs for it: one record in the store that all replicas read alike.
//!
//! Brought by the operator or made once, by whichever replica is first (one compare-and-put). Afterwards changed by steps of a rotation
//! alone (`rotate`). A damaged record, one for another trust domain, or another root than the mesh's ends the start: an authority is never
//! replaced silently, for every certificate in use would become worthless.

use super::fault::AuthorityError;
use crate::store::{Compare, Entry, Op, Revision, Store, StoreError};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use weft_identity::certificate::{Authority, CertificateError, from_pem, to_pem};

/// The record's key in the store. Whoever can read the store can sign for the mesh.
pub const ROOT: &str = "authority/root";

/// PEM throughout. A root that nobody rotates stands here as it always did: its certificate and its key.
#[derive(Serialize, Deserialize)]
struct Stored {
    trust_domain: String,
    /// The one that signs first, the anchor last.
    certificate: String,
    /// PKCS #8.
    key: String,
    /// Empty: the anchor that `certificate` ends in.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    anchors: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    adding: Option<Pair>,
    /// Anchors that are trusted until nobody needs them; empty: there is no rotation that far.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    leaving: String,
    /// What signed before, while `leaving` is trusted and the rotation can be taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Pair>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    taken_back: bool,
}

#[derive(Serialize, Deserialize)]
struct Pair {
    certificate: String,
    key: String,
    anchors: String,
}

/// The record, as it is used.
#[derive(Debug, Clone)]
pub struct Trust {
    /// Signs.
    pub issuer: Arc<Authority>,
    pub rotation: Rotation,
    pub(super) trust_domain: String,
    /// Of the store, when the record was written.
    pub(super) revision: Revision,
}

/// How far the replacement of the root is.
#[derive(Debug, Clone)]
pub enum Rotation {
    Rest,
    /// Trusted beside the present one; signs nothing yet.
    Adding(Arc<Authority>),
    /// Others are trusted until nobody needs them any more.
    Issuing(Leaving),
}

/// What is trusted beside the anchor that signs, until nobody needs it.
#[derive(Debug, Clone)]
pub struct Leaving {
    pub anchors: Vec<CertificateDer<'static>>,
    /// Signed before, and will again if the rotation is taken back. `None`: that has been done, or an older discovery has begun it.
    pub before: Option<Arc<Authority>>,
    /// It is the new anchors that leave.
    pub taken_back: bool,
}

impl Rotation {
    /// For logs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Adding(_) => "adding",
            Self::Issuing(_) => "issuing",
        }
    }
}

impl Trust {
    /// Every certificate that is to be trusted, the one that new certificates lead to first.
    pub fn anchors(&self) -> Vec<CertificateDer<'static>> {
        let others: &[CertificateDer<'static>] = match &self.rotation {
            Rotation::Rest => &[],
            Rotation::Adding(next) => next.anchors(),
            Rotation::Issuing(leaving) => &leaving.anchors,
        };
        let mut all = vec![self.issuer.certificate().clone()];
        for anchor in self.issuer.anchors().iter().chain(others) {
            if !all.contains(anchor) {
                all.push(anchor.clone());
            }
        }
        all
    }

    /// Writes the state that `change` makes of this one; `None`: somebody else was faster.
    pub(super) async fn replace(&self, store: &dyn Store, next: Self) -> Result<Option<Self>, StoreError> {
        let compares = vec![Compare::Modified(ROOT.to_owned(), self.revision)];
        let written = store.commit(compares, vec![Op::put(ROOT, next.encode())]).await?;
        Ok(written.map(|revision| Self { revision, ..next }))
    }

    fn encode(&self) -> Vec<u8> {
        let pair = |authority: &Authority| {
            let (certificate, key) = authority.to_pem();
            // A root by itself is its own and only anchor.
            let plain = authority.anchors() == [authority.certificate().clone()];
            Pair { certificate, key, anchors: if plain { String::new() } else { to_pem(authority.anchors()) } }
        };
        let Pair { certificate, key, anchors } = pair(&self.issuer);
        let trust_domain = self.trust_domain.clone();
        let (adding, leaving, before, taken_back) = (None, String::new(), None, false);
        let mut stored = Stored { trust_domain, certificate, key, anchors, adding, leaving, before, taken_back };
        match &self.rotation {
            Rotation::Rest => {}
            Rotation::Adding(next) => stored.adding = Some(pair(next)),
            Rotation::Issuing(leaving) => {
                stored.leaving = to_pem(&leaving.anchors);
                stored.before = leaving.before.as_deref().map(pair);
                stored.taken_back = leaving.taken_back;
            }
        }
        serde_json::to_vec(&stored).expect("texts always have a JSON form")
    }
}

/// What all replicas on this store agree on: the authority in the directory, if there is one, as long as the store has none.
pub async fn agree(store: &dyn Store, trust_domain: &str, directory: Option<&Path>) -> Result<Trust, AuthorityError> {
    let brought = directory.map(|directory| bring(directory, trust_domain)).transpose()?;
    if let Some(entry) = store.get(ROOT).await? {
        return same(read(&entry, trust_domain)?, brought.as_ref());
    }
    let is_brought = brought.is_some();
    if let (Some(brought), Some(directory)) = (&brought, directory) {
        // Later ones may have expired: then they are what a rotation replaces.
        brought.usable(SystemTime::now()).map_err(|error| refused(directory, error))?;
    }
    let issuer = Arc::new(brought.map_or_else(|| Authority::generate(trust_domain), Ok)?);
    let first = Trust { issuer, rotation: Rotation::Rest, trust_domain: trust_domain.to_owned(), revision: 0 };
    let made = store.commit(vec![Compare::Absent(ROOT.to_owned())], vec![Op::put(ROOT, first.encode())]).await?;
    if let Some(revision) = made {
        tracing::info!(trust_domain, is_brought, "the mesh has its root of trust");
        return Ok(Trust { revision, ..first });
    }
    match store.get(ROOT).await? {
        Some(entry) => same(read(&entry, trust_domain)?, is_brought.then_some(&*first.issuer)),
        None => Err(damaged("another replica made it and took it away again")),
    }
}

/// `tls.crt` and `tls.key` of the directory, as Kubernetes mounts a Secret of type `kubernetes.io/tls`; and `ca.crt`, if it is there.
fn bring(directory: &Path, trust_domain: &str) -> Result<Authority, AuthorityError> {
    let text = |name: &str| {
        let path = directory.join(name);
        std::fs::read_to_string(&path).map_err(|error| AuthorityError::Brought(format!("{}: {error}", path.display())))
    };
    let bundle = if directory.join("ca.crt").exists() { Some(text("ca.crt")?) } else { None };
    let authority = Authority::from_pem(&text("tls.crt")?, &text("tls.key")?, bundle.as_deref());
    let authority = authority.map_err(|error| refused(directory, error))?;
    serves(&authority, trust_domain)
        .map_err(|reason| AuthorityError::Brought(format!("{} {reason}", directory.display())))?;
    Ok(authority)
}

/// Whether `authority` is for this trust domain, or for any.
pub(super) fn serves(authority: &Authority, trust_domain: &str) -> Result<(), String> {
    match authority.trust_domain() {
        Some(named) if named != trust_domain => Err(format!("is for the trust domain {named}, not {trust_domain}")),
        _ => Ok(()),
    }
}

fn refused(directory: &Path, error: CertificateError) -> AuthorityError {
    AuthorityError::Brought(format!("{}: {error}", directory.display()))
}

/// One that the mesh trusts is let pass: a rotation has begun or ended since it was put there. The store decides who signs.
fn same(trust: Trust, brought: Option<&Authority>) -> Result<Trust, AuthorityError> {
    match brought {
        Some(brought) if !trust.anchors().contains(brought.certificate()) => Err(AuthorityError::Another),
        _ => Ok(trust),
    }
}

/// What the record says.
pub fn read(entry: &Entry, trust_domain: &str) -> Result<Trust, AuthorityError> {
    let stored: Stored = serde_json::from_slice(&entry.value).map_err(damaged)?;
    if stored.trust_domain != trust_domain {
        let configured = trust_domain.to_owned();
        return Err(AuthorityError::TrustDomain { stored: stored.trust_domain, configured });
    }
    let authority = |certificate: &str, key: &str, anchors: &str| {
        let bundle = (!anchors.is_empty()).then_some(anchors);
        Authority::from_pem(certificate, key, bundle).map(Arc::new).map_err(damaged)
    };
    let pair = |pair: &Pair| authority(&pair.certificate, &pair.key, &pair.anchors);
    let issuer = authority(&stored.certificate, &stored.key, &stored.anchors)?;
    let rotation = match (&stored.adding, stored.leaving.as_str()) {
        (Some(next), _) => Rotation::Adding(pair(next)?),
        (None, "") => Rotation::Rest,
        (None, leaving) => Rotation::Issuing(Leaving {
            anchors: from_pem(leaving).map_err(damaged)?,
            before: stored.before.as_ref().map(pair).transpose()?,
            taken_back: stored.taken_back,
        }),
    };
    Ok(Trust { issuer, rotation, trust_domain: stored.trust_domain, revision: entry.modified })
}

fn damaged(reason: impl std::fmt::Display) -> AuthorityError {
    AuthorityError::Damaged { key: ROOT, reason: reason.to_string() }
}
