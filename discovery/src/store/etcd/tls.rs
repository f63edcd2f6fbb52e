//! TLS to etcd: whom to believe that it is etcd, and what discovery shows for itself.
//!
//! Beneath one member's connection. The files are read for each new connection, so that one that was replaced serves from then on, without
//! a restart. Fails naming the flag whose file is missing, cannot be used, or is refused by the other side.

use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdTls {
    /// Authorities that etcd's certificates are signed by.
    pub authorities: PathBuf,
    /// Certificate and key of discovery, where etcd wants them.
    pub own: Option<(PathBuf, PathBuf)>,
}

impl EtcdTls {
    /// What the files hold now.
    pub fn read(&self) -> io::Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates("--store-ca", &self.authorities)? {
            roots.add(certificate).map_err(|error| wrong("--store-ca", &self.authorities, error))?;
        }
        let builder = ClientConfig::builder_with_provider(weft_identity::provider().clone())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots);
        let mut config = match &self.own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates("--store-certificate", certificate)?;
                let pem = read("--store-key", key)?;
                let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| wrong("--store-key", key, error))?;
                let both = builder.with_client_auth_cert(chain, private);
                both.map_err(|error| wrong("--store-key", key, format!("{error}, for --store-certificate")))?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    /// A connection to `url` (`https://host:port`), made when it is needed and made again when it breaks.
    pub fn channel(&self, url: &str, prepare: impl Fn(Endpoint) -> Endpoint) -> Result<Channel, String> {
        let authority = url.trim_start_matches("https://").trim_end_matches('/').to_owned();
        // Scheme http, for tonic must not add a TLS layer of its own: the connector below does.
        let endpoint = Endpoint::from_shared(format!("http://{authority}")).map_err(|error| error.to_string())?;
        let tls = Arc::new(self.clone());
        let connector = tower::service_fn(move |_| {
            let (tls, authority) = (tls.clone(), authority.clone());
            async move { tls.dial(&authority).await.map(TokioIo::new) }
        });
        Ok(prepare(endpoint).connect_with_connector_lazy(connector))
    }

    async fn dial(&self, authority: &str) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::new(self.read()?);
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(io::Error::other)?;
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        let connected = TlsConnector::from(config).connect(name, stream).await;
        connected.map_err(|error| {
            let text = explain(&error).map_or_else(|| error.to_string(), |(text, _)| text);
            io::Error::new(error.kind(), text)
        })
    }
}

fn certificates(flag: &str, file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let pem = read(flag, file)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match all {
        Ok(all) if all.is_empty() => Err(wrong(flag, file, "it holds no certificate")),
        all => all.map_err(|error| wrong(flag, file, error)),
    }
}

fn read(flag: &str, file: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| io::Error::new(error.kind(), format!("{flag}: {}: {error}", file.display())))
}

fn wrong(flag: &str, file: &Path, reason: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{flag}: {}: {reason}", file.display()))
}

/// Alerts about the certificate that was shown, or its lack, as rustls writes them.
const REFUSALS: [&str; 8] = [
    "AccessDenied",
    "BadCertificate",
    "CertificateExpired",
    "CertificateRequired",
    "CertificateRevoked",
    "CertificateUnknown",
    "UnknownCA",
    "UnsupportedCertificate",
];

/// What a failure of TLS means for who has to mend it; `None`: it was none. True: the other side has not begun to listen.
pub fn explain(error: &(dyn StdError + 'static)) -> Option<(String, bool)> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // HTTP/2 keeps no more than the text of what went wrong beneath it.
        let text = error.to_string();
        if let Some((_, alert)) = text.split_once("received fatal alert: ") {
            let what = "etcd refuses the certificate that is shown to it, or its lack (--store-certificate)";
            return Some(match REFUSALS.iter().find(|known| alert.contains(**known)) {
                Some(known) => (format!("{what}: {known}"), true),
                None => (format!("TLS with etcd failed: {text}"), false),
            });
        }
        if text.contains("invalid peer certificate") && !text.contains("--store-ca") {
            return Some((format!("etcd's certificate is not accepted (--store-ca): {text}"), true));
        }
        cause = error.source();
    }
    None
}
