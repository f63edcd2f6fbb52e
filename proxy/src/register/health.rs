//! Whether the application beside this proxy works, as its configured check sees it.
//!
//! Beside the request path: it opens connections of its own to the application. One success makes healthy, several failures
//! in a row make unhealthy, so that one lost probe takes nothing out.

use crate::config::HealthCheck;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use weft_model::Port;

/// From the end of one probe to the beginning of the next.
const INTERVAL: Duration = Duration::from_secs(2);
/// Until the first success: an application that has just come up is wanted soon.
const FIRST_INTERVAL: Duration = Duration::from_millis(200);
/// For one whole probe.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Failures in a row that make unhealthy.
const FAILURES: u32 = 3;
/// `HTTP/1.1 200`.
const STATUS_LINE: usize = 12;

/// Probes for as long as anybody listens. Unhealthy at first; `addresses` are the workload's own, for applications that do
/// not listen on loopback.
pub async fn probe(check: HealthCheck, addresses: Vec<IpAddr>, health: watch::Sender<bool>) {
    let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    let addresses: Vec<IpAddr> = loopback.into_iter().chain(addresses).collect();
    let mut streak = Streak::default();
    let mut said = String::new();
    loop {
        let works = once(&check, &addresses).await;
        let why = works.as_ref().err().map(ToString::to_string).unwrap_or_default();
        if why != said {
            tracing::debug!(?check, error = why, "health check");
            said = why;
        }
        let healthy = streak.observe(works.is_ok());
        let changed = health.send_if_modified(|before| std::mem::replace(before, healthy) != healthy);
        if changed {
            tracing::info!(healthy, "the application's health changed");
        }
        let pause = if streak.ever { INTERVAL } else { FIRST_INTERVAL };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = health.closed() => return,
        }
    }
}

/// What the probes so far amount to.
#[derive(Debug, Default)]
struct Streak {
    healthy: bool,
    ever: bool,
    failures: u32,
}

impl Streak {
    fn observe(&mut self, works: bool) -> bool {
        if works {
            *self = Self { healthy: true, ever: true, failures: 0 };
        } else {
            self.failures = self.failures.saturating_add(1);
            self.healthy &= self.failures < FAILURES;
        }
        self.healthy
    }
}

/// One probe: of the addresses, the first that accepts a connection.
async fn once(check: &HealthCheck, addresses: &[IpAddr]) -> io::Result<()> {
    let probe = async {
        match check {
            HealthCheck::Tcp(port) => dial(addresses, *port).await.map(drop),
            HealthCheck::Http { port, path } => get(dial(addresses, *port).await?, path).await,
        }
    };
    tokio::time::timeout(TIMEOUT, probe).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn dial(addresses: &[IpAddr], port: Port) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for address in addresses {
        match TcpStream::connect(SocketAddr::new(*address, port.get())).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn get(mut stream: TcpStream, path: &str) -> io::Result<()> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {}\r\nuser-agent: weft-proxy/{}\r\nconnection: close\r\n\r\n",
        stream.peer_addr()?,
        env!("CARGO_PKG_VERSION")
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = [0u8; STATUS_LINE];
    stream.read_exact(&mut head).await?;
    match &head {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', _, b' ', b'2' | b'3', _, _] => Ok(()),
        _ => Err(io::Error::other(format!("it answered {:?}", String::from_utf8_lossy(&head)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn answering(head: &'static str) -> Port {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = Port::new(listener.local_addr().unwrap().port()).unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0u8; 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(head.as_bytes()).await;
            }
        });
        port
    }

    fn http(port: Port) -> HealthCheck {
        HealthCheck::Http { port, path: "/healthz".to_owned() }
    }

    #[tokio::test]
    async fn only_good_answers_are_health() {
        let own = [IpAddr::from(Ipv4Addr::LOCALHOST)];
        let good = answering("HTTP/1.1 204 No Content\r\n\r\n").await;
        once(&http(good), &own).await.unwrap();
        once(&HealthCheck::Tcp(good), &own).await.unwrap();
        for bad in ["HTTP/1.1 503 Service Unavailable\r\n\r\n", "HTTP/1.1", "SSH-2.0-OpenSSH_9.2\r\n", ""] {
            assert!(once(&http(answering(bad).await), &own).await.is_err(), "{bad}");
        }
    }

    #[test]
    fn one_success_makes_healthy_and_three_failures_in_a_row_unhealthy() {
        let mut streak = Streak::default();
        let seen: Vec<bool> = [false, true, false, false, true, false, false, false, false, true]
            .map(|works| streak.observe(works))
            .into();
        assert_eq!(seen, [false, true, true, true, true, true, true, false, false, true]);
    }

    #[tokio::test]
    async fn changes_are_published_until_nobody_listens() {
        let port = answering("HTTP/1.1 200 OK\r\n\r\n").await;
        let (sender, mut health) = watch::channel(false);
        let probing = tokio::spawn(probe(http(port), vec![], sender));
        health.wait_for(|healthy| *healthy).await.unwrap();
        drop(health);
        tokio::time::timeout(Duration::from_secs(10), probing).await.unwrap().unwrap();
    }
}
