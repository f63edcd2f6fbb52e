//! The odd habits of TCP protocols: who speaks first, who closes which half, who hangs up.
//!
//! Each function is one connection of one port.

use std::io::Result;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Every byte comes back; closing one half closes the other.
pub async fn echo(stream: TcpStream) -> Result<()> {
    let (mut read, mut write) = stream.into_split();
    tokio::io::copy(&mut read, &mut write).await?;
    write.shutdown().await
}

/// Speaks first, as SMTP and MySQL do, then answers line by line until `QUIT`.
pub async fn banner(stream: TcpStream) -> Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 ready\r\n").await?;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        if line.trim() == "QUIT" {
            stream.write_all(b"221 bye\r\n").await?;
            break;
        }
        stream.write_all(format!("250 {line}").as_bytes()).await?;
        line.clear();
    }
    stream.shutdown().await
}

/// Says how many bytes there were, once the client has closed its half.
pub async fn count(mut stream: TcpStream) -> Result<()> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    stream.write_all(format!("{}\n", bytes.len()).as_bytes()).await?;
    stream.shutdown().await
}

/// Answers the first bytes with a reset.
pub async fn reset(mut stream: TcpStream) -> Result<()> {
    stream.read_u8().await?;
    crate::http1::reset(&stream)
}

/// Reads and never says a word.
pub async fn silent(mut stream: TcpStream) -> Result<()> {
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
}
