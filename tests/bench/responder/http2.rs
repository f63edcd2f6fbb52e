//! HTTP/2 with prior knowledge: reads each request to its end, then answers it. A gRPC stream gets back what it sends, as it comes.
//!
//! A connection that breaks the protocol is closed by the h2 crate; the others go on.

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use std::io::Result;
use tokio::net::{TcpListener, TcpStream};

const GRPC: &str = "application/grpc";

pub async fn serve(listener: TcpListener, body: &'static [u8]) -> Result<()> {
    let body = Bytes::from_static(body);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(converse(stream, body.clone()));
    }
}

async fn converse(stream: TcpStream, body: Bytes) -> std::result::Result<(), h2::Error> {
    // Without it answers would wait for acknowledgements; a socket that refuses is gone anyway.
    let _ = stream.set_nodelay(true);
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(request) = connection.accept().await {
        let (request, answer) = request?;
        tokio::spawn(respond(request, answer, body.clone()));
    }
    Ok(())
}

async fn respond(
    request: Request<RecvStream>,
    mut answer: SendResponse<Bytes>,
    body: Bytes,
) -> std::result::Result<(), h2::Error> {
    if request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(GRPC.as_bytes())) {
        return echo(request.into_body(), answer).await;
    }
    let mut received = request.into_body();
    while let Some(data) = received.data().await {
        let length = data?.len();
        received.flow_control().release_capacity(length)?;
    }
    answer.send_response(Response::new(()), false)?.send_data(body, true)
}

/// What waits to be sent is bounded by what the client has under way.
async fn echo(mut received: RecvStream, mut answer: SendResponse<Bytes>) -> std::result::Result<(), h2::Error> {
    let mut head = Response::new(());
    head.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
    let mut sending = answer.send_response(head, false)?;
    while let Some(data) = received.data().await {
        let data = data?;
        received.flow_control().release_capacity(data.len())?;
        // The frame that ends a stream may be empty. Empty ones that end nothing are counted by those who fear floods (Envoy
        // allows one in a row, the h2 crate a hundred in a connection's life).
        if !data.is_empty() {
            sending.send_data(data, false)?;
        }
    }
    sending
        .send_trailers(HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]))
}
