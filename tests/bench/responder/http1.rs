//! HTTP/1.1: heads with a content-length, one prepared answer, connections kept until the client has enough.
//!
//! Whatever else arrives has no end that it could find, so the connection idles until its client leaves.

use crate::message;
use std::io::Result;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

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
        while let Some(request) = message::first(&buffer) {
            buffer.drain(..request.length);
            if request.last {
                return stream.write_all(&answers.leave).await;
            }
            stream.write_all(&answers.stay).await?;
        }
    }
}
