//! Certificates as text and back, and what is read from one without trusting it.
//!
//! Used where certificates rest on disk or are shown. Text without a certificate is an error, never an empty list.

use super::fault::{CertificateError, malformed};
use crate::spiffe;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// From when to when a certificate is valid.
pub fn validity(certificate: &CertificateDer<'_>) -> Result<(SystemTime, SystemTime), CertificateError> {
    let parsed = spiffe::parse(certificate).map_err(|reason| malformed("certificate", reason))?;
    let time = |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let (from, to) = (time(parsed.validity().not_before.timestamp()), time(parsed.validity().not_after.timestamp()));
    if from <= to { Ok((from, to)) } else { Err(malformed("certificate", "it ends before it begins")) }
}

/// SHA-256 over the certificate, lower-case hexadecimal: what anchors are told apart by.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    Sha256::digest(certificate).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A certificate's serial number, lower-case hexadecimal.
pub fn serial(certificate: &CertificateDer<'_>) -> Option<String> {
    Some(spiffe::parse(certificate).ok()?.raw_serial_as_string().replace(':', ""))
}

/// Whom a certificate names, for people; empty when it names nobody or cannot be read.
pub fn subject(certificate: &CertificateDer<'_>) -> String {
    spiffe::parse(certificate).map(|parsed| parsed.subject().to_string()).unwrap_or_default()
}

/// Certificates as PEM, in the order given.
pub fn to_pem(certificates: &[CertificateDer<'_>]) -> String {
    let block = |der: &CertificateDer<'_>| pem::Pem::new("CERTIFICATE", der.to_vec());
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_many_config(&certificates.iter().map(block).collect::<Vec<_>>(), config)
}

/// Every certificate in `pem`, at least one.
pub fn from_pem(pem: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let all = all.map_err(|error| malformed("PEM", error))?;
    if all.is_empty() { Err(malformed("PEM", "it holds no certificate")) } else { Ok(all) }
}
