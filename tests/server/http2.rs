//! HTTP/2 with prior knowledge: the behaviours that make sense there, chosen by path as in HTTP/1.1.
//!
//! Written on `h2` itself, so that resets, trailers and GOAWAY are exactly what a test asked for.

use crate::state::{State, pattern};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use serde_json::json;
use std::io::{Cursor, Error, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use weft_tests::wire::Wire;

pub async fn serve(wire: Wire<TcpStream>, state: Arc<State>) -> Result<()> {
    let (stream, early) = wire.into_parts();
    let (read, write) = stream.into_split();
    let stream = tokio::io::join(Cursor::new(early).chain(read), write);
    let mut settings = h2::server::Builder::new();
    // As few as many servers allow (nginx: 128, Go: 250, Envoy: 100).
    let handshake = settings.max_concurrent_streams(100).handshake(stream);
    let mut connection = handshake.await.map_err(Error::other)?;
    while let Some(accepted) = connection.accept().await {
        let (request, reply) = accepted.map_err(Error::other)?;
        if request.uri().path() == "/goaway" {
            connection.graceful_shutdown();
        }
        tokio::spawn(answer(request, reply, state.clone()));
    }
    Ok(())
}

async fn answer(request: Request<RecvStream>, mut reply: SendResponse<Bytes>, state: Arc<State>) -> Result<()> {
    let (head, mut body) = request.into_parts();
    tokio::time::sleep(state.delay).await;
    let path = head.uri.path().to_owned();
    let (behaviour, argument) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    match behaviour {
        "reset" => {
            reply.send_reset(Reason::INTERNAL_ERROR);
            return Ok(());
        }
        "refuse" => {
            let reason = if state.count(argument) == 1 { Reason::REFUSED_STREAM } else { Reason::NO_ERROR };
            if reason == Reason::REFUSED_STREAM {
                reply.send_reset(reason);
                return Ok(());
            }
        }
        "pipe" => return pipe(body, reply).await,
        _ => {}
    }
    let received = whole(&mut body).await?;
    let trailers_in = body.trailers().await.map_err(Error::other)?.unwrap_or_default();
    let number = || argument.parse::<usize>().unwrap_or(0);
    let mut status = 200;
    let mut trailers = None;
    let answer = match behaviour {
        "status" => {
            status = argument.parse().unwrap_or(500);
            argument.as_bytes().to_vec()
        }
        "delay" => {
            tokio::time::sleep(humantime::parse_duration(argument).unwrap_or(Duration::ZERO)).await;
            state.name.clone().into_bytes()
        }
        "name" | "goaway" | "refuse" => {
            let report = state.report.as_deref().and_then(|report| HeaderValue::from_str(report).ok());
            trailers =
                report.map(|report| HeaderMap::from_iter([("endpoint-load-metrics".parse().expect("a name"), report)]));
            state.name.clone().into_bytes()
        }
        "big" => pattern(number()),
        "sum" => {
            let sum: u64 = received.iter().map(|b| u64::from(*b)).sum();
            format!("{} {sum}", received.len()).into_bytes()
        }
        "trailers" => {
            trailers = Some(HeaderMap::from_iter([("x-count".parse().expect("a name"), HeaderValue::from(7))]));
            b"counted".to_vec()
        }
        _ => seen(&head, &received, &trailers_in, &state),
    };
    let response = Response::builder().status(status).body(()).map_err(Error::other)?;
    let mut send = reply.send_response(response, false).map_err(Error::other)?;
    send_all(&mut send, answer.into(), trailers.is_none()).await?;
    trailers.map_or(Ok(()), |trailers| send.send_trailers(trailers).map_err(Error::other))
}

/// The request's body to its end.
async fn whole(body: &mut RecvStream) -> Result<Vec<u8>> {
    let mut received = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(Error::other)?;
        body.flow_control().release_capacity(piece.len()).map_err(Error::other)?;
        received.extend_from_slice(&piece);
    }
    Ok(received)
}

/// Every piece of the request's body goes back as it comes.
async fn pipe(mut body: RecvStream, mut reply: SendResponse<Bytes>) -> Result<()> {
    let mut send = reply.send_response(Response::new(()), false).map_err(Error::other)?;
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(Error::other)?;
        body.flow_control().release_capacity(piece.len()).map_err(Error::other)?;
        send_all(&mut send, piece, false).await?;
    }
    send.send_data(Bytes::new(), true).map_err(Error::other)
}

async fn send_all(send: &mut h2::SendStream<Bytes>, mut bytes: Bytes, end: bool) -> Result<()> {
    while !bytes.is_empty() {
        send.reserve_capacity(bytes.len());
        let granted = futures::future::poll_fn(|cx| send.poll_capacity(cx)).await;
        let granted = granted.ok_or_else(|| Error::other("the stream is gone"))?.map_err(Error::other)?;
        let piece = bytes.split_to(granted.min(bytes.len()));
        send.send_data(piece, end && bytes.is_empty()).map_err(Error::other)?;
        if bytes.is_empty() {
            return Ok(());
        }
    }
    if end { send.send_data(Bytes::new(), true).map_err(Error::other) } else { Ok(()) }
}

fn seen(head: &http::request::Parts, body: &[u8], trailers: &HeaderMap, state: &State) -> Vec<u8> {
    let pairs = |map: &HeaderMap| -> Vec<(String, String)> {
        map.iter().map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect()
    };
    json!({
        "replica": state.name, "method": head.method.as_str(), "path": head.uri.path(), "query": head.uri.query(),
        "authority": head.uri.authority().map(|a| a.as_str()), "headers": pairs(&head.headers),
        "body": String::from_utf8_lossy(&body[..body.len().min(4096)]), "length": body.len(), "trailers": pairs(trailers),
    })
    .to_string()
    .into_bytes()
}
