//! TLS of the application's own, which a mesh has to carry without looking into it.
//!
//! A self-signed certificate for the server's name, made at the start; one line comes back.

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use std::io::Result;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

pub fn acceptor(name: &str) -> anyhow::Result<TlsAcceptor> {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()])?;
    let key = made.signing_key.serialize_der();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key).map_err(anyhow::Error::msg)?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// One line comes back, then the connection is closed.
pub async fn echo(stream: TcpStream, acceptor: TlsAcceptor) -> Result<()> {
    let mut stream = BufReader::new(acceptor.accept(stream).await?);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    stream.write_all(line.as_bytes()).await?;
    stream.shutdown().await
}
