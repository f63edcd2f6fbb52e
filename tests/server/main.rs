//! The server that end-to-end tests call: HTTP of both versions, gRPC, and the odd habits of TCP protocols.
//!
//! Runs as an application in a pod and knows nothing of the mesh. Every behaviour has a port or a path of its own (see the
//! table in `weft_tests::ports`), so that one process serves a whole suite. A client's mistake ends that connection only.

mod state;
mod http1;
mod http2;
mod grpc;
mod tcp;
mod tls;

use anyhow::Context;
use clap::Parser;
use state::State;
use std::future::Future;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use weft_tests::ports;
use weft_tests::wire::Wire;

/// The end-to-end tests' server.
#[derive(Debug, Parser)]
#[command(name = "weft-test-server")]
struct Flags {
    /// The name it answers with
    #[arg(long)]
    name: String,
    /// Every HTTP response waits this long first
    #[arg(long, default_value = "0ms", value_parser = humantime::parse_duration)]
    delay: Duration,
    /// Every HTTP/1.1 request is answered with this status, at once
    #[arg(long)]
    refuse: Option<u16>,
    /// What every answer says in `endpoint-load-metrics`; with HTTP/2 in the trailers
    #[arg(long)]
    report: Option<String>,
    /// HTTP/1.1 requests that are worked on at once; the others queue
    #[arg(long, default_value_t = 1_000_000)]
    slots: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
    let state = Arc::new(State::new(flags.name, flags.delay, flags.refuse, flags.slots, flags.report, reporter));
    let http = state.clone();
    serve(ports::HTTP, move |stream| web(stream, http.clone())).await?;
    serve(ports::ECHO, tcp::echo).await?;
    serve(ports::BANNER, tcp::banner).await?;
    serve(ports::COUNT, tcp::count).await?;
    serve(ports::RESET, tcp::reset).await?;
    serve(ports::SILENT, tcp::silent).await?;
    let tls = tls::acceptor(&state.name)?;
    serve(ports::TLS, move |stream| tls::echo(stream, tls.clone())).await?;
    if std::process::id() == 1 {
        end_on_sigterm()?;
    }
    let grpc = bind(ports::GRPC).await?;
    println!("{} is ready", state.name);
    grpc::serve(grpc, state, health).await
}

/// The first process of a container is not ended by a signal that it does not handle, and its pod would wait for it in vain.
fn end_on_sigterm() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::spawn(async move {
        terminate.recv().await;
        std::process::exit(0)
    });
    Ok(())
}

async fn bind(port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await.with_context(|| format!("listen on {port}"))
}

/// Accepts on `port` for as long as the process lives; a connection that fails is its client's affair.
async fn serve<F, T>(port: u16, talk: F) -> anyhow::Result<()>
where
    F: Fn(TcpStream) -> T + Send + Sync + 'static,
    T: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let listener = bind(port).await?;
    tokio::spawn(async move {
        loop {
            // Out of file descriptors or a client that left already: the next one may fare better.
            let Ok((stream, _)) = listener.accept().await else { continue };
            if stream.set_nodelay(true).is_ok() {
                tokio::spawn(talk(stream));
            }
        }
    });
    Ok(())
}

/// HTTP/2 when the client starts with its preface, HTTP/1.1 otherwise.
async fn web(stream: TcpStream, state: Arc<State>) -> std::io::Result<()> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0";
    let mut wire = Wire::new(stream);
    let mut seen = 1;
    loop {
        let start = wire.peek(seen).await?;
        let enough = start.len() >= PREFACE.len() || start.len() < seen;
        if !PREFACE.starts_with(&start[..start.len().min(PREFACE.len())]) {
            return http1::serve(wire, state).await;
        }
        if enough {
            break;
        }
        seen = start.len() + 1;
    }
    http2::serve(wire, state).await
}
