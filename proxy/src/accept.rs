//! Listeners, and where an intercepted connection was really going.
//!
//! The first step of every connection. Each data worker has its own sockets (SO_REUSEPORT), so the kernel spreads
//! connections over workers and none ever changes its thread. IPv4 and IPv6 have separate sockets, because the original
//! destination is asked for by a different option in each family.

use nix::sys::socket::{getsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Connections the kernel keeps for us while a worker is busy.
const BACKLOG: i32 = 4096;

/// Outbound connections arrive on loopback only (REDIRECT in OUTPUT); nobody outside the pod may reach that port.
pub const OUTBOUND: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
/// Inbound connections arrive on any of the pod's addresses.
pub const INBOUND: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];

/// One worker's sockets on `port`. A machine without IPv6 gets only the first; anything else that fails is an error.
pub fn listen(addresses: [IpAddr; 2], port: u16) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::with_capacity(2);
    for address in addresses {
        match bind(SocketAddr::new(address, port)) {
            Ok(listener) => listeners.push(listener),
            Err(error) if address.is_ipv6() && no_ipv6(&error) => {}
            Err(error) => return Err(io::Error::new(error.kind(), format!("listening on {address}:{port}: {error}"))),
        }
    }
    Ok(listeners)
}

fn no_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The next connection of `listener`, with the destination its client dialled.
///
/// A connection that is gone before it could be looked at is skipped. When the process is out of descriptors the
/// listener pauses instead of spinning; `pressed` is told each time.
pub async fn next(listener: &TcpListener, pressed: impl Fn(&io::Error)) -> (TcpStream, SocketAddr, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Requests are written whole; waiting for more to send would only add delay.
                let _ = stream.set_nodelay(true);
                if let Ok(destination) = original_destination(&stream) {
                    return (stream, peer, destination);
                }
            }
            Err(error) => {
                pressed(&error);
                if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
}

/// SO_ORIGINAL_DST: the destination before the redirect; for a connection that was not redirected, the address it
/// came in on.
pub fn original_destination(stream: &TcpStream) -> io::Result<SocketAddr> {
    let local = stream.local_addr()?;
    let asked = match local {
        SocketAddr::V4(_) => getsockopt(stream, sockopt::OriginalDst)
            .map(|a| SocketAddr::new(Ipv4Addr::from(u32::from_be(a.sin_addr.s_addr)).into(), u16::from_be(a.sin_port))),
        SocketAddr::V6(_) => getsockopt(stream, sockopt::Ip6tOriginalDst)
            .map(|a| SocketAddr::new(Ipv6Addr::from(a.sin6_addr.s6_addr).into(), u16::from_be(a.sin6_port))),
    };
    Ok(asked.unwrap_or(local))
}
