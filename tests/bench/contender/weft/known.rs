//! Services by the thousand, and a proxy that comes to know them as it always does: because something dials them.
//!
//! Their endpoints are nowhere; the connections are closed as soon as the proxy has asked for what is behind them. Fails when discovery
//! has not told it of all of them in time.

use crate::contender::pair::{KNOWN_ENDPOINTS, KNOWN_SERVICES};
use anyhow::{Context, ensure};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use weft_examples::mesh::{Member, Mesh};
use weft_examples::pods::{Pod, poll_until};

/// What their names and namespaces begin with.
const PREFIX: &str = "known-";
/// Documents of one call fit into one transaction: a service takes two places in it.
const TOGETHER: usize = 50;
/// An apply reads its whole namespace.
const PER_NAMESPACE: usize = 100;
/// Connections open at the same time.
const AT_ONCE: usize = 50;
const LIMIT: Duration = Duration::from_secs(60);

/// Puts the services into the mesh.
pub fn apply(mesh: &Mesh) -> anyhow::Result<()> {
    let services: Vec<usize> = (0..KNOWN_SERVICES).collect();
    put(mesh, &services, TOGETHER, service)?;
    put(mesh, &services, TOGETHER / KNOWN_ENDPOINTS, endpoints)
}

fn put(mesh: &Mesh, services: &[usize], together: usize, write: fn(usize, &mut String)) -> anyhow::Result<()> {
    for some in services.chunks(together) {
        let mut documents = String::new();
        some.iter().for_each(|n| write(*n, &mut documents));
        mesh.apply(&documents)?;
    }
    Ok(())
}

/// Dials all of them beside `member`, until its proxy knows them.
pub fn dial(mesh: &Mesh, member: &Member) -> anyhow::Result<()> {
    let mut addresses = vec![];
    // One answer about all of them, with ten thousand endpoints, would be long.
    for first in (0..KNOWN_SERVICES).step_by(PER_NAMESPACE) {
        addresses.extend(listed(&mesh.weftctl(&["get", "services", "-n", &namespace(first)])?));
    }
    ensure!(addresses.len() >= KNOWN_SERVICES, "discovery tells of {} services", addresses.len());
    let before = subscriptions(member);
    for some in addresses.chunks(AT_ONCE) {
        // Asked for when they are accepted; who dialled may go.
        drop(open(member.pod(), some)?);
    }
    // An address and a service each; those that were known before are among them.
    let wanted = 2.0 * KNOWN_SERVICES as f64;
    let all = || (subscriptions(member) >= wanted).then_some(());
    let known = poll_until(Instant::now() + LIMIT, "the proxy to know every service", all);
    known.with_context(|| format!("{before} subscriptions before, {} now", subscriptions(member)))
}

fn open(pod: &Pod, addresses: &[IpAddr]) -> anyhow::Result<Vec<TcpStream>> {
    let dial = |address: &IpAddr| TcpStream::connect_timeout(&SocketAddr::new(*address, 80), LIMIT);
    let streams = pod.within(|| addresses.iter().map(dial).collect::<Result<Vec<_>, _>>())?;
    streams.context("dial a known service")
}

fn subscriptions(member: &Member) -> f64 {
    member.metrics().sum("weft_discovery_subscriptions", &[])
}

/// The services' virtual addresses in the table of `weftctl get services`.
fn listed(table: &str) -> Vec<IpAddr> {
    let known = table.lines().filter(|line| line.split_whitespace().any(|word| word.starts_with(PREFIX)));
    known.filter_map(|line| line.split_whitespace().find_map(|word| word.parse().ok())).collect()
}

fn namespace(service: usize) -> String {
    format!("{PREFIX}{}", service / PER_NAMESPACE)
}

fn service(n: usize, text: &mut String) {
    let namespace = namespace(n);
    let written = write!(
        text,
        "---
apiVersion: v1
kind: Service
metadata: {{ name: {PREFIX}{n}, namespace: {namespace} }}
spec:
  ports: [{{ name: http, port: 80, targetPort: 8080 }}]
"
    );
    written.expect("a String takes everything");
}

fn endpoints(n: usize, text: &mut String) {
    let namespace = namespace(n);
    for endpoint in 0..KNOWN_ENDPOINTS {
        let address = format!("10.{}.{}.{}", n / 250, n % 250, endpoint + 1);
        let written = write!(
            text,
            "---
apiVersion: weft.dev/v1alpha1
kind: Endpoint
metadata: {{ name: {PREFIX}{n}-{endpoint}, namespace: {namespace} }}
spec: {{ service: {PREFIX}{n}, addresses: [{address}] }}
"
        );
        written.expect("a String takes everything");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_the_table() {
        let table = "NAME     ADDRESS     PORTS    READY\n\
                     known-7  198.18.0.9  80/http  0/10\n\
                     server   198.18.0.1  80/http  1/1\n";
        assert_eq!(listed(table), [IpAddr::from([198, 18, 0, 9])]);
    }
}
