//! The server that is loaded: answers every request with the same bytes, as cheaply as it can.
//!
//! So cheap that the proxies are what is measured. Understands what the load generator sends (heads with a content-length) and
//! closes a connection on anything else.

use crate::scenario::Scenario;
use anyhow::Context;
use std::io::Result;
use std::net::Ipv6Addr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use weft_examples::pods::Program;

/// Where it listens.
pub const PORT: u16 = 8080;

/// This program in this role, as `scenario` asks for it.
pub fn program(scenario: &Scenario) -> anyhow::Result<Program> {
    let own = std::env::current_exe().context("find this program")?;
    let (port, body) = (PORT.to_string(), scenario.response_body.to_string());
    Ok(Program::new(own).label("responder").args(["respond", "--port", &port, "--body", &body]))
}

/// Serves until it is killed.
pub fn run(port: u16, body: usize) -> anyhow::Result<()> {
    let mut response = format!("HTTP/1.1 200 OK\r\ncontent-length: {body}\r\n\r\n").into_bytes();
    response.resize(response.len() + body, b'x');
    let response: &'static [u8] = response.leak();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await?;
        println!("the responder is ready");
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve(stream, response));
        }
    })
}

async fn serve(mut stream: TcpStream, response: &'static [u8]) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(4096);
    loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        while let Some(length) = request_length(&buffer) {
            buffer.drain(..length);
            stream.write_all(response).await?;
        }
    }
}

/// The length of the first request in `bytes`, if all of it is there.
fn request_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).ok()?;
    let length = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    };
    let total = head + text.lines().find_map(length).unwrap_or(0);
    (bytes.len() >= total).then_some(total)
}
