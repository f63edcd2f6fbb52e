//! The certificate authority: the key of a root, or of an authority below one, that signs workload certificates.
//!
//! Runs in discovery only. Takes from a signing request nothing but its proven public key; name, usage and lifetime are
//! the caller's decision. A certificate it signs never outlives what it rests on and never leaves the trust domain.

use super::encoding::to_pem;
use super::fault::{CertificateError, malformed};
use super::issuer::{self, Path};
use super::key::new_key_pair;
use crate::provider::random;
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

/// The holder of a key that signs for a trust domain.
pub struct Authority {
    path: Path,
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
        Self::new(issuer::path(vec![certificate], None)?, key)
    }

    /// An authority from elsewhere. `certificates`: the one that signs comes first, behind each one the one that signed it; `bundle`: the
    /// trust anchors, which may be left out when `certificates` ends in one that signed itself. What is brought has to be in order in
    /// every respect but its time: see [`Authority::usable`].
    pub fn from_pem(certificates: &str, key: &str, bundle: Option<&str>) -> Result<Self, CertificateError> {
        let certificates = super::from_pem(certificates)?;
        let bundle = bundle.map(super::from_pem).transpose()?;
        let key = KeyPair::from_pem(key).map_err(|error| malformed("authority key", error))?;
        let path = issuer::path(certificates, bundle)?;
        issuer::fits(path.signing(), &key)?;
        let made = Self::new(path, key)?;
        made.proven()?;
        Ok(made)
    }

    fn new(path: Path, key: KeyPair) -> Result<Self, CertificateError> {
        let issuer = Issuer::from_ca_cert_der(path.signing(), key);
        Ok(Self { issuer: issuer.map_err(|error| malformed("authority certificate", error))?, path })
    }

    /// Signs a certificate for nobody and verifies it as every proxy will.
    fn proven(&self) -> Result<(), CertificateError> {
        let domain = self.trust_domain().unwrap_or("weft.local");
        let id = SpiffeId::new(domain, "weft", "probe").map_err(|error| malformed("trust domain", error))?;
        let (from, to) = (self.path.not_before, self.path.not_after);
        let now = (from + CLOCK_SKEW + Duration::from_secs(1)).min(to - Duration::from_secs(1));
        let signed = self.sign(&super::Key::generate().csr(), &id, now, Duration::from_secs(60))?;
        self.path.verify(&signed.leaf, now)
    }

    /// Whether certificates can be signed now.
    pub fn usable(&self, now: SystemTime) -> Result<(), CertificateError> {
        self.path.current(now)
    }

    /// As (certificates, PKCS #8 key), both PEM: the one that signs first, the anchor last. The key is the mesh's greatest secret.
    pub fn to_pem(&self) -> (String, String) {
        let mut all = self.path.below.clone();
        all.push(self.path.anchor.clone());
        (to_pem(&all), self.issuer.key().serialize_pem())
    }

    /// The trust anchor that its certificates lead to: the root itself, or the one above the authority.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.path.anchor
    }

    /// All anchors that were brought with it, its own among them.
    pub fn anchors(&self) -> &[CertificateDer<'static>] {
        &self.path.anchors
    }

    /// What stands between a workload's certificate and the anchor: the one that signs first; empty for a root.
    pub fn intermediates(&self) -> &[CertificateDer<'static>] {
        &self.path.below
    }

    /// The trust domain it is for, when a certificate says so as `spiffe://<trust-domain>`.
    pub fn trust_domain(&self) -> Option<&str> {
        self.path.trust_domain.as_deref()
    }

    /// When the first of its certificates expires.
    pub fn not_after(&self) -> SystemTime {
        self.path.not_after
    }

    /// A certificate for `id` and the key in the request (DER, PKCS #10), from a little before `now` for `lifetime`, at
    /// most until the authority expires. The request's own signature must hold; the names in it are ignored.
    pub fn sign(
        &self,
        csr: &[u8],
        id: &SpiffeId,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<Signed, CertificateError> {
        if let Some(trust_domain) = self.trust_domain().filter(|domain| *domain != id.trust_domain) {
            let trust_domain = trust_domain.to_owned();
            return Err(CertificateError::TrustDomain { id: Box::new(id.clone()), trust_domain });
        }
        if now >= self.not_after() {
            return Err(CertificateError::AuthorityExpired);
        }
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr))
            .map_err(|error| malformed("signing request", error))?;
        let key = request.public_key;
        if key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 || key.der_bytes().len() != P256_POINT {
            return Err(CertificateError::KeyKind);
        }
        let not_before = whole_seconds(now - CLOCK_SKEW);
        let not_after = whole_seconds((now + lifetime).min(self.not_after()));
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
        f.debug_struct("Authority").field("trust_domain", &self.trust_domain()).finish_non_exhaustive()
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
