//! The webhook's own keys: authorities that sign, and the certificate that the API server is shown.
//!
//! Pure but for randomness; time is given. A new authority is told to the API server (by [`Keys::bundle`]) a while before
//! it signs, and an old one as long as it is valid, so that no certificate is ever shown that is not trusted yet. What
//! cannot be read is an error; the [keeper](super::keeper) then begins anew.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use weft_identity::certificate::{from_pem, to_pem, validity};

/// Certificates begin this long before they are made, for API servers whose clocks are late.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);
/// An authority lives this many times as long as a certificate.
const AUTHORITY_LIVES: u32 = 12;
/// The longest that a new authority waits before it signs.
const LONGEST_SETTLE: Duration = Duration::from_secs(10 * 60);

/// What the Secret calls its parts.
pub const BUNDLE: &str = "ca.crt";
pub const AUTHORITY_KEYS: &str = "ca.key";
pub const CERTIFICATE: &str = "tls.crt";
pub const KEY: &str = "tls.key";

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0}: {1}")]
    Malformed(&'static str, String),
    #[error("the certificate cannot be made: {0}")]
    Making(#[from] rcgen::Error),
}

/// A certificate and its key, both PEM, and when it is good.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pair {
    certificate: String,
    key: String,
    made: SystemTime,
    ends: SystemTime,
}

/// All keys at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The oldest first; never empty.
    authorities: Vec<Pair>,
    shown: Pair,
    /// Which authority signed what is shown.
    signer: usize,
}

/// What certificates are to be like.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// DNS names and addresses.
    pub names: Vec<String>,
    pub lifetime: Duration,
}

impl Wanted {
    /// How long a new authority is told before it signs.
    fn settle(&self) -> Duration {
        (self.lifetime / 10).min(LONGEST_SETTLE)
    }

    /// Keys where there were none.
    pub fn make(&self, now: SystemTime) -> Result<Keys, KeysError> {
        let authority = self.authority(now)?;
        let shown = self.certificate(&authority, now)?;
        Ok(Keys { authorities: vec![authority], shown, signer: 0 })
    }

    /// What `keys` should be by `now`; `None`: what they are.
    pub fn turn(&self, keys: &Keys, now: SystemTime) -> Result<Option<Keys>, KeysError> {
        let mut authorities = keys.authorities.clone();
        let newest = authorities.last().ok_or(KeysError::Missing(BUNDLE))?;
        if now >= half(newest) {
            authorities.push(self.authority(now)?);
        }
        // One that has ended helps nobody; what it signed has ended as well.
        authorities.retain(|authority| authority.ends > now);
        let settled = |authority: &Pair| authority.made + self.settle() <= now;
        let signer = authorities.iter().rposition(settled).unwrap_or(0);
        let signed_by = authorities.iter().position(|authority| *authority == keys.authorities[keys.signer]);
        let fresh = now < half(&keys.shown) && signed_by == Some(signer) && self.names_match(&keys.shown);
        let shown = if fresh { keys.shown.clone() } else { self.certificate(&authorities[signer], now)? };
        let turned = Keys { authorities, shown, signer };
        Ok((turned != *keys).then_some(turned))
    }

    fn names_match(&self, shown: &Pair) -> bool {
        let Ok(chain) = from_pem(&shown.certificate) else { return false };
        let Ok(parsed) = ParsedCertificate::try_from(&chain[0]) else { return false };
        let has = |name: &String| {
            ServerName::try_from(name.as_str()).is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
        };
        self.names.iter().all(has)
    }

    fn authority(&self, now: SystemTime) -> Result<Pair, KeysError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // Each has a name of its own, by which verifiers tell them apart.
        let made = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        params.distinguished_name.push(DnType::CommonName, format!("weft-injector authority {made}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = (now - CLOCK_SKEW).into();
        params.not_after = (now + self.lifetime * AUTHORITY_LIVES).into();
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Pair::read(to_pem(std::slice::from_ref(certificate.der())), key.serialize_pem())
    }

    fn certificate(&self, authority: &Pair, now: SystemTime) -> Result<Pair, KeysError> {
        let signing = KeyPair::from_pem(&authority.key)?;
        let issuer = Issuer::from_ca_cert_pem(&authority.certificate, signing)?;
        let mut params = CertificateParams::new(self.names.clone())?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "weft-injector");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = (now - CLOCK_SKEW).into();
        params.not_after = (now + self.lifetime).min(authority.ends).into();
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        Pair::read(to_pem(std::slice::from_ref(certificate.der())), key.serialize_pem())
    }
}

fn half(pair: &Pair) -> SystemTime {
    pair.made + pair.ends.duration_since(pair.made).unwrap_or_default() / 2
}

impl Pair {
    fn read(certificate: String, key: String) -> Result<Self, KeysError> {
        let malformed = |reason: String| KeysError::Malformed("certificate", reason);
        let parsed = from_pem(&certificate).map_err(|error| malformed(error.to_string()))?;
        let (from, ends) = validity(&parsed[0]).map_err(|error| malformed(error.to_string()))?;
        Ok(Self { certificate, key, made: from + CLOCK_SKEW, ends })
    }
}

impl Keys {
    /// Every authority that the API server is to trust, PEM.
    pub fn bundle(&self) -> String {
        self.authorities.iter().map(|authority| authority.certificate.as_str()).collect()
    }

    /// When what is shown ends.
    pub fn ends(&self) -> SystemTime {
        self.shown.ends
    }

    /// As the Secret holds it.
    pub fn to_data(&self) -> BTreeMap<&'static str, String> {
        let keys = self.authorities.iter().map(|authority| authority.key.as_str()).collect();
        BTreeMap::from([
            (BUNDLE, self.bundle()),
            (AUTHORITY_KEYS, keys),
            (CERTIFICATE, self.shown.certificate.clone()),
            (KEY, self.shown.key.clone()),
        ])
    }

    /// From what the Secret holds.
    pub fn from_data(part: impl Fn(&'static str) -> Option<String>) -> Result<Self, KeysError> {
        let part = |name| part(name).ok_or(KeysError::Missing(name));
        let malformed = |name| {
            move |error: weft_identity::certificate::CertificateError| KeysError::Malformed(name, error.to_string())
        };
        let certificates = from_pem(&part(BUNDLE)?).map_err(malformed(BUNDLE))?;
        let keys = pem::parse_many(part(AUTHORITY_KEYS)?)
            .map_err(|error| KeysError::Malformed(AUTHORITY_KEYS, error.to_string()))?;
        if certificates.len() != keys.len() {
            return Err(KeysError::Malformed(AUTHORITY_KEYS, "as many keys as certificates are needed".to_owned()));
        }
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        let both = certificates.iter().zip(&keys);
        let pair = |(certificate, key): (&CertificateDer<'_>, &pem::Pem)| {
            Pair::read(to_pem(std::slice::from_ref(certificate)), pem::encode_config(key, config))
        };
        let authorities = both.map(pair).collect::<Result<Vec<_>, _>>()?;
        let shown = Pair::read(part(CERTIFICATE)?, part(KEY)?)?;
        let signer = signer(&certificates, &shown)?;
        let keys = Self { authorities, shown, signer };
        keys.certified()?;
        Ok(keys)
    }

    /// For the TLS server.
    pub fn certified(&self) -> Result<CertifiedKey, KeysError> {
        let malformed = |reason: String| KeysError::Malformed(CERTIFICATE, reason);
        let chain = from_pem(&self.shown.certificate).map_err(|error| malformed(error.to_string()))?;
        let key =
            PrivateKeyDer::from_pem_slice(self.shown.key.as_bytes()).map_err(|error| malformed(error.to_string()))?;
        CertifiedKey::from_der(chain, key, weft_identity::provider()).map_err(|error| malformed(error.to_string()))
    }
}

/// Which of `authorities` signed what is shown.
fn signer(authorities: &[CertificateDer<'_>], shown: &Pair) -> Result<usize, KeysError> {
    let malformed = |reason: &str| KeysError::Malformed(CERTIFICATE, reason.to_owned());
    let chain = from_pem(&shown.certificate).map_err(|error| malformed(&error.to_string()))?;
    let time = UnixTime::since_unix_epoch(shown.made.duration_since(UNIX_EPOCH).unwrap_or_default());
    let verified = |authority: &CertificateDer<'_>| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.clone().into_owned()).is_ok()
            && ParsedCertificate::try_from(&chain[0]).is_ok_and(|leaf| {
                let algorithms = weft_identity::provider().signature_verification_algorithms.all;
                verify_server_cert_signed_by_trust_anchor(&leaf, &roots, &[], time, algorithms).is_ok()
            })
    };
    authorities.iter().position(verified).ok_or_else(|| malformed("no authority has signed it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn wanted() -> Wanted {
        Wanted { names: vec!["a.b.svc".to_owned(), "127.0.0.1".to_owned()], lifetime: 30 * DAY }
    }

    fn start() -> SystemTime {
        UNIX_EPOCH + 20_000 * DAY
    }

    fn read(keys: &Keys) -> Keys {
        let data = keys.to_data();
        Keys::from_data(|name| data.get(name).cloned()).unwrap()
    }

    #[test]
    fn a_secret_holds_all_of_it() {
        let keys = wanted().make(start()).unwrap();
        assert_eq!(read(&keys), keys);
        assert_eq!(wanted().turn(&keys, start()).unwrap(), None);
        assert!(wanted().turn(&keys, start() + 14 * DAY).unwrap().is_none());
    }

    #[test]
    fn damaged_secrets_are_errors() {
        let whole = wanted().make(start()).unwrap().to_data();
        let other = wanted().make(start()).unwrap().to_data();
        for name in [BUNDLE, AUTHORITY_KEYS, CERTIFICATE, KEY] {
            for damage in [None, Some(String::new()), Some("nonsense".to_owned()), Some(other[name].clone())] {
                let part = |asked| if asked == name { damage.clone() } else { whole.get(asked).cloned() };
                let read = Keys::from_data(part);
                // Another authority's key is only found out when it signs; all else is seen at once.
                assert!(
                    read.is_err() || name == AUTHORITY_KEYS && damage.as_ref() == other.get(name),
                    "{name} {damage:?}"
                );
            }
        }
    }

    #[test]
    fn other_names_make_another_certificate() {
        let keys = wanted().make(start()).unwrap();
        let other = Wanted { names: vec!["c.d.svc".to_owned()], ..wanted() };
        let turned = other.turn(&keys, start()).unwrap().unwrap();
        assert_eq!(turned.authorities, keys.authorities);
        assert_eq!(other.turn(&turned, start()).unwrap(), None);
    }

    /// Through three years, an hour at a time: what is shown is valid, and its authority has been told for a while.
    #[test]
    fn nothing_is_shown_before_its_authority_is_known() {
        let wanted = wanted();
        let mut keys = wanted.make(start()).unwrap();
        let mut told = BTreeMap::from([(keys.authorities[0].certificate.clone(), start() - DAY)]);
        let (mut changes, mut authorities) = (0, 1);
        for hour in 0..3 * 365 * 24u32 {
            let now = start() + DAY / 24 * hour;
            if let Some(turned) = wanted.turn(&keys, now).unwrap() {
                keys = read(&turned);
                assert_eq!(keys, turned);
                changes += 1;
            }
            assert!(keys.shown.made <= now && keys.shown.ends > now + 14 * DAY, "hour {hour}");
            for authority in &keys.authorities {
                authorities += usize::from(!told.contains_key(&authority.certificate));
                told.entry(authority.certificate.clone()).or_insert(now);
            }
            let signer = &keys.authorities[keys.signer];
            assert!(keys.shown.made >= told[&signer.certificate] + Duration::from_secs(600), "hour {hour}");
            assert!(keys.authorities.len() <= 3);
        }
        assert!((70..90).contains(&changes) && (6..9).contains(&authorities), "{changes} {authorities}");
    }
}
