//! A pair of HAProxies: TLS 1.3 with certificates on both sides between them, one thread each, no logs.
//!
//! Takes over no connections: the client dials the first one's own ports, and each knows the next one's address. Connections to
//! the next one are shared as freely as HAProxy can (`http-reuse always`).

use super::certificates::{Certificates, ROLES};
use super::ends::Ends;
use super::proxied::Proxied;
use crate::traffic::Traffic;
use anyhow::Context;
use std::fmt::Write;
use std::fs;
use weft_examples::pods::{Network, Program};

/// Between a server port and where the proxy of each side listens for it.
const OUTBOUND: u16 = 10_000;
const INBOUND: u16 = 20_000;

pub fn start(network: Network) -> anyhow::Result<Proxied> {
    pair("haproxy", network, ["", ""])
}

/// Never resumes a TLS session.
pub fn start_full(network: Network) -> anyhow::Result<Proxied> {
    pair("haproxy-full", network, [" no-ssl-reuse", " no-tls-tickets"])
}

/// `sessions`: what the side that dials says of them, and the side that is dialled.
fn pair(name: &'static str, network: Network, sessions: [&str; 2]) -> anyhow::Result<Proxied> {
    let dir = network.dir().to_owned();
    let ends = Ends::start(network)?;
    let certificates = Certificates::issue(&dir)?;
    let [outbound, inbound] = [0, 1].map(|side| tls(&certificates, ROLES[side]) + sessions[side]);
    let next = ends.server.ip().to_string();
    let sides = [(OUTBOUND, "", next.as_str(), INBOUND, outbound.as_str()), (INBOUND, &inbound, "127.0.0.1", 0, "")];
    let program = |role: &str, side: (u16, &str, &str, u16, &str)| {
        let file = dir.join(format!("haproxy-{role}.cfg"));
        fs::write(&file, configuration(side)).with_context(|| format!("write {}", file.display()))?;
        anyhow::Ok(Program::new("haproxy").label(format!("haproxy-{role}")).args(["-db", "-f"]).arg(file))
    };
    let programs = [program(ROLES[0], sides[0])?, program(ROLES[1], sides[1])?];
    let target = |traffic: Traffic| (traffic, (ends.client.ip(), OUTBOUND + traffic.port()).into());
    let targets = Traffic::ALL.map(target).to_vec();
    Proxied::start(name, ends, programs, targets)
}

/// The settings of a TLS socket, whichever end of it.
fn tls(certificates: &Certificates, role: &str) -> String {
    let (own, authority) = (certificates.identity(role), certificates.authority());
    let (own, authority) = (own.display(), authority.display());
    format!(" ssl crt {own} ca-file {authority} verify required ssl-min-ver TLSv1.3")
}

/// From ports (shifted, `here` on the socket) to the next host's ports (shifted, `there` on the socket).
fn configuration((shift, here, host, next_shift, there): (u16, &str, &str, u16, &str)) -> String {
    // Not strict: it asks for two files per connection, which a container may not allow, and needs hardly more than one.
    let mut text = "global\n  nbthread 1\n  maxconn 10500\n  no strict-limits\n\
                    defaults\n  timeout connect 2s\n  timeout client 5m\n  timeout server 5m\n"
        .to_owned();
    for traffic in Traffic::ALL {
        let (name, mode, reuse) = match traffic {
            Traffic::Http1 => ("http1", "http", "\n  http-reuse always"),
            Traffic::Http2 => ("http2", "http", "\n  http-reuse always"),
            Traffic::Tcp => ("tcp", "tcp", ""),
        };
        // Inside TLS it is agreed upon, outside it has to be known before.
        let speaks = |tls: &str| match (traffic, tls.is_empty()) {
            (Traffic::Http2, true) => " proto h2",
            (Traffic::Http2, false) => " alpn h2",
            _ => "",
        };
        let (port, next) = (shift + traffic.port(), next_shift + traffic.port());
        let (listens, dials) = (speaks(here), speaks(there));
        let written = write!(
            text,
            "frontend {name}\n  mode {mode}\n  bind 0.0.0.0:{port}{here}{listens}\n  default_backend {name}\n\
             backend {name}\n  mode {mode}{reuse}\n  server next {host}:{next}{there}{dials}\n"
        );
        written.expect("a String takes everything");
    }
    text
}
