//! The pod's name server: answers mesh names from the catalog, and hands every other query on, unchanged.
//!
//! Beside the request path, on the control runtime; the redirect leads the pod's queries here. Over UDP and TCP. What is
//! malformed is answered FORMERR or dropped, and counted; what is too much at once is dropped, as a name server's
//! clients expect.

mod answer;
mod find;
mod forward;
mod conversation;
mod transport;

use crate::catalog::{Answer, Catalog};
use crate::config::Config;
use answer::{Asked, Verdict};
use bytes::Bytes;
use conversation::conversation;
use find::{Found, find};
use forward::Upstreams;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;
use transport::Transport;
use weft_telemetry::metrics::Registry;

/// Queries being answered at once; more are dropped.
const IN_FLIGHT: usize = 1024;
/// TCP clients at once; more are closed.
const TCP_CLIENTS: usize = 256;
/// When sockets or descriptors run out, some have to be given back first.
const TRY_AGAIN: Duration = Duration::from_millis(20);
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
    tcp_clients: Arc<Semaphore>,
}

impl Server {
    /// Binds the DNS port on loopback, in both families where the machine has them. `None`: DNS is off.
    pub fn bind(config: &Config, catalog: Catalog, registry: &mut Registry) -> io::Result<Option<Self>> {
        let queries = Family::default();
        registry.register("dns_queries", "DNS queries by who answers them and how", queries.clone());
        if config.dns_port == 0 {
            return Ok(None);
        }
        let own = |server: &SocketAddr| server.ip().is_loopback() && server.port() == config.dns_port;
        let upstreams = config.upstream_dns.iter().copied().filter(|server| !own(server)).collect();
        let resolver = Resolver::new(catalog, config.domain.clone(), upstreams, queries);
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        Self::on(loopback.map(|address| SocketAddr::new(address, config.dns_port)), resolver).map(Some)
    }

    fn on(addresses: impl IntoIterator<Item = SocketAddr>, resolver: Resolver) -> io::Result<Self> {
        let mut server = Self { udp: Vec::new(), tcp: Vec::new(), resolver: Arc::new(resolver) };
        for address in addresses {
            match server.listen(address) {
                Ok(()) => {}
                // A machine without IPv6.
                Err(error) if address.is_ipv6() && error.kind() == io::ErrorKind::AddrNotAvailable => {}
                Err(error) if address.is_ipv6() && error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {}
                Err(error) => return Err(io::Error::new(error.kind(), format!("listening on {address}: {error}"))),
            }
        }
        Ok(server)
    }

    fn listen(&mut self, address: SocketAddr) -> io::Result<()> {
        let udp = std::net::UdpSocket::bind(address)?;
        let tcp = std::net::TcpListener::bind(address)?;
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        self.udp.push(UdpSocket::from_std(udp)?);
        self.tcp.push(TcpListener::from_std(tcp)?);
        Ok(())
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
            // An earlier answer that could not be delivered is reported here, and so is a machine out of memory.
            tokio::time::sleep(TRY_AGAIN).await;
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
            tokio::time::sleep(TRY_AGAIN).await;
            continue;
        };
        let Ok(client) = Arc::clone(&resolver.tcp_clients).try_acquire_owned() else {
            resolver.count("any", "dropped");
            continue;
        };
        let resolver = Arc::clone(&resolver);
        tokio::spawn(async move {
            // Ends with the client's connection, whichever way that ends.
            let _ = conversation(stream, |query| resolver.in_turn(query)).await;
            drop(client);
        });
    }
}

impl Resolver {
    fn new(catalog: Catalog, domain: String, upstreams: Vec<SocketAddr>, queries: Family<Labels, Counter>) -> Self {
        Self {
            catalog,
            domain,
            upstreams: Upstreams(upstreams),
            queries,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT)),
            tcp_clients: Arc::new(Semaphore::new(TCP_CLIENTS)),
        }
    }

    /// A query over TCP waits for its turn, which slows its client down; over UDP it would be dropped.
    async fn in_turn(&self, query: Bytes) -> Option<Vec<u8>> {
        let _turn = self.in_flight.acquire().await.expect("the semaphore is never closed");
        self.resolve(&query, Transport::Tcp).await
    }

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
            Verdict::Forward => self.forward(query, transport).await,
            Verdict::Version(asked) => {
                self.count("malformed", "badvers");
                asked.answer(&Found::BadVersion, transport)
            }
            Verdict::Zone(asked) => self.nobody(query, transport, &asked).await,
            Verdict::Mesh(asked, name) => match self.catalog.lookup(&name.service).await {
                Answer::Known(known) => {
                    let found = find(asked.query(), &name, &known.view);
                    self.count("mesh", found.word());
                    asked.answer(&found, transport)
                }
                Answer::Absent => self.nobody(query, transport, &asked).await,
                Answer::Unanswered => {
                    self.count("mesh", Found::Unknown.word());
                    asked.answer(&Found::Unknown, transport)
                }
            },
        }
    }

    /// Not the mesh's after all: whoever else serves the cluster's names may know it.
    async fn nobody(&self, query: &[u8], transport: Transport, asked: &Asked) -> Option<Vec<u8>> {
        if !self.upstreams.0.is_empty() {
            return self.forward(query, transport).await;
        }
        self.count("mesh", Found::NoName.word());
        asked.answer(&Found::NoName, transport)
    }

    async fn forward(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        match self.upstreams.ask(query, transport).await {
            Some(answer) => {
                self.count("forwarded", "answered");
                Some(answer)
            }
            None => {
                self.count("forwarded", "failed");
                answer::failed(query)
            }
        }
    }

    fn count(&self, kind: &'static str, result: &'static str) {
        self.queries.get_or_create(&Labels { kind, result }).inc();
    }
}

#[cfg(test)]
mod tests;
