//! What is signed, and what is refused before it can be used: requests that prove nothing, authorities that are none,
//! credentials whose parts do not fit.

use super::*;
use crate::spiffe;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use rustls_pki_types::CertificateDer;
use std::time::{Duration, SystemTime};
use weft_model::SpiffeId;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn id() -> SpiffeId {
    SpiffeId::new("weft.local", "shop", "cart").unwrap()
}

fn root() -> Authority {
    Authority::generate("weft.local").unwrap()
}

#[test]
fn a_signed_certificate_says_what_the_authority_decided() {
    let root = root();
    let now = SystemTime::now();
    let key = Key::generate();
    let signed = root.sign(&key.csr(), &id(), now, DAY).unwrap();
    assert_eq!(spiffe::id_of(&signed.leaf).unwrap(), id());
    let parsed = spiffe::parse(&signed.leaf).unwrap();
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && usage.server_auth && !usage.any);
    assert!(parsed.key_usage().unwrap().unwrap().value.digital_signature());
    assert!(!parsed.is_ca());
    assert_eq!(signed.serial, parsed.raw_serial_as_string().replace(':', ""));
    assert_eq!(signed.serial.len(), 32);
    assert_eq!(validity(&signed.leaf).unwrap(), (signed.not_before, signed.not_after));
    assert!(signed.not_before <= now - Duration::from_secs(299) && signed.not_after <= now + DAY);
    let credentials = Credentials::new(vec![signed.leaf], key.private(), vec![root.certificate().clone()]).unwrap();
    assert_eq!((credentials.id, credentials.not_after), (id(), signed.not_after));
}

#[test]
fn names_in_a_request_are_ignored() {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "admin");
    params.subject_alt_names = vec![SanType::URI("spiffe://weft.local/ns/kube-system/sa/admin".try_into().unwrap())];
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    let csr = params.serialize_request(&key).unwrap();
    let signed = root().sign(csr.der(), &id(), SystemTime::now(), DAY).unwrap();
    let parsed = spiffe::parse(&signed.leaf).unwrap();
    assert_eq!(spiffe::id_of(&signed.leaf).unwrap(), id());
    assert_eq!(parsed.subject().to_string(), "");
    assert!(!parsed.is_ca() && !parsed.extended_key_usage().unwrap().unwrap().value.code_signing);
}

#[test]
fn requests_that_prove_nothing_are_refused() {
    let root = root();
    let sign = |csr: &[u8]| root.sign(csr, &id(), SystemTime::now(), DAY).unwrap_err().to_string();
    let mut forged = Key::generate().csr();
    *forged.last_mut().unwrap() ^= 1;
    assert!(sign(&forged).contains("signing request"), "{}", sign(&forged));
    assert!(sign(b"").contains("signing request"));
    let other = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let other = CertificateParams::default().serialize_request(&other).unwrap();
    assert!(sign(other.der()).contains("P-256"));
}

#[test]
fn an_authority_signs_neither_strangers_nor_beyond_its_end() {
    let root = root();
    let key = Key::generate();
    let stranger = SpiffeId::new("other.example", "shop", "cart").unwrap();
    let sign = |id: &SpiffeId, now, lifetime| root.sign(&key.csr(), id, now, lifetime);
    assert!(matches!(sign(&stranger, SystemTime::now(), DAY), Err(CertificateError::TrustDomain { .. })));
    assert_eq!(sign(&id(), SystemTime::now(), 100 * 365 * DAY).unwrap().not_after, root.not_after());
    assert!(matches!(sign(&id(), root.not_after(), DAY), Err(CertificateError::AuthorityExpired)));
}

#[test]
fn an_authority_survives_being_written_down() {
    let root = root();
    let (certificate, key) = root.to_pem();
    let again = Authority::from_pem(&certificate, &key, None).unwrap();
    assert_eq!(again.trust_domain(), Some("weft.local"));
    assert_eq!(again.certificate(), root.certificate());
    let key = Key::generate();
    let signed = again.sign(&key.csr(), &id(), SystemTime::now(), DAY).unwrap();
    let key = Key::from_pem(&key.to_pem()).unwrap();
    Credentials::new(vec![signed.leaf], key.private(), from_pem(&certificate).unwrap()).unwrap();
}

#[test]
fn an_authority_from_elsewhere_is_checked() {
    let (root, key) = (root(), Key::generate());
    let (certificate, root_key) = root.to_pem();
    let refused = |certificate: &str, key: &str| Authority::from_pem(certificate, key, None).unwrap_err().to_string();
    assert!(refused(&certificate, &key.to_pem()).contains("does not belong"));
    assert!(refused("", &root_key).contains("no certificate"));
    let leaf = root.sign(&key.csr(), &id(), SystemTime::now(), DAY).unwrap().leaf;
    assert!(refused(&to_pem(&[leaf]), &key.to_pem()).contains("CA:TRUE"));
    assert!(Authority::generate("Not A Domain").unwrap_err().to_string().contains("trust domain"));
}

#[test]
fn credentials_that_do_not_fit_together_are_refused() {
    let (root, key) = (root(), Key::generate());
    let leaf = root.sign(&key.csr(), &id(), SystemTime::now(), DAY).unwrap().leaf;
    let anchor = root.certificate().clone();
    let made = |chain: &[&CertificateDer<'static>], key: &Key, anchors: &[&CertificateDer<'static>]| {
        let own = |list: &[&CertificateDer<'static>]| list.iter().map(|der| (*der).clone()).collect();
        Credentials::new(own(chain), key.private(), own(anchors))
    };
    assert!(matches!(made(&[], &key, &[&anchor]), Err(CertificateError::NoChain)));
    assert!(matches!(made(&[&leaf], &key, &[]), Err(CertificateError::NoAnchors)));
    assert!(matches!(made(&[&leaf], &Key::generate(), &[&anchor]), Err(CertificateError::Key(_))));
    let other = Authority::generate("weft.local").unwrap();
    assert!(matches!(made(&[&leaf], &key, &[other.certificate()]), Err(CertificateError::Chain { .. })));
    assert!(matches!(made(&[&anchor], &key, &[&anchor]), Err(CertificateError::Identity(_))));
    let garbage = CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]);
    assert!(matches!(made(&[&garbage], &key, &[&anchor]), Err(CertificateError::Identity(_))));
    assert!(matches!(made(&[&leaf], &key, &[&garbage]), Err(CertificateError::Malformed { .. })));
}

#[path = "issuer_tests.rs"]
mod issuer;
