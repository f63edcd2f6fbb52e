//! Who is who at the API server: its authority, its own certificate, the administrator's, the key that signs tokens.
//!
//! Made anew for every server, in a directory that goes with its network. Invariant: a kubeconfig holds file names and
//! loopback, so that it may be used by the test and by programs on the node alike.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use weft_examples::pods::Pod;

/// Who issues the tokens of service accounts.
pub(super) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Everything in one directory.
pub(super) struct Credentials {
    dir: PathBuf,
    port: u16,
    kubeconfig: PathBuf,
    authority: PathBuf,
}

impl Credentials {
    /// Writes certificates and keys for a server on `node` and loopback into `dir`, and the administrator's kubeconfig.
    pub fn make(dir: &Path, port: u16, node: &Pod) -> anyhow::Result<Self> {
        fs::create_dir_all(dir)?;
        let write = |name: &str, text: String| fs::write(dir.join(name), text);

        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority.distinguished_name.push(DnType::CommonName, "kubernetes for tests");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        write("ca.crt", authority.pem())?;

        let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        let mut server = CertificateParams::new(names.map(str::to_owned))?;
        let addresses = [Ipv4Addr::LOCALHOST, node.ip(), Ipv4Addr::new(10, 96, 0, 1)];
        server.subject_alt_names.extend(addresses.map(|ip| SanType::IpAddress(IpAddr::V4(ip))));
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let mut admin = CertificateParams::default();
        admin.distinguished_name.push(DnType::CommonName, "admin");
        // The group that RBAC's bootstrap lets do everything.
        admin.distinguished_name.push(DnType::OrganizationName, "system:masters");
        admin.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        for (name, params) in [("server", server), ("admin", admin)] {
            let key = KeyPair::generate()?;
            write(&format!("{name}.crt"), params.signed_by(&key, &authority)?.pem())?;
            write(&format!("{name}.key"), key.serialize_pem())?;
        }
        let accounts = KeyPair::generate()?;
        write("accounts.key", accounts.serialize_pem())?;
        write("accounts.pub", accounts.public_key_pem())?;

        let (kubeconfig, authority) = (dir.join("kubeconfig"), dir.join("ca.crt"));
        let credentials = Self { dir: dir.to_owned(), port, kubeconfig, authority };
        let user = json!({
            "client-certificate": credentials.file("admin.crt"),
            "client-key": credentials.file("admin.key"),
        });
        credentials.write_kubeconfig(&credentials.kubeconfig, user)?;
        Ok(credentials)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn url(&self) -> String {
        format!("https://{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// The administrator's.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// A kubeconfig called `name` for whoever has `token`.
    pub fn kubeconfig_with(&self, name: &str, token: &str) -> io::Result<PathBuf> {
        let path = self.file(&format!("kubeconfig-{name}"));
        self.write_kubeconfig(&path, json!({ "token": token }))?;
        Ok(path)
    }

    fn write_kubeconfig(&self, path: &Path, user: Value) -> io::Result<()> {
        let cluster = json!({ "server": self.url(), "certificate-authority": self.authority });
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "test", "cluster": cluster }],
            "users": [{ "name": "test", "user": user }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
            "current-context": "test",
        });
        // JSON is YAML.
        fs::write(path, kubeconfig.to_string())
    }
}
