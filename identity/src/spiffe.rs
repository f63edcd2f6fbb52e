//! Which SPIFFE ID a certificate carries (SPIFFE X509-SVID, sections 2 and 4).
//!
//! Read after every handshake and by both verifiers. Fails when the certificate has no URI name, several, or one of
//! another shape; an ID that is returned is always the certificate's only URI.

use rustls_pki_types::CertificateDer;
use weft_model::SpiffeId;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// Why a certificate stands for no workload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeError {
    #[error("the certificate is malformed: {0}")]
    Malformed(String),
    #[error("the certificate carries {0} URI names instead of exactly one")]
    Uris(usize),
    #[error("the certificate's URI name: {0}")]
    Shape(String),
}

/// The SPIFFE ID in a leaf certificate.
pub fn id_of(certificate: &CertificateDer<'_>) -> Result<SpiffeId, SpiffeError> {
    let parsed = parse(certificate).map_err(SpiffeError::Malformed)?;
    let uris = uris(&parsed).map_err(SpiffeError::Malformed)?;
    match uris[..] {
        [uri] => uri.parse().map_err(SpiffeError::Shape),
        _ => Err(SpiffeError::Uris(uris.len())),
    }
}

/// Parses the whole of `certificate`; trailing bytes are an error.
pub(crate) fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    match X509Certificate::from_der(certificate) {
        Ok(([], parsed)) => Ok(parsed),
        Ok((rest, _)) => Err(format!("{} bytes follow its end", rest.len())),
        Err(error) => Err(error.to_string()),
    }
}

/// Every URI among the subject's alternative names.
pub(crate) fn uris<'a>(certificate: &'a X509Certificate<'_>) -> Result<Vec<&'a str>, String> {
    let names = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let uri = |name: &GeneralName<'a>| if let GeneralName::URI(uri) = name { Some(*uri) } else { None };
    Ok(names.iter().filter_map(uri).collect())
}
