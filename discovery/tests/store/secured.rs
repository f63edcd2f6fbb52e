//! etcd behind TLS that wants a certificate and, in one test, a password: what is accepted, and what each refusal says.
//!
//! A real etcd with `--client-cert-auth`; authorities and certificates of the test's own making.

use crate::{PATIENCE, eventually};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use weft_discovery::store::{Etcd, EtcdSettings, EtcdTls, Op, Store, StoreError};
use weft_examples::etcd::{EtcdCluster, ServerTls};

/// An authority, and a folder for what it signs.
struct Signer {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

impl Signer {
    fn new() -> Self {
        let (key, folder) = (KeyPair::generate().unwrap(), tempfile::tempdir().unwrap());
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Certificate and key for `name`, good for servers and clients at 127.0.0.1.
    fn sign(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (file, key_file) = (self.file(&format!("{name}.pem")), self.file(&format!("{name}.key")));
        std::fs::write(&file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        (file, key_file)
    }

    fn server(&self) -> ServerTls {
        let (certificate, key) = self.sign("server");
        ServerTls { certificate, key, clients: self.file("ca.pem") }
    }
}

fn settings(cluster: &EtcdCluster, authorities: &Path, own: Option<(PathBuf, PathBuf)>) -> EtcdSettings {
    EtcdSettings {
        endpoints: cluster.endpoints(),
        tls: Some(EtcdTls { authorities: authorities.to_owned(), own }),
        request_timeout: Duration::from_secs(5),
        ..Default::default()
    }
}

/// What is said when nothing else than a refusal is to come; a slow machine may time out before.
async fn refusal(store: &Etcd, wanted: &str) -> String {
    let mut said = String::new();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !said.contains(wanted) && tokio::time::Instant::now() < deadline {
        said = store.range("").await.unwrap_err().to_string();
    }
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_shows_a_certificate_is_served_also_after_a_restart() {
    let signer = Signer::new();
    let mut cluster = EtcdCluster::start_secured(signer.server()).await.unwrap();
    let own = signer.sign("client");
    let store = Etcd::open(&settings(&cluster, &signer.file("ca.pem"), Some(own.clone()))).unwrap();
    store.commit(vec![], vec![Op::put("key", "1")]).await.unwrap();
    assert_eq!(store.get("key").await.unwrap().unwrap().value, "1");
    let mut watch = store.watch("", 1).await.unwrap();
    crate::next(&mut watch).await.unwrap();
    // The files are read for each connection: those that were replaced while etcd was away count.
    cluster.kill(0).unwrap();
    let fresh = signer.sign("fresh");
    std::fs::rename(fresh.0, &own.0).unwrap();
    std::fs::rename(fresh.1, &own.1).unwrap();
    cluster.restart(0).await.unwrap();
    eventually("etcd answers again", || async { store.range("").await.is_ok() }).await;
    assert_eq!(store.get("key").await.unwrap().unwrap().value, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_name_the_flag_to_look_at() {
    let (signer, stranger) = (Signer::new(), Signer::new());
    let cluster = EtcdCluster::start_secured(signer.server()).await.unwrap();
    let (ours, theirs) = (signer.file("ca.pem"), stranger.file("ca.pem"));
    for (authorities, own, wanted) in [
        (&ours, None, "(--store-certificate)"),
        (&ours, Some(stranger.sign("client")), "(--store-certificate)"),
        (&theirs, Some(signer.sign("client")), "etcd's certificate is not accepted (--store-ca)"),
    ] {
        let store = Etcd::open(&settings(&cluster, authorities, own)).unwrap();
        let said = refusal(&store, wanted).await;
        assert!(said.contains(wanted), "{said} instead of {wanted}");
    }
    let plain = EtcdSettings { tls: None, ..settings(&cluster, &ours, None) };
    assert!(matches!(Etcd::open(&plain), Err(StoreError::Open(_))), "https without authorities");
}

#[tokio::test]
async fn files_that_are_no_good_are_found_at_the_start() {
    let signer = Signer::new();
    let (certificate, key) = signer.sign("client");
    let (_, other_key) = signer.sign("other");
    let (empty, missing, ca) = (signer.file("empty"), signer.file("missing"), signer.file("ca.pem"));
    std::fs::write(&empty, "").unwrap();
    for (authorities, own, wanted) in [
        (&missing, None, "--store-ca: "),
        (&empty, None, "it holds no certificate"),
        (&ca, Some((missing.clone(), key.clone())), "--store-certificate: "),
        (&ca, Some((certificate.clone(), empty.clone())), "--store-key: "),
        (&ca, Some((certificate.clone(), other_key.clone())), "--store-key: "),
    ] {
        let tls = Some(EtcdTls { authorities: authorities.clone(), own });
        let endpoints = vec!["https://127.0.0.1:1".to_owned()];
        let opened = Etcd::open(&EtcdSettings { endpoints, tls, ..Default::default() });
        let said = opened.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.contains(wanted), "{said:?} instead of {wanted}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_read_from_its_file_and_read_again_when_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "wrong\n").unwrap();
    let cluster = EtcdCluster::start(1).await.unwrap();
    let mut root = etcd_client::Client::connect(cluster.endpoints(), None).await.unwrap();
    root.user_add("root", "secret", None).await.unwrap();
    root.user_grant_role("root", "root").await.unwrap();
    root.auth_enable().await.unwrap();
    let user = Some(("root".to_owned(), file.clone()));
    let settings = EtcdSettings { endpoints: cluster.endpoints(), user, ..Default::default() };
    let store = Etcd::open(&settings).unwrap();
    let said = refusal(&store, "--store-password-file").await;
    assert!(said.contains("etcd refuses this user") && said.contains("--store-password-file"), "{said}");
    std::fs::write(&file, "secret\n").unwrap();
    eventually("the right password is read", || async { store.range("").await.is_ok() }).await;
}
