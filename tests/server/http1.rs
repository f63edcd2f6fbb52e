//! HTTP/1.1, written by hand because half of the behaviours are ones a server library would not let through.
//!
//! The first segment of the path chooses the behaviour; anything else is `/echo`, which answers with what it saw.

use crate::state::{Mood, State, pattern};
use serde_json::json;
use std::io::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use weft_tests::wire::{Body, Framing, Head, Wire};

/// Tells connections apart in what `/echo` answers.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// What becomes of the connection after a response.
enum Next {
    KeepAlive,
    Close,
}

/// Serves one connection until either side has had enough.
pub async fn serve(mut wire: Wire<TcpStream>, state: Arc<State>) -> Result<()> {
    let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    while let Some(head) = wire.head().await? {
        if head.header("upgrade").is_some() {
            return upgrade(wire, &head).await;
        }
        if head.has_token("expect", "100-continue") {
            if head.word(1).starts_with("/expect-417") {
                wire.send("HTTP/1.1 417 Expectation Failed\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await?;
                return wire.stream().shutdown().await;
            }
            wire.send("HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let body = wire.body(head.framing().unwrap_or(Framing::Length(0))).await?;
        let _slot = state.slots.acquire().await;
        tokio::time::sleep(state.delay).await;
        // What a test asks from within the pod, however the server is disposed towards others.
        let asked = head.word(1).split_once("/become/").is_some() || head.word(1).starts_with("/counted/");
        if !asked {
            state.patience().await;
        }
        match state.mood() {
            Mood::Answers(status) if !asked => {
                state.count("refused");
                respond(&mut wire, &status.to_string(), &[], b"refused").await?;
                continue;
            }
            Mood::Hangs if !asked => {
                state.count("refused");
                return std::future::pending().await;
            }
            Mood::Resets if !asked => {
                state.count("refused");
                return reset(wire.stream());
            }
            Mood::Well | Mood::Answers(_) | Mood::Hangs | Mood::Waits | Mood::Resets => {}
        }
        let asked_to_close = head.has_token("connection", "close");
        let next = answer(&mut wire, &head, &body, &state, connection).await?;
        if asked_to_close || matches!(next, Next::Close) {
            return wire.stream().shutdown().await;
        }
    }
    Ok(())
}

async fn answer(wire: &mut Wire<TcpStream>, head: &Head, body: &Body, state: &State, connection: u64) -> Result<Next> {
    let path = head.word(1).split('?').next().unwrap_or("/");
    let (behaviour, argument) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    let number = || argument.parse::<usize>().unwrap_or(0);
    if head.word(0) == "HEAD" {
        let length = if behaviour == "big" { number() } else { 0 };
        wire.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n")).await?;
        return Ok(Next::KeepAlive);
    }
    match behaviour {
        "status" => respond(wire, argument, &[], argument.as_bytes()).await?,
        "delay" => {
            tokio::time::sleep(humantime::parse_duration(argument).unwrap_or(Duration::ZERO)).await;
            respond(wire, "200", &[], state.name.as_bytes()).await?;
        }
        "become" => {
            state.become_like(argument);
            respond(wire, "200", &[], argument.as_bytes()).await?;
        }
        "healthz" | "healthz-becomes" => health(wire, behaviour, argument, state).await?,
        "retry-after" => later(wire, argument, state).await?,
        "name" => {
            state.count("named");
            let report = state.report.as_deref().map(|report| ("endpoint-load-metrics", report));
            respond(wire, "200", report.as_slice(), state.name.as_bytes()).await?;
        }
        "big" => respond(wire, "200", &[], &pattern(number())).await?,
        "sum" => {
            let sum: u64 = body.bytes.iter().map(|b| u64::from(*b)).sum();
            respond(wire, "200", &[], format!("{} {sum}", body.bytes.len()).as_bytes()).await?;
        }
        "count" => respond(wire, "200", &[], state.count(argument).to_string().as_bytes()).await?,
        "counted" => respond(wire, "200", &[], state.counted(argument).to_string().as_bytes()).await?,
        "fail-once" => {
            let status = if state.count(argument) == 1 { "503" } else { "200" };
            respond(wire, status, &[], state.name.as_bytes()).await?;
        }
        "fail-always" | "claim" => {
            state.count(argument);
            let claim = [("weft-reason", "connect-refused")];
            respond(wire, "503", if behaviour == "claim" { &claim } else { &[] }, state.name.as_bytes()).await?;
        }
        "chunked" => wire.send(chunked(&[b"one ", b"two ", b"three"], "")).await?,
        "trailers" => wire.send(chunked(&[b"counted"], "x-count: 7\r\nx-late: yes\r\n")).await?,
        "early-hints" => {
            wire.send("HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n").await?;
            respond(wire, "200", &[], b"after the hints").await?;
        }
        "close" | "until-close" | "until-left" | "hang-up" | "abort" => {
            leave(wire, behaviour, argument, state).await?;
            return Ok(Next::Close);
        }
        _ => {
            respond(wire, "200", &[("content-type", "application/json")], &seen(head, body, state, connection)).await?
        }
    }
    Ok(Next::KeepAlive)
}

/// What active checks are answered with, and what they are to be answered with from now on.
async fn health(wire: &mut Wire<TcpStream>, behaviour: &str, argument: &str, state: &State) -> Result<()> {
    if behaviour == "healthz" {
        return respond(wire, &state.health().await.to_string(), &[], b"health").await;
    }
    state.set_health(argument.parse().unwrap_or(0)).await;
    respond(wire, "200", &[], argument.as_bytes()).await
}

/// `seconds/key`: the first of a key is asked to come back later.
async fn later(wire: &mut Wire<TcpStream>, argument: &str, state: &State) -> Result<()> {
    let (seconds, key) = argument.split_once('/').unwrap_or((argument, ""));
    match state.count(key) {
        1 => respond(wire, "503", &[("retry-after", seconds)], b"not now").await,
        _ => respond(wire, "200", &[], state.name.as_bytes()).await,
    }
}

/// The last answer of a connection, or what there is in place of one.
async fn leave(wire: &mut Wire<TcpStream>, behaviour: &str, argument: &str, state: &State) -> Result<()> {
    match behaviour {
        "close" => respond(wire, "200", &[("connection", "close")], b"and gone").await,
        "until-close" => wire.send("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the very end").await,
        "hang-up" => {
            state.count(argument);
            Ok(())
        }
        // As servers do that stop working when nobody waits any more.
        "until-left" => {
            state.count(argument);
            match wire.peek(1).await {
                Ok(_) => respond(wire, "200", &[], b"ended").await,
                Err(_) => {
                    state.count(&format!("{argument}-reset"));
                    Ok(())
                }
            }
        }
        _ => {
            wire.send("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nnot nearly").await?;
            reset(wire.stream())
        }
    }
}

/// What this server saw of a request, as JSON.
fn seen(head: &Head, body: &Body, state: &State, connection: u64) -> Vec<u8> {
    let text = String::from_utf8_lossy(&body.bytes[..body.bytes.len().min(4096)]).into_owned();
    json!({
        "replica": state.name, "connection": connection, "line": head.line, "headers": head.headers,
        "body": text, "length": body.bytes.len(), "chunks": body.chunks, "trailers": body.trailers,
    })
    .to_string()
    .into_bytes()
}

async fn respond(wire: &mut Wire<TcpStream>, status: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<()> {
    let bodyless = matches!(status, "204" | "304");
    let mut head = format!("HTTP/1.1 {status} As Asked\r\n");
    headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    if !bodyless {
        head += &format!("content-length: {}\r\n", body.len());
    }
    let mut bytes = (head + "\r\n").into_bytes();
    if !bodyless {
        bytes.extend_from_slice(body);
    }
    wire.send(bytes).await
}

fn chunked(chunks: &[&[u8]], trailers: &str) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for chunk in chunks {
        bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(format!("0\r\n{trailers}\r\n").into_bytes());
    bytes
}

/// WebSocket: every message comes back. Any other protocol: every byte comes back.
async fn upgrade(mut wire: Wire<TcpStream>, head: &Head) -> Result<()> {
    let protocol = head.header("upgrade").unwrap_or("").to_owned();
    let key = head.header("sec-websocket-key").map(|key| derive_accept_key(key.as_bytes()));
    let accept = key.as_ref().map(|key| format!("sec-websocket-accept: {key}\r\n")).unwrap_or_default();
    let switch =
        format!("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n{accept}\r\n");
    wire.send(switch).await?;
    let (stream, early) = wire.into_parts();
    if key.is_some() {
        return websocket(stream, early).await;
    }
    let (mut read, mut write) = stream.into_split();
    write.write_all(&early).await?;
    tokio::io::copy(&mut read, &mut write).await?;
    write.shutdown().await
}

async fn websocket(stream: TcpStream, early: Vec<u8>) -> Result<()> {
    use futures::{SinkExt, StreamExt};
    use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
    let mut socket = WebSocketStream::from_partially_read(stream, early, Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Makes the close that follows a reset (RFC 9293 section 3.10.7.4) instead of an orderly one.
pub fn reset(stream: &TcpStream) -> Result<()> {
    stream.set_zero_linger()
}
