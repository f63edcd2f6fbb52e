//! A discovery that does what a test tells it, over real sockets and real TLS.
//!
//! Stands in for a replica in the tests of whatever talks to one. Every stream that is opened is handed to the test;
//! stopping the replica closes its socket and cuts its connections.

use socket2::{SockRef, Socket};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::transport::server::{Connected, Server};
use tonic::{Request, Response, Status, Streaming};
use weft_identity::certificate::{Authority, Credentials, Key};
use weft_identity::rotate::Identity;
use weft_identity::tls::{Alpn, Clients, Sessions, server_config};
use weft_model::SpiffeId;
use weft_proto::v1;
use weft_proto::v1::discovery_server::{Discovery as Service, DiscoveryServer};

/// How long a test waits for what has to happen.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn discovery_id() -> SpiffeId {
    SpiffeId::new("weft.local", "weft", "weft-discovery").unwrap()
}

/// Credentials that `authority` gives to `namespace`/`account`.
pub(crate) fn credentials(authority: &Authority, namespace: &str, account: &str) -> Credentials {
    let (key, id) = (Key::generate(), SpiffeId::new("weft.local", namespace, account).unwrap());
    let signed = authority.sign(&key.csr(), &id, SystemTime::now(), Duration::from_secs(3600)).unwrap();
    Credentials::new(vec![signed.leaf], key.private(), vec![authority.certificate().clone()]).unwrap()
}

pub(crate) fn identity(authority: &Authority) -> Identity {
    Identity::new(credentials(authority, "shop", "cart"), Sessions::Resumed)
}

/// One stream, in the hands of the test.
pub(crate) struct Session {
    requests: Streaming<v1::SubscribeRequest>,
    answers: mpsc::Sender<Result<v1::SubscribeResponse, Status>>,
}

impl Session {
    /// The next request that is not a beat.
    pub async fn heard(&mut self) -> v1::subscribe_request::Body {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.requests.message()).await.expect("nothing was said");
            match next.unwrap().expect("the stream ended").body.unwrap() {
                v1::subscribe_request::Body::Beat(_) => {}
                body => return body,
            }
        }
    }

    /// Ends the stream with `status`.
    pub async fn refuse(self, status: Status) {
        self.answers.send(Err(status)).await.unwrap();
    }

    pub async fn say(&self, revision: u64, body: v1::subscribe_response::Body) {
        self.answers.send(Ok(v1::SubscribeResponse { revision, body: Some(body) })).await.unwrap();
    }
}

/// One replica.
pub(crate) struct Fake {
    pub address: SocketAddr,
    sessions: mpsc::Receiver<Session>,
    tasks: Vec<JoinHandle<()>>,
    connections: Arc<Mutex<Vec<Socket>>>,
}

impl Fake {
    /// A replica that shows `credentials`, on `address`, or on a port of its own.
    pub async fn start(credentials: &Credentials, address: Option<SocketAddr>) -> Self {
        let (opened, sessions) = mpsc::channel(16);
        let replica = Self::serving(credentials, address, Routes::new(DiscoveryServer::new(Replica { opened }))).await;
        Self { sessions, ..replica }
    }

    /// A replica whose services are those of the test; it opens no sessions.
    pub async fn serving(credentials: &Credentials, address: Option<SocketAddr>, services: Routes) -> Self {
        let listener = TcpListener::bind(address.unwrap_or(([127, 0, 0, 1], 0).into())).await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(server_config(credentials, &[Alpn::Rpc], Clients::Optional));
        let (accepted, incoming) = mpsc::channel(16);
        let connections = Arc::<Mutex<Vec<Socket>>>::default();
        let kept = connections.clone();
        let accept = async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                kept.lock().unwrap().push(SockRef::from(&stream).try_clone().unwrap());
                let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
                // A handshake that fails is the client's affair.
                if let Ok(stream) = acceptor.accept(stream).await {
                    let _ = accepted.send(Ok::<_, std::io::Error>(Io(stream))).await;
                }
            }
        };
        let serve = async move {
            let served = Server::builder().add_routes(services).serve_with_incoming(ReceiverStream::new(incoming));
            let _ = served.await;
        };
        let (_, sessions) = mpsc::channel(1);
        Self { address, sessions, tasks: vec![tokio::spawn(accept), tokio::spawn(serve)], connections }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// What a killed process leaves: nobody listens, every connection is closed.
    pub async fn stop(self) {
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
        for connection in self.connections.lock().unwrap().iter() {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// The next stream that is opened.
    pub async fn session(&mut self) -> Session {
        tokio::time::timeout(PATIENCE, self.sessions.recv()).await.expect("no stream was opened").unwrap()
    }
}

struct Replica {
    opened: mpsc::Sender<Session>,
}

#[tonic::async_trait]
impl Service for Replica {
    type SubscribeStream = ReceiverStream<Result<v1::SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<v1::SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let (answers, stream) = mpsc::channel(64);
        let session = Session { requests: request.into_inner(), answers };
        self.opened.send(session).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn register(&self, _: Request<v1::RegisterRequest>) -> Result<Response<v1::RegisterResponse>, Status> {
        Ok(Response::new(v1::RegisterResponse { lease: 1, ttl_seconds: 15, revision: 1 }))
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::HeartbeatResponse>, Status> {
        match request.into_inner().lease {
            1 => Ok(Response::new(v1::HeartbeatResponse {})),
            lease => Err(Status::not_found(format!("lease {lease}"))),
        }
    }

    async fn withdraw(&self, _: Request<v1::WithdrawRequest>) -> Result<Response<v1::WithdrawResponse>, Status> {
        Err(Status::unavailable("not now"))
    }
}

/// A TLS stream as tonic wants it.
struct Io(TlsStream<TcpStream>);

impl Connected for Io {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// An address where nobody listens.
pub(crate) async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

pub(crate) fn authority() -> Arc<Authority> {
    Arc::new(Authority::generate("weft.local").unwrap())
}
