//! Whether what an operator brings can sign for the mesh: the way from the certificate that signs up to a trust anchor.
//!
//! Decided once, before the authority's key is used. Each refusal names the certificate and what is wrong with it, because the
//! verifier's own words ("unknown issuer") help nobody. A [`Path`] that exists ends in one of its anchors.

use super::credentials::verify_chain;
use super::encoding::{fingerprint, validity};
use super::fault::{CertificateError, malformed};
use super::roots;
use crate::spiffe;
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;
use std::time::SystemTime;
use x509_parser::certificate::X509Certificate;

/// Authorities between a workload and its anchor; longer ways are somebody's mistake, and every handshake would carry them.
const LONGEST: usize = 4;

/// The way from the certificate that signs to the anchor.
#[derive(Debug)]
pub(super) struct Path {
    /// The one that signs first, without the anchor; empty when the anchor signs itself.
    pub below: Vec<CertificateDer<'static>>,
    pub anchor: CertificateDer<'static>,
    /// All that are to be trusted, `anchor` among them.
    pub anchors: Vec<CertificateDer<'static>>,
    pub trust_domain: Option<String>,
    /// When all of the way is valid.
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

impl Path {
    pub fn signing(&self) -> &CertificateDer<'static> {
        self.below.first().unwrap_or(&self.anchor)
    }

    /// Whether a peer that knows nothing but the anchor accepts `leaf`.
    pub fn verify(&self, leaf: &CertificateDer<'static>, now: SystemTime) -> Result<(), CertificateError> {
        let chain: Vec<_> = std::iter::once(leaf).chain(&self.below).cloned().collect();
        let anchor = roots(std::slice::from_ref(&self.anchor))?;
        let (subject, anchor_name) = (name(self.signing())?, name(&self.anchor)?);
        verify_chain(&chain, &anchor, now).map_err(|reason| CertificateError::Unproven { subject, anchor_name, reason })
    }

    /// Whether each certificate of the way is valid now.
    pub fn current(&self, now: SystemTime) -> Result<(), CertificateError> {
        for certificate in self.below.iter().chain([&self.anchor]) {
            let (from, to) = validity(certificate)?;
            if now < from {
                return Err(CertificateError::NotYet { subject: name(certificate)?, from: date(certificate, true)? });
            }
            if now >= to {
                return Err(CertificateError::Expired { subject: name(certificate)?, to: date(certificate, false)? });
            }
        }
        Ok(())
    }
}

/// The way that `certificates` describe, which come in order; `bundle` has the anchors, if not the last of them is the one.
pub(super) fn path(
    certificates: Vec<CertificateDer<'static>>,
    bundle: Option<Vec<CertificateDer<'static>>>,
) -> Result<Path, CertificateError> {
    let last = certificates.last().ok_or(CertificateError::NoChain)?.clone();
    may_sign(&certificates[0], 0)?;
    let parsed_last = parse(&last)?;
    let signed_itself = parsed_last.subject().as_raw() == parsed_last.issuer().as_raw();
    let anchors = match bundle {
        Some(bundle) => bundle,
        None if signed_itself => vec![last.clone()],
        None => return Err(unanchored(&last)?),
    };
    let mut below: Vec<_> = certificates.into_iter().collect();
    // What stands behind an anchor is not looked at by any peer.
    let stop = below.iter().position(|certificate| anchors.contains(certificate));
    let anchor = match stop {
        Some(stop) => below.drain(stop..).next(),
        None => None,
    };
    if below.len() > LONGEST {
        let found = format!("{} authorities below the anchor, {LONGEST} at most", below.len());
        return Err(malformed("authority certificate", found));
    }
    for pair in below.windows(2) {
        follows(&pair[0], &pair[1])?;
    }
    let anchor = match (anchor, below.last()) {
        (Some(anchor), _) => anchor,
        (None, Some(top)) => above(top, &anchors)?,
        (None, None) => return Err(CertificateError::NoChain),
    };
    if let Some(top) = below.last() {
        follows(top, &anchor)?;
    }
    let (mut not_before, mut not_after) = validity(&anchor)?;
    let mut trust_domain = None;
    for (depth, certificate) in below.iter().chain([&anchor]).enumerate() {
        may_sign(certificate, depth)?;
        let (from, to) = validity(certificate)?;
        (not_before, not_after) = (not_before.max(from), not_after.min(to));
        let named = domain(certificate)?;
        match (&trust_domain, named) {
            (Some(one), Some(other)) if *one != other => {
                let reason = format!("one is for the trust domain {one}, another for {other}");
                return Err(malformed("authority certificate", reason));
            }
            (None, Some(named)) => trust_domain = Some(named),
            _ => {}
        }
    }
    if not_before >= not_after {
        return Err(malformed("authority certificate", "there is no time at which all of the chain is valid"));
    }
    Ok(Path { below, anchor, anchors, trust_domain, not_before, not_after })
}

/// The anchor that signed `top`; of several of one name, the one whose key identifier fits or the first.
fn above(
    top: &CertificateDer<'_>,
    anchors: &[CertificateDer<'static>],
) -> Result<CertificateDer<'static>, CertificateError> {
    let issuer = parse(top)?.issuer().as_raw().to_vec();
    let mut of_that_name = Vec::new();
    for anchor in anchors {
        if parse(anchor)?.subject().as_raw() == issuer {
            of_that_name.push(anchor);
        }
    }
    let wanted = key_identifier(&parse(top)?, true);
    let mut exact = Vec::new();
    for anchor in &of_that_name {
        if wanted.is_some() && key_identifier(&parse(anchor)?, false) == wanted {
            exact.push(*anchor);
        }
    }
    match exact.first().or(of_that_name.first()) {
        Some(anchor) => Ok((*anchor).clone()),
        None => Err(unanchored(top)?),
    }
}

/// Of the certificate's own key, or of the key that signed it.
fn key_identifier(certificate: &X509Certificate<'_>, of_issuer: bool) -> Option<Vec<u8>> {
    use x509_parser::extensions::ParsedExtension;
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(found) if of_issuer => {
            found.key_identifier.as_ref().map(|identifier| identifier.0.to_vec())
        }
        ParsedExtension::SubjectKeyIdentifier(identifier) if !of_issuer => Some(identifier.0.to_vec()),
        _ => None,
    })
}

fn unanchored(certificate: &CertificateDer<'_>) -> Result<CertificateError, CertificateError> {
    let issuer = parse(certificate)?.issuer().to_string();
    Ok(CertificateError::Unanchored { subject: name(certificate)?, issuer })
}

fn follows(lower: &CertificateDer<'_>, upper: &CertificateDer<'_>) -> Result<(), CertificateError> {
    let (below, next) = (parse(lower)?, parse(upper)?);
    if below.issuer().as_raw() == next.subject().as_raw() {
        return Ok(());
    }
    let (subject, issuer) = (name(lower)?, below.issuer().to_string());
    Err(CertificateError::Order { subject, issuer, next: name(upper)? })
}

/// Whether it is an authority's, and may have `depth` other authorities below it (RFC 5280, 4.2.1.3 and 4.2.1.9).
fn may_sign(certificate: &CertificateDer<'_>, depth: usize) -> Result<(), CertificateError> {
    let subject = name(certificate)?;
    let parsed = parse(certificate)?;
    let unreadable = |error: x509_parser::error::X509Error| malformed("authority certificate", error);
    let constraints = parsed.basic_constraints().map_err(unreadable)?.map(|found| found.value.clone());
    let Some(constraints) = constraints.filter(|found| found.ca) else {
        return Err(CertificateError::NotAnAuthority { subject });
    };
    let usage = parsed.key_usage().map_err(unreadable)?;
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(CertificateError::Usage { subject });
    }
    match constraints.path_len_constraint {
        Some(allowed) if (allowed as usize) < depth => Err(CertificateError::PathLength { subject, allowed, depth }),
        _ => Ok(()),
    }
}

/// Whether `key` is that of `certificate`.
pub(super) fn fits(certificate: &CertificateDer<'_>, key: &KeyPair) -> Result<(), CertificateError> {
    match *parse(certificate)?.public_key().subject_public_key.data == *key.der_bytes() {
        true => Ok(()),
        false => Err(malformed("authority key", format!("it does not belong to {}", name(certificate)?))),
    }
}

fn domain(certificate: &CertificateDer<'_>) -> Result<Option<String>, CertificateError> {
    let parsed = parse(certificate)?;
    let uris = spiffe::uris(&parsed).map_err(|reason| malformed("authority certificate", reason))?;
    Ok(uris.iter().find_map(|uri| uri.strip_prefix("spiffe://")).map(|rest| rest.trim_end_matches('/').to_owned()))
}

/// What people call it: its subject, or its fingerprint where it has none.
fn name(certificate: &CertificateDer<'_>) -> Result<String, CertificateError> {
    let subject = parse(certificate)?.subject().to_string();
    Ok(if subject.is_empty() { fingerprint(certificate) } else { subject })
}

fn date(certificate: &CertificateDer<'_>, begin: bool) -> Result<String, CertificateError> {
    let parsed = parse(certificate)?;
    let validity = parsed.validity();
    Ok(if begin { validity.not_before } else { validity.not_after }.to_string())
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, CertificateError> {
    spiffe::parse(certificate).map_err(|reason| malformed("authority certificate", reason))
}
