//! A pair of Envoys as a mesh would configure them: intercepted by iptables, TLS 1.3 with certificates on both sides between
//! them, one worker each, no access log.
//!
//! The configuration is static, which favours Envoy if anything: no control plane is attached. Between the two travels what
//! the client sent, or, as a second contender, HTTP/1.1 carried over HTTP/2.

mod configuration;

use super::certificates::{Certificates, ROLES};
use super::ends::Ends;
use super::proxied::Proxied;
use crate::traffic::Traffic;
use anyhow::Context;
use configuration::{INBOUND, OUTBOUND, Speaks, configuration, downstream_tls, known_clusters, upstream_tls};
use std::fs;
use std::path::Path;
use weft_examples::pods::{Network, Pod, Program};
use weft_identity::tls::Sessions;

/// The user that the redirect leaves alone.
const UID: u32 = 1337;

/// Carries everything as it came.
pub fn start(network: Network, binary: &Path) -> anyhow::Result<Proxied> {
    pair("envoy", network, binary, [Speaks::TheSame, Speaks::TheSame], &Traffic::ALL, Sessions::Resumed)
}

/// Never resumes a TLS session.
pub fn start_full(network: Network, binary: &Path) -> anyhow::Result<Proxied> {
    pair("envoy-full", network, binary, [Speaks::TheSame, Speaks::TheSame], &Traffic::ALL, Sessions::Forgotten)
}

/// Carries HTTP/1.1 over HTTP/2; with other traffic it would be no different from [`start`].
pub fn start_h2(network: Network, binary: &Path) -> anyhow::Result<Proxied> {
    pair("envoy-h2", network, binary, [Speaks::Http2, Speaks::Http1], &[Traffic::Http1], Sessions::Resumed)
}

fn pair(
    name: &'static str,
    network: Network,
    binary: &Path,
    [outbound, inbound]: [Speaks; 2],
    carries: &[Traffic],
    sessions: Sessions,
) -> anyhow::Result<Proxied> {
    let dir = network.dir().to_owned();
    let ends = Ends::start(network)?;
    let certificates = Certificates::issue(&dir)?;
    let ports = format!("{}:{}", Traffic::ALL[0].port(), Traffic::ALL[2].port());
    let but_own = format!("-m owner ! --uid-owner {UID}");
    redirect(&ends.client, &format!("OUTPUT -p tcp --dport {ports} {but_own} -j REDIRECT --to-ports {OUTBOUND}"))?;
    redirect(&ends.server, &format!("PREROUTING -p tcp --dport {ports} -j REDIRECT --to-ports {INBOUND}"))?;
    let upstream = upstream_tls(&certificates, sessions);
    let downstream = downstream_tls(&certificates, sessions);
    let sides = [
        configuration(ROLES[0], OUTBOUND, "", &upstream, outbound),
        configuration(ROLES[1], INBOUND, &downstream, "", inbound),
    ];
    let program = |role: &str, configuration: &str| {
        let file = dir.join(format!("envoy-{role}.yaml"));
        fs::write(&file, configuration).with_context(|| format!("write {}", file.display()))?;
        let envoy = Program::new(binary).label(format!("envoy-{role}")).user(UID).arg("-c").arg(&file);
        anyhow::Ok(envoy.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]))
    };
    let programs = [program(ROLES[0], &sides[0])?, program(ROLES[1], &sides[1])?];
    let knowing = program("outbound-knowing", &format!("{}{}", sides[0], known_clusters()))?;
    let targets = carries.iter().map(|traffic| (*traffic, (ends.server.ip(), traffic.port()).into())).collect();
    Ok(Proxied::start(name, ends, programs, targets)?.knowing(knowing))
}

fn redirect(pod: &Pod, rule: &str) -> anyhow::Result<()> {
    pod.run_ok(Program::new("iptables").args(["-w", "-t", "nat", "-A"]).args(rule.split(' ')))?;
    Ok(())
}
