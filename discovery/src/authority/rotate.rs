//! The steps that replace the root of trust: trust the new one, sign under it, trust the old one no more; and the way back from there.
//!
//! Each is one guarded write of the trust record, so that it is done once or not at all, whoever asks and however often. A step that would
//! make a certificate worthless which somebody may still use is refused, naming it: nobody can force it.

use super::ledger::Ledger;
use super::sign::Authority;
use super::trust::{Leaving, Rotation, Trust, serves};
use crate::store::StoreError;
use rustls::pki_types::CertificateDer;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use weft_identity::certificate::{self, CertificateError, fingerprint, to_pem};

/// As many are named in one refusal.
const NAMED: usize = 5;

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    #[error("{0}")]
    Stage(&'static str),
    #[error("the new authority: {0}")]
    Malformed(#[from] CertificateError),
    #[error("the new authority {0}")]
    TrustDomain(String),
    #[error("the new authority leads to the anchor that signs already; there is nothing to replace")]
    Same,
    #[error("the new anchor is not trusted everywhere yet; waiting for {}", names(.0))]
    NotEverywhere(Vec<Ledger>),
    #[error("the old anchor cannot be removed: certificates in use need it, those of {}", names(.0))]
    Needed(Vec<Ledger>),
    #[error("{0} has no certificate that somebody would have to wait for")]
    Unknown(String),
    #[error("{0} is connected: it is not gone")]
    Connected(String),
    #[error("somebody else took a step at the same time: look again")]
    Contended,
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn names(waiting: &[Ledger]) -> String {
    let name = |ledger: &Ledger| {
        let end = UNIX_EPOCH + Duration::from_secs(u64::try_from(ledger.not_after).unwrap_or(0));
        let until = humantime::format_rfc3339_seconds(end);
        format!("{}/{} (until {until})", ledger.identity.namespace, ledger.proxy)
    };
    let mut named: Vec<_> = waiting.iter().take(NAMED).map(name).collect();
    if waiting.len() > NAMED {
        named.push(format!("and {} more", waiting.len() - NAMED));
    }
    named.join(", ")
}

/// Of those in use: whom the next step of this rotation has to wait for.
pub fn waiting(trust: &Trust, in_use: Vec<Ledger>) -> Vec<Ledger> {
    let prints = |anchors: &[CertificateDer<'static>]| anchors.iter().map(fingerprint).collect::<Vec<_>>();
    match &trust.rotation {
        Rotation::Rest => Vec::new(),
        Rotation::Adding(next) => {
            let wanted = prints(next.anchors());
            let knows = |ledger: &Ledger| {
                ledger.trusts.as_ref().is_some_and(|trusts| wanted.iter().all(|anchor| trusts.contains(anchor)))
            };
            in_use.into_iter().filter(|ledger| !knows(ledger)).collect()
        }
        Rotation::Issuing(leaving) => {
            let leaving = prints(&leaving.anchors);
            let needs = |ledger: &Ledger| ledger.anchor.is_empty() || leaving.contains(&ledger.anchor);
            in_use.into_iter().filter(needs).collect()
        }
    }
}

/// `present` signs in the place of `old`, whose anchors leave as far as they are not those of `present` as well.
fn leaving(old: &Arc<certificate::Authority>, present: &certificate::Authority, taken_back: bool) -> Rotation {
    let anchors = old.anchors().iter().filter(|anchor| !present.anchors().contains(anchor));
    let anchors: Vec<_> = anchors.cloned().collect();
    let before = (!taken_back).then(|| old.clone());
    if anchors.is_empty() { Rotation::Rest } else { Rotation::Issuing(Leaving { anchors, before, taken_back }) }
}

impl Authority {
    /// The authority is trusted beside the present one from here on.
    pub async fn add(&self, certificates: &str, key: &str, anchors: Option<&str>) -> Result<(), RotateError> {
        let trust = self.trust();
        if !matches!(trust.rotation, Rotation::Rest) {
            return Err(RotateError::Stage("a rotation is under way already: finish it first"));
        }
        let mut next = certificate::Authority::from_pem(certificates, key, anchors)?;
        let present = &trust.issuer;
        let others = present.anchors().iter().filter(|anchor| *anchor != present.certificate());
        let bundle: Vec<_> = next.anchors().iter().chain(others).cloned().collect();
        if anchors.is_none() && bundle.len() > next.anchors().len() {
            // Nobody said what else is to be trusted: what is now.
            next = certificate::Authority::from_pem(certificates, key, Some(&to_pem(&bundle)))?;
        }
        next.usable(SystemTime::now())?;
        serves(&next, self.trust_domain()).map_err(RotateError::TrustDomain)?;
        if next.certificate() == present.certificate() {
            return Err(RotateError::Same);
        }
        let adding = Trust { rotation: Rotation::Adding(Arc::new(next)), ..Trust::clone(&trust) };
        self.put(&trust, adding).await
    }

    /// New certificates lead to the new anchor from here on.
    pub async fn issue_anew(&self) -> Result<(), RotateError> {
        let trust = self.trust();
        let Rotation::Adding(next) = &trust.rotation else {
            return Err(RotateError::Stage("no new anchor has been added, or it signs already"));
        };
        let waiting = waiting(&trust, self.in_use().await?);
        if !waiting.is_empty() {
            return Err(RotateError::NotEverywhere(waiting));
        }
        let rotation = leaving(&trust.issuer, next, false);
        let issuing = Trust { issuer: next.clone(), rotation, ..Trust::clone(&trust) };
        self.put(&trust, issuing).await
    }

    /// Takes the rotation back. What nothing was signed under is trusted no more at once; otherwise what signed before, which everybody
    /// still trusts, signs again, and the new anchors leave as the old ones would have. Asked for again, it changes nothing.
    pub async fn take_back(&self) -> Result<(), RotateError> {
        let trust = self.trust();
        let (issuer, rotation) = match &trust.rotation {
            Rotation::Rest => {
                return Err(RotateError::Stage("no rotation is under way: there is nothing to take back"));
            }
            Rotation::Adding(_) => (trust.issuer.clone(), Rotation::Rest),
            Rotation::Issuing(Leaving { taken_back: true, .. }) => return Ok(()),
            Rotation::Issuing(Leaving { before: Some(before), .. }) => {
                before.usable(SystemTime::now())?;
                (before.clone(), leaving(&trust.issuer, before, true))
            }
            Rotation::Issuing(_) => {
                let reason = "an older discovery has begun this rotation, and the key that signed before was not kept: finish it";
                return Err(RotateError::Stage(reason));
            }
        };
        self.put(&trust, Trust { issuer, rotation, ..Trust::clone(&trust) }).await
    }

    /// The old anchors are trusted no more from here on.
    pub async fn remove_old(&self) -> Result<(), RotateError> {
        let trust = self.trust();
        if !matches!(trust.rotation, Rotation::Issuing(_)) {
            return Err(RotateError::Stage("no rotation is that far: there is no old anchor to remove"));
        }
        let waiting = waiting(&trust, self.in_use().await?);
        if !waiting.is_empty() {
            return Err(RotateError::Needed(waiting));
        }
        self.put(&trust, Trust { rotation: Rotation::Rest, ..Trust::clone(&trust) }).await
    }

    /// Nobody waits any more for the proxy of this name, which is gone for good. Its certificates stay what they are; it is waited for
    /// again as soon as it says that it uses one.
    pub async fn forget(&self, namespace: &str, proxy: &str) -> Result<(), RotateError> {
        let mut known = self.in_use().await?;
        known.retain(|ledger| ledger.owner() == (namespace, proxy));
        if known.is_empty() {
            return Err(RotateError::Unknown(format!("{namespace}/{proxy}")));
        }
        for ledger in known {
            let Some((entry, ledger)) = self.record_of(&ledger.serial).await? else { continue };
            if !self.amend(entry, &Ledger { forgotten: true, ..ledger }).await? {
                return Err(RotateError::Contended);
            }
        }
        tracing::warn!(namespace, proxy, "forgotten: no rotation waits for it");
        Ok(())
    }

    async fn put(&self, present: &Trust, next: Trust) -> Result<(), RotateError> {
        match present.replace(self.store(), next).await? {
            Some(written) => {
                self.take(written);
                Ok(())
            }
            None => Err(RotateError::Contended),
        }
    }
}
