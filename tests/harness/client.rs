//! Clients inside a pod that show what a program like curl hides: single connections, interim responses, resets, timing.
//!
//! A connection is opened in the pod's network and used from here. Every wait is bounded by [`PATIENCE`]; running out of it is
//! an error of kind `TimedOut`, which is how a hang shows.

use crate::grpc::echo_client::EchoClient;
use crate::wire::{Body, Framing, Head, Wire};
use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint, Uri};
use weft_examples::pods::Pod;

/// How long a client waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Fails instead of waiting for ever.
pub async fn patiently<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let late = || Error::new(ErrorKind::TimedOut, format!("waited {PATIENCE:?} for {what}"));
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(late()))
}

/// A TCP connection from inside `pod`.
pub fn dial(pod: &Pod, to: SocketAddr) -> Result<TcpStream> {
    let stream = pod.within(|| std::net::TcpStream::connect_timeout(&to, PATIENCE))??;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    TcpStream::from_std(stream)
}

/// Dials and converses.
///
/// In one, for a connection that is reset at once can show its reset while it is being opened, or later: to the caller both are
/// the same error.
pub async fn exchange(pod: &Pod, to: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    converse(dial(pod, to)?, bytes).await
}

/// Sends `bytes`, closes this half and reads all that comes back.
pub async fn converse(mut stream: TcpStream, bytes: &[u8]) -> Result<Vec<u8>> {
    patiently("the other side to close", async {
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(answer)
    })
    .await
}

/// One HTTP/1.1 connection.
pub struct Http1 {
    wire: Wire<TcpStream>,
}

/// An HTTP/1.1 response with all that came before and after it.
#[derive(Debug)]
pub struct Response1 {
    /// 1xx responses that came first.
    pub interim: Vec<Head>,
    pub head: Head,
    pub body: Body,
}

impl Response1 {
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body.bytes).into_owned()
    }

    /// What `/echo` saw.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_slice(&self.body.bytes).map_err(|e| anyhow::anyhow!("{e}: {}", self.text()))
    }
}

impl Http1 {
    pub fn dial(pod: &Pod, to: SocketAddr) -> Result<Self> {
        Ok(Self { wire: Wire::new(dial(pod, to)?) })
    }

    /// GET on this connection, which stays open if the other side agrees.
    pub async fn get(&mut self, path: &str) -> Result<Response1> {
        self.request(&format!("GET {path} HTTP/1.1\r\nhost: echo\r\n\r\n")).await
    }

    /// Sends `request` as it is and reads a response to it.
    pub async fn request(&mut self, request: impl AsRef<[u8]>) -> Result<Response1> {
        self.send(&request).await?;
        let bodyless = request.as_ref().starts_with(b"HEAD ");
        self.response(bodyless).await
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        patiently("the other side to read", self.wire.send(bytes)).await
    }

    /// Reads one response; `bodyless` after HEAD.
    pub async fn response(&mut self, bodyless: bool) -> Result<Response1> {
        patiently("a response", async {
            let mut interim = vec![];
            loop {
                let head = self.wire.head().await?.ok_or_else(|| Error::from(ErrorKind::UnexpectedEof))?;
                match head.status() {
                    101 => return Ok(Response1 { interim, head, body: Body::default() }),
                    100..=199 => interim.push(head),
                    204 | 304 => return Ok(Response1 { interim, head, body: Body::default() }),
                    _ if bodyless => return Ok(Response1 { interim, head, body: Body::default() }),
                    _ => {
                        let framing = head.framing().unwrap_or(Framing::UntilClose);
                        let body = self.wire.body(framing).await?;
                        return Ok(Response1 { interim, head, body });
                    }
                }
            }
        })
        .await
    }

    /// Whether the other side closes in an orderly way without sending more.
    pub async fn is_closed(&mut self) -> Result<bool> {
        patiently("the other side to close", async { Ok(self.wire.peek(1).await?.is_empty()) }).await
    }

    /// Says that nothing more will be sent; answers can still be read.
    pub async fn end(&mut self) -> Result<()> {
        self.wire.stream().shutdown().await
    }

    /// Leaves at once, without an orderly end.
    pub fn reset(mut self) -> Result<()> {
        self.wire.stream().set_zero_linger()
    }

    /// The stream behind an upgraded connection, and what came with the last head.
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        self.wire.into_parts()
    }
}

/// One HTTP/2 connection with prior knowledge.
#[derive(Clone)]
pub struct Http2 {
    send: SendRequest<Bytes>,
    authority: String,
}

/// An HTTP/2 response.
#[derive(Debug)]
pub struct Response2 {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

impl Response2 {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_slice(&self.body).map_err(|e| anyhow::anyhow!("{e}: {}", self.text()))
    }
}

impl Http2 {
    pub async fn dial(pod: &Pod, to: SocketAddr) -> Result<Self> {
        let handshake = h2::client::handshake(dial(pod, to)?);
        let (send, connection) = patiently("an HTTP/2 handshake", async { handshake.await.map_err(other) }).await?;
        tokio::spawn(connection);
        Ok(Self { send, authority: "echo".to_owned() })
    }

    pub async fn get(&self, path: &str) -> std::result::Result<Response2, h2::Error> {
        self.call(Method::GET, path, Bytes::new(), None).await
    }

    /// One request with all of its body, and trailers if given.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        trailers: Option<HeaderMap>,
    ) -> std::result::Result<Response2, h2::Error> {
        let uri = format!("http://{}{path}", self.authority);
        let request = Request::builder().method(method).uri(uri).body(()).expect("the test's own request is valid");
        self.send(request, body, trailers).await
    }

    /// As [`Self::call`], with a head of the caller's own.
    pub async fn send(
        &self,
        request: Request<()>,
        body: Bytes,
        trailers: Option<HeaderMap>,
    ) -> std::result::Result<Response2, h2::Error> {
        let mut ready = self.send.clone().ready().await?;
        let end = body.is_empty() && trailers.is_none();
        let (response, mut stream) = ready.send_request(request, end)?;
        let sending = async {
            if !end {
                send_all(&mut stream, body, trailers.is_none()).await?;
                trailers.map_or(Ok(()), |trailers| stream.send_trailers(trailers))?;
            }
            Ok::<_, h2::Error>(())
        };
        let receiving = async {
            let (head, body) = response.await?.into_parts();
            let (body, trailers) = receive_all(body).await?;
            Ok(Response2 { status: head.status, headers: head.headers, body, trailers })
        };
        let both = futures::future::join(sending, receiving);
        // The server may answer before it has read everything; only its answer counts.
        let (_, received) = tokio::time::timeout(PATIENCE, both).await.map_err(|_| late())?;
        received
    }

    /// Opens a stream in both directions.
    pub async fn open(
        &self,
        path: &str,
    ) -> std::result::Result<(h2::client::ResponseFuture, h2::SendStream<Bytes>), h2::Error> {
        let uri = format!("http://{}{path}", self.authority);
        let request = Request::builder().method("POST").uri(uri).body(()).expect("the test's own request is valid");
        self.send.clone().ready().await?.send_request(request, false)
    }
}

async fn send_all(
    stream: &mut h2::SendStream<Bytes>,
    mut bytes: Bytes,
    end: bool,
) -> std::result::Result<(), h2::Error> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let Some(granted) = futures::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return Ok(()) };
        let piece = bytes.split_to(granted?.min(bytes.len()));
        stream.send_data(piece, end && bytes.is_empty())?;
    }
    Ok(())
}

async fn receive_all(mut body: h2::RecvStream) -> std::result::Result<(Vec<u8>, HeaderMap), h2::Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        bytes.extend_from_slice(&piece);
    }
    Ok((bytes, body.trailers().await?.unwrap_or_default()))
}

/// A gRPC client of the test service.
pub async fn grpc(pod: &Pod, to: SocketAddr) -> anyhow::Result<EchoClient<Channel>> {
    let pod = pod.clone();
    let connect = tower::service_fn(move |_: Uri| {
        let connected = dial(&pod, to).map(TokioIo::new);
        async move { connected }
    });
    let channel = Endpoint::from_static("http://echo").timeout(PATIENCE).connect_with_connector(connect).await?;
    Ok(EchoClient::new(channel))
}

fn other(error: h2::Error) -> Error {
    Error::other(error)
}

fn late() -> h2::Error {
    h2::Error::from(h2::Reason::CANCEL)
}
