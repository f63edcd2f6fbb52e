//! The certificate authority: one root key that signs workload certificates.
//!
//! Runs in discovery only. Takes from a signing request nothing but its proven public key; name, usage and lifetime are
//! the caller's decision. A certificate it signs never outlives the root and never leaves the root's trust domain.

use super::encoding::{from_pem, to_pem, validity};
use super::fault::{CertificateError, malformed};
use super::key::new_key_pair;
use crate::provider::random;
use crate::spiffe;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use weft_model::SpiffeId;
use weft_model::names::subdomain;

/// How long a generated root lives.
const ROOT_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Certificates begin this long before they are signed, for peers whose clocks are late.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);
/// An uncompressed point on P-256 (SEC 1, section 2.3.3).
const P256_POINT: usize = 65;

/// A signed workload certificate and what a ledger of them records.
#[derive(Debug, Clone)]
pub struct Signed {
    pub leaf: CertificateDer<'static>,
    /// Lower-case hexadecimal, as `openssl x509 -serial` prints it but for the case.
    pub serial: String,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

/// The holder of a root key.
pub struct Authority {
    /// Known when the root names it as `spiffe://<trust-domain>`, as generated ones do.
    trust_domain: Option<String>,
    certificate: CertificateDer<'static>,
    not_after: SystemTime,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new self-signed root for `trust_domain`, valid for ten years, that may sign leaves only (path length 0).
    pub fn generate(trust_domain: &str) -> Result<Self, CertificateError> {
        let trust_domain = subdomain(trust_domain).map_err(|error| malformed("trust domain", error))?;
        let now = SystemTime::now();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Weft");
        params.distinguished_name.push(DnType::CommonName, format!("root.{trust_domain}"));
        params.subject_alt_names = vec![uri(&format!("spiffe://{trust_domain}"))?];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(random_serial());
        params.not_before = (now - CLOCK_SKEW).into();
        params.not_after = (now + ROOT_LIFETIME).into();
        let key = new_key_pair();
        let certificate = params.self_signed(&key).map_err(CertificateError::Signing)?.der().clone();
        Self::new(certificate, key)
    }

    /// A root from elsewhere: exactly one certificate, which must be an authority's, and its key.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, CertificateError> {
        let mut certificates = from_pem(certificate)?;
        if certificates.len() != 1 {
            return Err(malformed(
                "authority certificate",
                format!("{} certificates instead of one", certificates.len()),
            ));
        }
        let key = KeyPair::from_pem(key).map_err(|error| malformed("authority key", error))?;
        Self::new(certificates.remove(0), key)
    }

    fn new(certificate: CertificateDer<'static>, key: KeyPair) -> Result<Self, CertificateError> {
        let parsed = spiffe::parse(&certificate).map_err(|reason| malformed("authority certificate", reason))?;
        if !parsed.is_ca() {
            return Err(CertificateError::NotAnAuthority);
        }
        if *parsed.public_key().subject_public_key.data != *key.der_bytes() {
            return Err(malformed("authority key", "it does not belong to the authority's certificate"));
        }
        let uris = spiffe::uris(&parsed).map_err(|reason| malformed("authority certificate", reason))?;
        let trust_domain = uris.iter().find_map(|uri| uri.strip_prefix("spiffe://")).map(str::to_owned);
        drop(parsed);
        let (_, not_after) = validity(&certificate)?;
        let issuer =
            Issuer::from_ca_cert_der(&certificate, key).map_err(|error| malformed("authority certificate", error))?;
        Ok(Self { trust_domain, certificate, not_after, issuer })
    }

    /// The root as (certificate, PKCS #8 key), both PEM. The key is the mesh's greatest secret.
    pub fn to_pem(&self) -> (String, String) {
        (to_pem(std::slice::from_ref(&self.certificate)), self.issuer.key().serialize_pem())
    }

    /// The root, as a trust anchor.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The trust domain the root is for, when it says so.
    pub fn trust_domain(&self) -> Option<&str> {
        self.trust_domain.as_deref()
    }

    /// When the root itself expires.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// A certificate for `id` and the key in the request (DER, PKCS #10), from a little before `now` for `lifetime`, at
    /// most until the root expires. The request's own signature must hold; the names in it are ignored.
    pub fn sign(
        &self,
        csr: &[u8],
        id: &SpiffeId,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<Signed, CertificateError> {
        if let Some(trust_domain) = self.trust_domain.as_ref().filter(|domain| **domain != id.trust_domain) {
            return Err(CertificateError::TrustDomain { id: Box::new(id.clone()), trust_domain: trust_domain.clone() });
        }
        if now >= self.not_after {
            return Err(CertificateError::AuthorityExpired);
        }
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr))
            .map_err(|error| malformed("signing request", error))?;
        let key = request.public_key;
        if key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 || key.der_bytes().len() != P256_POINT {
            return Err(CertificateError::KeyKind);
        }
        let not_before = whole_seconds(now - CLOCK_SKEW);
        let not_after = whole_seconds((now + lifetime).min(self.not_after));
        let serial = random_serial();
        let mut params = CertificateParams::default();
        // No subject: the name is the URI, and the extension that carries it is thereby critical (RFC 5280, 4.2.1.6).
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![uri(&id.to_string())?];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial.clone());
        params.not_before = not_before.into();
        params.not_after = not_after.into();
        let leaf = params.signed_by(&key, &self.issuer).map_err(CertificateError::Signing)?.der().clone();
        Ok(Signed { leaf, serial: hex(&serial.to_bytes()), not_before, not_after })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}

fn uri(text: &str) -> Result<SanType, CertificateError> {
    Ok(SanType::URI(Ia5String::try_from(text).map_err(|error| malformed("SPIFFE ID", error))?))
}

/// 128 bits of which the first two are fixed: positive and without leading zeros (RFC 5280, 4.1.2.2).
fn random_serial() -> SerialNumber {
    let mut bytes = [0u8; 16];
    random(&mut bytes);
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Certificates carry no fractions of a second.
fn whole_seconds(time: SystemTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}
