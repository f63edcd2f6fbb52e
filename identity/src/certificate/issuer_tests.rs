//! Authorities that operators bring: a root with others below it, and everything that can be wrong with them.
//!
//! Made by rcgen, so that each differs from a good one in the one thing that is told.

use super::{DAY, id};
use crate::certificate::{Authority, CertificateError, Credentials, Key, from_pem, to_pem};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    SanType,
};
use rustls_pki_types::CertificateDer;
use std::time::{Duration, SystemTime};

/// One authority of a test's own making.
struct Made {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

/// What is asked of one.
struct Wish {
    name: &'static str,
    ca: IsCa,
    usage: KeyUsagePurpose,
    from: SystemTime,
    to: SystemTime,
    uri: Option<&'static str>,
}

fn wish(name: &'static str) -> Wish {
    let now = SystemTime::now();
    let (ca, usage) = (IsCa::Ca(BasicConstraints::Unconstrained), KeyUsagePurpose::KeyCertSign);
    Wish { name, ca, usage, from: now - DAY, to: now + 30 * DAY, uri: None }
}

fn made(wish: Wish, above: Option<&Made>) -> Made {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, wish.name);
    params.is_ca = wish.ca;
    params.key_usages = vec![wish.usage];
    params.not_before = wish.from.into();
    params.not_after = wish.to.into();
    params.use_authority_key_identifier_extension = above.is_some();
    params.subject_alt_names = wish.uri.into_iter().map(|uri| SanType::URI(uri.try_into().unwrap())).collect();
    let certificate = match above {
        None => params.self_signed(&key).unwrap(),
        Some(above) => {
            let key_above = KeyPair::from_pem(&above.key.serialize_pem()).unwrap();
            let issuer = Issuer::from_ca_cert_der(&above.certificate, key_above).unwrap();
            params.signed_by(&key, &issuer).unwrap()
        }
    };
    Made { certificate: certificate.der().clone(), key }
}

fn pem(chain: &[&Made]) -> String {
    to_pem(&chain.iter().map(|made| made.certificate.clone()).collect::<Vec<_>>())
}

fn brought(chain: &[&Made], bundle: &[&Made]) -> Result<Authority, CertificateError> {
    let bundle = (!bundle.is_empty()).then(|| pem(bundle));
    Authority::from_pem(&pem(chain), &chain[0].key.serialize_pem(), bundle.as_deref())
}

#[test]
fn certificates_below_an_intermediate_are_accepted_by_those_who_trust_the_root() {
    let root = made(wish("root"), None);
    let middle = made(wish("middle"), Some(&root));
    let issuing = made(wish("issuing"), Some(&middle));
    let other = made(wish("other root"), None);
    for authority in [
        brought(&[&issuing, &middle], &[&other, &root]).unwrap(),
        brought(&[&issuing, &middle, &root], &[]).unwrap(),
        brought(&[&issuing, &middle, &root], &[&root]).unwrap(),
    ] {
        assert_eq!(authority.certificate(), &root.certificate);
        assert_eq!(authority.intermediates(), [issuing.certificate.clone(), middle.certificate.clone()]);
        assert!(authority.anchors().contains(&root.certificate));
        let (certificates, key) = authority.to_pem();
        let again = Authority::from_pem(&certificates, &key, Some(&to_pem(authority.anchors()))).unwrap();
        let key = Key::generate();
        let signed = again.sign(&key.csr(), &id(), SystemTime::now(), DAY).unwrap();
        let mut chain = vec![signed.leaf];
        chain.extend_from_slice(again.intermediates());
        let made = |chain: &[CertificateDer<'static>], anchor: &Made| {
            Credentials::new(chain.to_vec(), key.private(), vec![anchor.certificate.clone()])
        };
        let credentials = made(&chain, &root).unwrap();
        assert!(credentials.rests_on(&root.certificate) && !credentials.rests_on(&other.certificate));
        assert!(made(&chain[..1], &root).is_err(), "the chain has to be shown");
        assert!(made(&chain, &other).is_err());
        assert!(credentials.trusting(vec![other.certificate.clone(), root.certificate.clone()]).is_ok());
        assert!(credentials.trusting(vec![other.certificate.clone()]).is_err(), "nobody cuts off the own branch");
    }
}

#[test]
fn a_root_that_replaces_one_of_its_name_is_told_apart_by_its_key() {
    let (old, new) = (made(wish("root"), None), made(wish("root"), None));
    let issuing = made(wish("issuing"), Some(&new));
    assert_eq!(brought(&[&issuing], &[&old, &new]).unwrap().certificate(), &new.certificate);
    let said = brought(&[&issuing], &[&old]).unwrap_err().to_string();
    assert!(said.contains("what CN=issuing signs is not accepted by those who trust CN=root"), "{said}");
}

#[test]
fn what_cannot_sign_for_the_mesh_is_refused_with_its_reason() {
    let root = made(wish("root"), None);
    let tight = made(Wish { ca: IsCa::Ca(BasicConstraints::Constrained(0)), ..wish("tight") }, None);
    let leaf = made(Wish { ca: IsCa::ExplicitNoCa, ..wish("leaf") }, Some(&root));
    let mute = made(Wish { usage: KeyUsagePurpose::DigitalSignature, ..wish("mute") }, Some(&root));
    let (issuing, other) = (made(wish("issuing"), Some(&root)), made(wish("other"), None));
    let below_tight = made(wish("issuing"), Some(&tight));
    let elsewhere = made(Wish { uri: Some("spiffe://other.example"), ..wish("elsewhere") }, Some(&root));
    let here = made(Wish { uri: Some("spiffe://weft.local"), ..wish("here") }, None);
    let mixed = made(Wish { uri: Some("spiffe://other.example"), ..wish("mixed") }, Some(&here));
    let refused = |chain: &[&Made], bundle: &[&Made]| brought(chain, bundle).unwrap_err().to_string();
    for (said, wanted) in [
        (refused(&[&leaf], &[&root]), "CN=leaf is not the certificate of an authority (CA:TRUE is missing)"),
        (refused(&[&mute], &[&root]), "CN=mute may not sign certificates (its key usage lacks keyCertSign)"),
        (
            refused(&[&below_tight], &[&tight]),
            "CN=tight allows 0 authorities below it (path length 0), the chain has 1",
        ),
        (refused(&[&issuing], &[]), "the chain does not end in a trust anchor: CN=issuing is signed by CN=root"),
        (refused(&[&issuing], &[&other]), "the chain does not end in a trust anchor: CN=issuing is signed by CN=root"),
        (refused(&[&issuing, &other], &[&other]), "CN=issuing is signed by CN=root, but CN=other follows it"),
        (
            refused(&[&root, &issuing], &[&other]),
            "the chain is out of order: CN=root is signed by CN=root, but CN=issuing",
        ),
        (refused(&[&mixed], &[&here]), "one is for the trust domain other.example, another for weft.local"),
    ] {
        assert!(said.contains(wanted), "{said}\ninstead of\n{wanted}");
    }
    assert_eq!(brought(&[&elsewhere], &[&root]).unwrap().trust_domain(), Some("other.example"));
    let key = other.key.serialize_pem();
    let said = Authority::from_pem(&pem(&[&issuing]), &key, Some(&pem(&[&root]))).unwrap_err().to_string();
    assert!(said.contains("authority key: it does not belong to CN=issuing"), "{said}");
    assert!(Authority::from_pem(&pem(&[&root]), "no key", None).unwrap_err().to_string().contains("authority key"));
    assert!(from_pem("").is_err());
}

#[test]
fn time_is_judged_when_it_is_asked_about() {
    let now = SystemTime::now();
    let late = made(Wish { to: now - Duration::from_secs(3_600), ..wish("late") }, None);
    let early = made(Wish { from: now + Duration::from_secs(3_600), ..wish("early") }, None);
    let root = made(wish("root"), None);
    let issuing = made(Wish { to: now + DAY, ..wish("issuing") }, Some(&root));
    let said = |made: &Made| brought(&[made], &[]).unwrap().usable(now).unwrap_err().to_string();
    assert!(said(&late).starts_with("CN=late has expired: it was valid until "), "{}", said(&late));
    assert!(said(&early).starts_with("CN=early is valid from "), "{}", said(&early));
    let both = brought(&[&issuing], &[&root]).unwrap();
    assert!(both.usable(now).is_ok());
    assert!(both.usable(now + 2 * DAY).unwrap_err().to_string().contains("CN=issuing has expired"));
    assert!(both.not_after() <= now + DAY, "nothing outlives what it rests on");
}
