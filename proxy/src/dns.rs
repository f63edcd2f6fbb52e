//! The pod's name server: answers mesh names from the catalog, and hands every other query on, unchanged.
//!
//! Beside the request path, on the control runtime; the redirect leads the pod's queries here. Over UDP and TCP. What is
//! malformed is answered FORMERR or dropped, and counted; what is too much at once is dropped, as a name server's
//! clients expect.

mod answer;
mod forward;

use crate::catalog::{Answer, Catalog};
use crate::config::Config;
use answer::{Asked, Found, Verdict};
use forward::Upstreams;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use weft_telemetry::metrics::Registry;

/// Queries being answered at once; more are dropped.
const IN_FLIGHT: usize = 1024;
/// A TCP client that asks nothing for this long is gone.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// The largest UDP query anybody sends (RFC 6891 section 6.2.5 recommends 4096).
const MAX_QUERY: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: &'static str,
    result: &'static str,
}

/// The name server, bound and not yet running.
#[derive(Debug)]
pub struct Server {
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    resolver: Arc<Resolver>,
}

#[derive(Debug)]
struct Resolver {
    catalog: Catalog,
    domain: String,
    upstreams: Upstreams,
    queries: Family<Labels, Counter>,
    in_flight: Arc<Semaphore>,
}

/// How a query came, which bounds how long its answer may be and how it is handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

impl Server {
    /// Binds the DNS port on loopback, in both families where the machine has them. `None`: DNS is off.
    pub fn bind(config: &Config, catalog: Catalog, registry: &mut Registry) -> io::Result<Option<Self>> {
        let queries = Family::default();
        registry.register("dns_queries", "DNS queries by who answers them and how", queries.clone());
        if config.dns_port == 0 {
            return Ok(None);
        }
        let (mut udp, mut tcp) = (Vec::new(), Vec::new());
        for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            let address = SocketAddr::new(address, config.dns_port);
            match std::net::UdpSocket::bind(address).and_then(|u| Ok((u, std::net::TcpListener::bind(address)?))) {
                Ok((u, t)) => {
                    u.set_nonblocking(true)?;
                    t.set_nonblocking(true)?;
                    udp.push(UdpSocket::from_std(u)?);
                    tcp.push(TcpListener::from_std(t)?);
                }
                // A machine without IPv6.
                Err(error) if address.is_ipv6() && error.kind() == io::ErrorKind::AddrNotAvailable => {}
                Err(error) => return Err(io::Error::new(error.kind(), format!("listening on {address}: {error}"))),
            }
        }
        let own = |server: &SocketAddr| server.ip().is_loopback() && server.port() == config.dns_port;
        let upstreams = config.upstream_dns.iter().copied().filter(|server| !own(server)).collect();
        let resolver = Arc::new(Resolver {
            catalog,
            domain: config.domain.clone(),
            upstreams: Upstreams(upstreams),
            queries,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT)),
        });
        Ok(Some(Self { udp, tcp, resolver }))
    }

    /// Answers until dropped.
    pub async fn run(self) {
        let mut tasks = tokio::task::JoinSet::new();
        for socket in self.udp {
            tasks.spawn(over_udp(Arc::new(socket), Arc::clone(&self.resolver)));
        }
        for listener in self.tcp {
            tasks.spawn(over_tcp(listener, Arc::clone(&self.resolver)));
        }
        tasks.join_all().await;
    }
}

async fn over_udp(socket: Arc<UdpSocket>, resolver: Arc<Resolver>) {
    let mut buffer = vec![0; MAX_QUERY];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            // An earlier answer that could not be delivered is reported here.
            continue;
        };
        let Ok(permit) = Arc::clone(&resolver.in_flight).try_acquire_owned() else {
            resolver.count("any", "dropped");
            continue;
        };
        let (query, socket, resolver) = (buffer[..length].to_vec(), Arc::clone(&socket), Arc::clone(&resolver));
        tokio::spawn(async move {
            if let Some(answer) = resolver.resolve(&query, Transport::Udp).await {
                // The client may have gone.
                let _ = socket.send_to(&answer, client).await;
            }
            drop(permit);
        });
    }
}

async fn over_tcp(listener: TcpListener, resolver: Arc<Resolver>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&resolver.in_flight).try_acquire_owned() else {
            resolver.count("any", "dropped");
            continue;
        };
        let resolver = Arc::clone(&resolver);
        tokio::spawn(async move {
            // Ends with the client's connection, whichever way that ends.
            let _ = conversation(stream, &resolver).await;
            drop(permit);
        });
    }
}

/// Queries with their lengths before them, one after another (RFC 7766).
async fn conversation(mut stream: TcpStream, resolver: &Resolver) -> io::Result<()> {
    loop {
        let Ok(length) = timeout(TCP_IDLE, stream.read_u16()).await else { return Ok(()) };
        let mut query = vec![0; usize::from(length?)];
        timeout(TCP_IDLE, stream.read_exact(&mut query)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let Some(answer) = resolver.resolve(&query, Transport::Tcp).await else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        stream.write_all(&[&length.to_be_bytes()[..], &answer].concat()).await?;
    }
}

impl Resolver {
    /// The answer to `query`, or `None` when it deserves none.
    async fn resolve(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        match answer::judge(query, &self.domain) {
            Verdict::Drop => {
                self.count("malformed", "dropped");
                None
            }
            Verdict::Malformed(answer) => {
                self.count("malformed", "formerr");
                Some(answer)
            }
            Verdict::Nowhere(answer) => {
                self.count("mesh", "nxdomain");
                Some(answer)
            }
            Verdict::Forward => self.forward(query, transport).await,
            Verdict::Mesh(asked) => self.mesh(query, transport, &asked).await,
        }
    }

    async fn mesh(&self, query: &[u8], transport: Transport, asked: &Asked) -> Option<Vec<u8>> {
        let (found, result) = match self.catalog.lookup(&asked.service).await {
            Answer::Known(known) => (answer::find(asked, &known.view), "answered"),
            // Not the mesh's after all: whoever else serves the cluster's names may know it.
            Answer::Absent if !self.upstreams.0.is_empty() => return self.forward(query, transport).await,
            Answer::Absent => (Found::NoName, "nxdomain"),
            Answer::Unanswered => (Found::Unknown, "servfail"),
        };
        self.count("mesh", if matches!(found, Found::NoName) { "nxdomain" } else { result });
        answer::write(asked, &found, transport)
    }

    async fn forward(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        match self.upstreams.ask(query, transport).await {
            Some(answer) => {
                self.count("forwarded", "answered");
                Some(answer)
            }
            None => {
                self.count("forwarded", "failed");
                answer::refuse(query)
            }
        }
    }

    fn count(&self, kind: &'static str, result: &'static str) {
        self.queries.get_or_create(&Labels { kind, result }).inc();
    }
}

#[cfg(test)]
#[path = "dns/tests.rs"]
mod tests;
