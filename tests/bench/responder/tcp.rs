//! Bytes: reads until the client has closed its half, then says how many there were.
//!
//! Eight bytes, big-endian, so that the client knows that all of its bytes arrived and when.

use std::io::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Large, so that this end is not what limits.
const BUFFER: usize = 256 * 1024;

pub async fn serve(listener: TcpListener) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(count(stream));
    }
}

async fn count(mut stream: TcpStream) -> Result<()> {
    let (mut buffer, mut total) = (vec![0; BUFFER], 0);
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.write_all(&u64::to_be_bytes(total)).await,
            length => total += length as u64,
        }
    }
}
