//! One check of one endpoint, over the way that its requests take: TCP, mTLS to its sidecar, and through that the application.
//!
//! Each check makes a connection of its own, because an endpoint that cannot take new ones is not healthy. Fails with what
//! was found; the whole is bounded by the check's time-out.

use super::subject::Subject;
use crate::conn::Conn;
use crate::connect::{self, Destination};
use crate::error::Failure;
use crate::http1::exchange::read_response;
use crate::http1::head::Head;
use http::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::Endpoint as Remote;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use weft_identity::rotate::Identity;
use weft_identity::tls::Alpn;
use weft_model::Protocol;
use weft_model::health::Probe;

/// How applications can tell checks from other requests.
const USER_AGENT: &str = concat!("weft-health-check/", env!("CARGO_PKG_VERSION"));
/// A sidecar takes the connection before it has reached its application; it resets it at once when it cannot.
const SECOND_THOUGHTS: Duration = Duration::from_millis(100);
const MAX_HEAD: usize = 64 * 1024;

/// What is wrong with an endpoint.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("no connection: {0}")]
    Unreachable(Failure),
    #[error("no answer in time")]
    Late,
    #[error("{0}")]
    Answer(String),
}

fn answer(error: impl std::fmt::Display) -> Trouble {
    Trouble::Answer(error.to_string())
}

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    pub identity: Identity,
    /// This pod's addresses: an endpoint there is reached without its sidecar.
    pub own: Arc<[IpAddr]>,
}

impl Asker {
    pub async fn ask(&self, subject: &Subject) -> Result<(), Trouble> {
        let limit = subject.check.timeout;
        tokio::time::timeout(limit, self.carry_out(subject)).await.unwrap_or(Err(Trouble::Late))
    }

    async fn carry_out(&self, subject: &Subject) -> Result<(), Trouble> {
        let named = subject.endpoint.service.to_string();
        match &subject.check.probe {
            Probe::Tcp => stays_open(self.dial(subject, Alpn::Tcp).await?).await,
            Probe::Http { path, host, statuses } => {
                let host = host.as_deref().unwrap_or(&named);
                let status = match subject.protocol {
                    Protocol::Http2 | Protocol::Grpc => http2(self.dial(subject, Alpn::H2).await?, host, path).await?,
                    _ => http1(self.dial(subject, Alpn::Http1).await?, host, path).await?,
                };
                let expected = statuses.contains(&status) || (statuses.is_empty() && (200..300).contains(&status));
                expected.then_some(()).ok_or_else(|| answer(format_args!("status {status}")))
            }
            Probe::Grpc { service } => grpc(self.dial(subject, Alpn::H2).await?, &named, service).await,
        }
    }

    async fn dial(&self, subject: &Subject, alpn: Alpn) -> Result<Conn, Trouble> {
        let to = Destination { endpoint: &subject.endpoint, port: subject.port, own: &self.own };
        let dialled = connect::reach(to, &self.identity, alpn, subject.check.timeout).await;
        dialled.map_err(|failure| match failure {
            Failure::ConnectTimeout => Trouble::Late,
            failure => Trouble::Unreachable(failure),
        })
    }
}

/// Whether the connection reaches the application: without a sidecar it has, with one it stays open.
async fn stays_open(mut conn: Conn) -> Result<(), Trouble> {
    if !conn.is_tls() {
        return Ok(());
    }
    match tokio::time::timeout(SECOND_THOUGHTS, conn.fill(1024)).await {
        Ok(Err(error)) => Err(answer(error)),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}

async fn http1(mut conn: Conn, host: &str, path: &str) -> Result<u16, Trouble> {
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {USER_AGENT}\r\nconnection: close\r\n\r\n");
    conn.send(request.as_bytes()).await.map_err(answer)?;
    let mut head = Head::default();
    loop {
        read_response(&mut conn, &mut head, false, MAX_HEAD).await.map_err(answer)?;
        if head.status >= 200 {
            return Ok(head.status);
        }
    }
}

async fn http2(conn: Conn, host: &str, path: &str) -> Result<u16, Trouble> {
    let uri = Uri::builder().scheme("http").authority(host).path_and_query(path).build().map_err(answer)?;
    let request = Request::builder().method(Method::GET).uri(uri).header("user-agent", USER_AGENT);
    let request = request.body(()).map_err(answer)?;
    let (sender, connection) = h2::client::handshake(conn).await.map_err(answer)?;
    let exchange = async {
        let (response, _) = sender.ready().await?.send_request(request, true)?;
        response.await
    };
    tokio::select! {
        response = exchange => response.map(|response| response.status().as_u16()).map_err(answer),
        ended = connection => Err(ended.map_or_else(answer, |()| answer("the connection ended"))),
    }
}

/// The gRPC health checking protocol (`grpc.health.v1`).
async fn grpc(conn: Conn, host: &str, service: &str) -> Result<(), Trouble> {
    let mut conn = Some(conn);
    let connector = tower::service_fn(move |_: Uri| {
        // Asked for once: the channel is dropped with the answer.
        let conn = conn.take().map(TokioIo::new).ok_or(io::ErrorKind::NotConnected);
        async move { conn.map_err(io::Error::from) }
    });
    let remote = Remote::from_shared(format!("http://{host}")).and_then(|remote| remote.user_agent(USER_AGENT));
    let channel = remote.map_err(answer)?.connect_with_connector(connector).await.map_err(answer)?;
    let request = HealthCheckRequest { service: service.to_owned() };
    match HealthClient::new(channel).check(request).await {
        Ok(said) => match said.into_inner().status() {
            ServingStatus::Serving => Ok(()),
            other => Err(answer(format_args!("it says {}", other.as_str_name()))),
        },
        Err(status) => Err(answer(format_args!("{:?}: {}", status.code(), status.message()))),
    }
}
