//! TLS to a collector: whom the client trusts, and who it is.
//!
//! Read once at the start. A file that cannot be read, or holds something else, is an error that names the flag, the variable and
//! the file; nothing is ever sent unencrypted in its place.

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;

/// What the flags name: authorities, and a certificate with its key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Files<'a> {
    pub authorities: Option<&'a str>,
    pub certificate: Option<&'a str>,
    pub key: Option<&'a str>,
}

pub(super) const AUTHORITIES: &str = "--otlp-certificate (OTEL_EXPORTER_OTLP_CERTIFICATE)";
pub(super) const CERTIFICATE: &str = "--otlp-client-certificate (OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE)";
pub(super) const KEY: &str = "--otlp-client-key (OTEL_EXPORTER_OTLP_CLIENT_KEY)";

/// A flag and what is wrong with it.
pub(super) type Fault = (&'static str, String);

/// Trusts nobody: for collectors in plaintext.
pub(super) fn none() -> Arc<ClientConfig> {
    Arc::new(builder(RootCertStore::empty()).with_no_client_auth())
}

/// Trusts `files.authorities`, or else whom this machine trusts.
pub(super) fn client(files: Files<'_>) -> Result<Arc<ClientConfig>, Fault> {
    let roots = match files.authorities {
        Some(file) => authorities(file).map_err(|reason| (AUTHORITIES, reason))?,
        None => system().map_err(|reason| (AUTHORITIES, reason))?,
    };
    let builder = builder(roots);
    let config = match (files.certificate, files.key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(_), None) => return Err((KEY, "is needed with a client certificate".to_owned())),
        (None, Some(_)) => return Err((CERTIFICATE, "is needed with a client key".to_owned())),
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate).map_err(|reason| (CERTIFICATE, reason))?;
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| (KEY, format!("{key:?}: {error}")))?;
            let matched = builder.with_client_auth_cert(chain, secret);
            matched.map_err(|error| (KEY, format!("{key:?} and {certificate:?}: {error}")))?
        }
    };
    Ok(Arc::new(config))
}

fn builder(roots: RootCertStore) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    builder.expect("the provider speaks the versions of TLS that are on by default").with_root_certificates(roots)
}

fn authorities(file: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| format!("{file:?}: {error}"))?;
    }
    Ok(roots)
}

fn system() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (good, _) = roots.add_parsable_certificates(found.certs);
    if good == 0 {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!("this machine trusts no authority{why}: name the collector's"));
    }
    Ok(roots)
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(Path::new(file)).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(all) if all.is_empty() => Err(format!("{file:?}: holds no certificate in PEM")),
        Ok(all) => Ok(all),
        Err(error) => Err(format!("{file:?}: {error}")),
    }
}
