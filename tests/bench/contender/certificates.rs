//! Certificates as a mesh would issue them: an authority, and a workload's SPIFFE identity on each side.
//!
//! PEM files in the network's directory, readable by everybody because proxies run as users of their own.

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The names of both sides, client's first.
pub const ROLES: [&str; 2] = ["outbound", "inbound"];

/// Where the files are.
#[derive(Debug, Clone)]
pub struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    /// Issues all of them into `dir`.
    pub fn issue(dir: &Path) -> anyhow::Result<Self> {
        let mut authority = CertificateParams::new(vec![])?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let issued = Self { dir: dir.to_owned() };
        write(&issued.authority(), &authority.pem())?;
        for role in ROLES {
            let key = KeyPair::generate()?;
            let mut parameters = CertificateParams::new(vec![])?;
            // The authority's own name would make it look self-signed.
            parameters.distinguished_name.push(DnType::CommonName, role);
            parameters.subject_alt_names = vec![SanType::URI(identity(role).as_str().try_into()?)];
            let chain = parameters.signed_by(&key, &authority)?.pem();
            write(&issued.identity(role), &(chain + &key.serialize_pem()))?;
        }
        Ok(issued)
    }

    /// The authority's certificate.
    pub fn authority(&self) -> PathBuf {
        self.dir.join("authority.pem")
    }

    /// Certificate and key of a side, in one file.
    pub fn identity(&self, role: &str) -> PathBuf {
        self.dir.join(format!("{role}.pem"))
    }
}

/// The SPIFFE ID in the certificate of a side.
pub fn identity(role: &str) -> String {
    format!("spiffe://bench.local/ns/bench/sa/{role}")
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let written = fs::write(path, text).and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o644)));
    written.with_context(|| format!("write {}", path.display()))
}
