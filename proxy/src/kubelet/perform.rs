//! One probe, made as the kubelet makes it: HTTP with redirects within the pod, TCP, or gRPC's health protocol.
//!
//! To the pod's own address, as the kubelet would dial it; such connections never leave the pod and pass no redirect.
//! Certificates are not verified, because the kubelet does not either. Fails with what was found.

use crate::config::{Action, ApplicationProbe};
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// As many as the kubelet follows.
const REDIRECTS: usize = 10;
/// Without one of the kubelet's.
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("weft-proxy/", env!("CARGO_PKG_VERSION")));

/// What is wrong with the application.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("status {0}")]
    Status(StatusCode),
    #[error("no connection to {0}: {1}")]
    Unreachable(SocketAddr, io::Error),
    #[error("{0}")]
    Answer(String),
}

fn answer(error: impl std::fmt::Display) -> Trouble {
    Trouble::Answer(error.to_string())
}

/// Makes `probe` of the application at `own`.
pub(super) async fn perform(probe: &ApplicationProbe, own: IpAddr, asker: Option<&HeaderValue>) -> Result<(), Trouble> {
    let to = SocketAddr::new(own, probe.port.get());
    let stream = || async move { TcpStream::connect(to).await.map_err(|error| Trouble::Unreachable(to, error)) };
    match &probe.action {
        Action::Tcp => stream().await.map(drop),
        Action::Grpc { service } => grpc(stream().await?, to, service).await,
        Action::Http { path, tls, headers } => {
            let mut path = path.clone();
            for _ in 0..=REDIRECTS {
                let request = request(&path, to, headers, asker)?;
                let stream = stream().await?;
                let said = match tls {
                    true => exchange(secured(stream, own).await?, request).await?,
                    false => exchange(stream, request).await?,
                };
                match said {
                    Said::Elsewhere(next) => path = next,
                    Said::Status(status) if (200..400).contains(&status.as_u16()) => return Ok(()),
                    Said::Status(status) => return Err(Trouble::Status(status)),
                }
            }
            Err(answer(format_args!("more than {REDIRECTS} redirects")))
        }
    }
}

/// The head that the kubelet would send.
fn request(
    path: &str,
    to: SocketAddr,
    headers: &[(HeaderName, HeaderValue)],
    asker: Option<&HeaderValue>,
) -> Result<Request<Empty<bytes::Bytes>>, Trouble> {
    let mut request = Request::get(path).body(Empty::new()).map_err(answer)?;
    let head = request.headers_mut();
    head.insert(header::HOST, HeaderValue::try_from(to.to_string()).map_err(answer)?);
    head.insert(header::USER_AGENT, asker.cloned().unwrap_or(USER_AGENT));
    head.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    head.insert(header::CONNECTION, HeaderValue::from_static("close"));
    for (name, value) in headers {
        match *name {
            header::HOST | header::USER_AGENT | header::ACCEPT => head.insert(name, value.clone()).is_some(),
            _ => head.append(name, value.clone()),
        };
    }
    Ok(request)
}

enum Said {
    Status(StatusCode),
    /// A redirect that stays within the pod: where to.
    Elsewhere(String),
}

async fn exchange<S>(stream: S, request: Request<Empty<bytes::Bytes>>) -> Result<Said, Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(answer)?;
    // On a task of its own: an answer that closes the connection would otherwise end with it before it is seen.
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let response = sender.send_request(request).await.map_err(answer)?;
    let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    let within = location.filter(|_| response.status().is_redirection()).and_then(|to| within(to, &host));
    Ok(within.map_or(Said::Status(response.status()), Said::Elsewhere))
}

/// The path of a redirect to the same host; a redirect to anywhere else is a success, as for the kubelet.
fn within(location: &str, host: &str) -> Option<String> {
    let uri: Uri = location.parse().ok()?;
    let same = uri.authority().is_none_or(|authority| authority.as_str() == host);
    same.then(|| uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string))
}

/// The gRPC health checking protocol (`grpc.health.v1`).
async fn grpc(stream: TcpStream, to: SocketAddr, service: &str) -> Result<(), Trouble> {
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_: Uri| {
        // Asked for once: the channel is dropped with the answer.
        let stream = stream.take().ok_or(io::ErrorKind::NotConnected);
        async move { stream.map_err(io::Error::from) }
    });
    let remote = Endpoint::from_shared(format!("http://{to}")).map_err(answer)?;
    let channel = remote.connect_with_connector(connector).await.map_err(answer)?;
    let request = HealthCheckRequest { service: service.to_owned() };
    match HealthClient::new(channel).check(request).await {
        Ok(said) => match said.into_inner().status() {
            ServingStatus::Serving => Ok(()),
            other => Err(answer(format_args!("the application says {}", other.as_str_name()))),
        },
        Err(status) => Err(answer(format_args!("{:?}: {}", status.code(), status.message()))),
    }
}

async fn secured(stream: TcpStream, own: IpAddr) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send, Trouble> {
    static CONNECTOR: LazyLock<Result<TlsConnector, rustls::Error>> = LazyLock::new(|| {
        let provider = weft_identity::provider();
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions()?;
        let verifier = Arc::new(AnyCertificate(provider.signature_verification_algorithms));
        let config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    });
    let connector = CONNECTOR.as_ref().map_err(answer)?;
    connector.connect(ServerName::IpAddress(own.into()), stream).await.map_err(answer)
}

/// Whatever the application shows is taken, as the kubelet takes it: the connection stays within the pod.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
