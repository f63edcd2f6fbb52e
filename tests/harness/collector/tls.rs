//! Who is who at a collector that wants TLS: an authority, its own certificate, and one for those who send.
//!
//! Made anew for each, as files that every user may read.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Where the files are.
#[derive(Debug, Clone)]
pub struct Files(PathBuf);

impl Files {
    /// For a collector at `address`, in `dir`.
    pub(super) fn make(dir: &Path, address: IpAddr) -> anyhow::Result<Self> {
        fs::create_dir_all(dir)?;
        let authority = authority(&dir.join("ca.crt"))?;
        // Nobody's.
        self::authority(&dir.join("other.crt"))?;
        let mut server = CertificateParams::default();
        server.subject_alt_names.push(SanType::IpAddress(address));
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let mut client = CertificateParams::default();
        client.distinguished_name.push(DnType::CommonName, "proxy");
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        for (name, params) in [("server", server), ("client", client)] {
            let key = KeyPair::generate()?;
            fs::write(dir.join(format!("{name}.crt")), params.signed_by(&key, &authority)?.pem())?;
            fs::write(dir.join(format!("{name}.key")), key.serialize_pem())?;
        }
        Ok(Self(dir.to_owned()))
    }

    /// The path of `ca.crt`, `other.crt` (an authority that signed nothing), `client.crt` or `client.key`.
    pub fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// What the collector's receivers are told.
    pub(super) fn receiver(&self) -> String {
        let (certificate, key, clients) = (self.file("server.crt"), self.file("server.key"), self.file("ca.crt"));
        format!(", tls: {{ cert_file: '{certificate}', key_file: '{key}', client_ca_file: '{clients}' }}")
    }
}

fn authority(file: &Path) -> anyhow::Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "collectors for tests");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    fs::write(file, authority.pem())?;
    Ok(authority)
}
