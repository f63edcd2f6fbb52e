//! HTTP/1.1: heads with a content-length, prepared answers, connections kept until the client has enough.
//!
//! Whatever else arrives has no end that it could find, so the connection idles until its client leaves. Large bodies are thrown
//! away as they come, and answered with as much.

use crate::load::large;
use crate::message;
use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Requests up to this size are waited for as a whole.
const SMALL: usize = 64 * 1024;
/// Large, so that this end is not what limits.
const CHUNK: usize = 256 * 1024;

/// What is sent on a connection that stays, and on one that ends.
struct Answers {
    stay: Vec<u8>,
    leave: Vec<u8>,
}

pub async fn serve(listener: TcpListener, body: &'static [u8]) -> Result<()> {
    let answer = |more: &str| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{more}\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    let answers = Arc::new(Answers { stay: answer(""), leave: answer("connection: close\r\n") });
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(converse(stream, Arc::clone(&answers)));
    }
}

async fn converse(mut stream: TcpStream, answers: Arc<Answers>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        while let Some(request) = message::head(&buffer) {
            let whole = request.length + request.body;
            if whole > SMALL {
                discard(&mut stream, whole.saturating_sub(buffer.len())).await?;
                answer_large(&mut stream).await?;
                buffer.clear();
                continue;
            }
            if buffer.len() < whole {
                break;
            }
            buffer.drain(..whole);
            if request.last {
                return stream.write_all(&answers.leave).await;
            }
            stream.write_all(&answers.stay).await?;
        }
    }
}

async fn discard(stream: &mut TcpStream, mut missing: usize) -> Result<()> {
    let mut chunk = vec![0; CHUNK.min(missing)];
    while missing > 0 {
        let most = missing.min(chunk.len());
        match stream.read(&mut chunk[..most]).await? {
            0 => return Err(Error::from(ErrorKind::UnexpectedEof)),
            length => missing -= length,
        }
    }
    Ok(())
}

async fn answer_large(stream: &mut TcpStream) -> Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", large::BODY);
    stream.write_all(head.as_bytes()).await?;
    let chunk = vec![b'x'; CHUNK];
    for _ in 0..large::BODY / CHUNK {
        stream.write_all(&chunk).await?;
    }
    Ok(())
}
