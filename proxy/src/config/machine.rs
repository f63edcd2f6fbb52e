//! Defaults that the machine knows: its own addresses and its DNS servers.
//!
//! Asked once at start, only for what the flags leave open. What cannot be read is empty; the caller decides whether
//! that is a fault.

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use std::net::{IpAddr, SocketAddr};

/// The port name servers answer on.
pub(super) const DNS_PORT: u16 = 53;
/// Where the resolver's configuration is (resolv.conf(5)).
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The first IPv4 and the first IPv6 address by which other machines can reach this one.
pub(super) fn addresses() -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::with_capacity(2);
    for interface in getifaddrs().into_iter().flatten() {
        let up = interface.flags.contains(InterfaceFlags::IFF_UP);
        let address = interface.address.as_ref().and_then(|address| {
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
        });
        if let Some(address) = address.filter(|address| up && is_reachable(*address))
            && !found.iter().any(|known| known.is_ipv4() == address.is_ipv4())
        {
            found.push(address);
        }
    }
    found.sort_by_key(IpAddr::is_ipv6);
    found
}

fn is_reachable(address: IpAddr) -> bool {
    let local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(local || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

/// The name servers that this machine asks.
pub(super) fn name_servers() -> Vec<SocketAddr> {
    std::fs::read_to_string(RESOLV_CONF).map(|text| listed(&text)).unwrap_or_default()
}

fn listed(resolv_conf: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        // Addresses with a zone (fe80::1%eth0) cannot be used here.
        Some(SocketAddr::new(address.parse().ok()?, DNS_PORT))
    };
    resolv_conf.lines().filter_map(server).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_and_the_rest_is_not() {
        let text = "# comment\nsearch a.b\nnameserver 10.0.0.2\n nameserver\tfd00::2 \nnameserver fe80::1%eth0\n\
                    ;nameserver 1.1.1.1\nnameserver\n";
        assert_eq!(listed(text), ["10.0.0.2:53".parse().unwrap(), "[fd00::2]:53".parse().unwrap()]);
    }

    #[test]
    fn addresses_are_of_different_families_and_global() {
        let found = addresses();
        assert!(found.len() <= 2);
        assert!(found.iter().all(|address| is_reachable(*address)));
        assert!(!is_reachable("fe80::1".parse().unwrap()) && !is_reachable("127.0.0.1".parse().unwrap()));
    }
}
