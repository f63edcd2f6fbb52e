//! The part of a kubelet that forwards ports, and nothing else of it: the API server dials it as it dials a real one.
//!
//! A Node is registered with its address; whatever pod of that node is meant, its port is one on loopback of the API server's own
//! node. Speaks the WebSocket form (`v4.channel.k8s.io`): channel 0 carries data, channel 1 why there is none. Ends when it is
//! dropped.

use super::Api;
use anyhow::Context;
use futures::{SinkExt, StreamExt};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams, PostParams};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use weft_examples::pods::Pod;

const PROTOCOL: &str = "v4.channel.k8s.io";
const DATA: u8 = 0;
const ERROR: u8 = 1;

/// One that runs.
pub struct Kubelet(JoinHandle<()>);

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Api {
    /// Registers the node `name` and forwards the ports of its pods. Belongs to the runtime in which it is made.
    pub async fn kubelet(&self, name: &str) -> anyhow::Result<Kubelet> {
        let address = self.node().ip();
        let listener = self.node().within(|| std::net::TcpListener::bind((address, 0)))??;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let nodes = kube::Api::<Node>::all(self.client().await?);
        let node = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
        nodes.create(&PostParams::default(), &node).await.with_context(|| format!("node {name}"))?;
        let status = json!({ "status": {
            "addresses": [{ "type": "InternalIP", "address": address }],
            "daemonEndpoints": { "kubeletEndpoint": { "Port": port } },
        }});
        let status = Patch::Merge(status);
        nodes.patch_status(name, &PatchParams::default(), &status).await.with_context(|| format!("node {name}"))?;
        let (listener, acceptor, pod) = (TcpListener::from_std(listener)?, acceptor()?, self.node().clone());
        Ok(Kubelet(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, pod) = (acceptor.clone(), pod.clone());
                // What goes wrong is the caller's to notice: its connection ends.
                tokio::spawn(async move { forward(stream, acceptor, &pod).await });
            }
        })))
    }
}

/// The API server does not ask who signed it, unless it is told to.
fn acceptor() -> anyhow::Result<TlsAcceptor> {
    let made = rcgen::generate_simple_self_signed(vec!["kubelet".to_owned()])?;
    let key = made.signing_key.serialize_der();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key).map_err(anyhow::Error::msg)?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn forward(stream: TcpStream, acceptor: TlsAcceptor, pod: &Pod) -> anyhow::Result<()> {
    let mut asked = String::new();
    // What a handshake is refused with is the library's own type.
    #[allow(clippy::result_large_err)]
    let answer = |request: &Request, mut response: Response| {
        asked = request.uri().query().unwrap_or_default().to_owned();
        response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(PROTOCOL));
        Ok(response)
    };
    let mut socket = tokio_tungstenite::accept_hdr_async(acceptor.accept(stream).await?, answer).await?;
    let port = asked.split('&').find_map(|pair| pair.strip_prefix("port=")).context("no port")?;
    let port: u16 = port.parse()?;
    let [low, high] = port.to_le_bytes();
    for channel in [DATA, ERROR] {
        socket.send(Message::binary(vec![channel, low, high])).await?;
    }
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match pod.within(|| std::net::TcpStream::connect(to))? {
        Ok(stream) => {
            stream.set_nonblocking(true)?;
            carry(&mut socket, TcpStream::from_std(stream)?).await?;
        }
        Err(error) => socket.send(Message::binary([&[ERROR], error.to_string().as_bytes()].concat())).await?,
    }
    socket.close(None).await?;
    Ok(())
}

async fn carry<S>(socket: &mut WebSocketStream<S>, mut stream: TcpStream) -> anyhow::Result<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut bytes = vec![0; 16 * 1024];
    loop {
        tokio::select! {
            read = stream.read(&mut bytes) => match read? {
                0 => return Ok(()),
                count => socket.send(Message::binary([&[DATA], &bytes[..count]].concat())).await?,
            },
            message = socket.next() => match message.transpose()? {
                Some(Message::Binary(frame)) if frame.first() == Some(&DATA) => stream.write_all(&frame[1..]).await?,
                Some(Message::Close(_)) | None => return Ok(()),
                Some(_) => {}
            },
        }
    }
}
