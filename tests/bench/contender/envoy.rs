//! A pair of Envoys as a mesh would configure them: intercepted by iptables, TLS 1.3 with certificates on both sides between
//! them, HTTP/1.1 inside, one worker each, no access log.
//!
//! The configuration is static, which favours Envoy if anything: no control plane is attached.

use super::pair::Contender;
use crate::responder::{self, PORT};
use crate::scenario::Scenario;
use anyhow::{Context, bail};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};
use weft_examples::mesh::fetch;
use weft_examples::pods::{Network, Pod, Process, Program, poll_until};

/// The user that the redirect leaves alone.
const UID: u32 = 1337;
const OUTBOUND: u16 = 15001;
const INBOUND: u16 = 15006;
/// How long Envoy may take to start.
const START: Duration = Duration::from_secs(30);

pub struct Envoy {
    client: Pod,
    server: Pod,
    proxies: [Process; 2],
    _responder: Process,
    // The wires between the pods.
    _network: Network,
}

impl Envoy {
    pub fn start(scenario: &Scenario, network: Network, binary: &Path) -> anyhow::Result<Self> {
        let (client, server) = (network.pod("client")?, network.pod("server")?);
        let responder = server.spawn(responder::program(scenario)?)?;
        write_certificates(network.dir())?;
        let to_outbound =
            format!("OUTPUT -p tcp --dport {PORT} -m owner ! --uid-owner {UID} -j REDIRECT --to-ports {OUTBOUND}");
        redirect(&client, &to_outbound)?;
        redirect(&server, &format!("PREROUTING -p tcp --dport {PORT} -j REDIRECT --to-ports {INBOUND}"))?;
        let dir = network.dir();
        let outbound = configuration("outbound", OUTBOUND, None, Some(&upstream_tls(dir)));
        let inbound = configuration("inbound", INBOUND, Some(&downstream_tls(dir)), None);
        let proxies = [spawn(binary, &client, "outbound", &outbound)?, spawn(binary, &server, "inbound", &inbound)?];
        let contender = Self { client, server, proxies, _responder: responder, _network: network };
        contender.wait()?;
        Ok(contender)
    }

    fn wait(&self) -> anyhow::Result<()> {
        // Envoy takes no HTTP/1.0.
        let request = "GET / HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n";
        let mut said = String::new();
        let answers = || {
            let reply = fetch(&self.client, self.target(), request);
            said = format!("{reply:?}");
            reply.is_ok_and(|reply| reply.status == 200).then_some(())
        };
        if poll_until(Instant::now() + START, "Envoy to answer", answers).is_err() {
            let logs = self.proxies.iter().map(|proxy| proxy.log_tail(10)).collect::<Vec<_>>();
            bail!("the pair of Envoys says {said}\n{}", logs.join("\n"));
        }
        Ok(())
    }
}

impl Contender for Envoy {
    fn name(&self) -> &'static str {
        "envoy"
    }

    fn client(&self) -> &Pod {
        &self.client
    }

    fn target(&self) -> SocketAddr {
        (self.server.ip(), PORT).into()
    }

    fn proxies(&self) -> Vec<u32> {
        self.proxies.iter().map(Process::pid).collect()
    }
}

fn redirect(pod: &Pod, rule: &str) -> anyhow::Result<()> {
    pod.run_ok(Program::new("iptables").args(["-w", "-t", "nat", "-A"]).args(rule.split(' ')))?;
    Ok(())
}

fn spawn(binary: &Path, pod: &Pod, role: &str, configuration: &str) -> anyhow::Result<Process> {
    let file = pod.dir().join(format!("envoy-{role}.yaml"));
    fs::write(&file, configuration).with_context(|| format!("write {}", file.display()))?;
    let envoy = Program::new(binary).label(format!("envoy-{role}")).user(UID).arg("-c").arg(&file);
    Ok(pod.spawn(envoy.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]))?)
}

/// A certificate authority and one certificate under it for each role.
fn write_certificates(dir: &Path) -> anyhow::Result<()> {
    let mut authority = CertificateParams::new(vec![])?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let write = |name: &str, text: String| {
        let path = dir.join(name);
        fs::write(&path, text)?;
        // Envoy runs as a user of its own.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))
    };
    write("envoy-ca.pem", authority.pem())?;
    for role in ["outbound", "inbound"] {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::new(vec![])?;
        // The authority's own name would make it look self-signed.
        parameters.distinguished_name.push(DnType::CommonName, role);
        parameters.subject_alt_names = vec![SanType::URI(identity(role).as_str().try_into()?)];
        write(&format!("envoy-{role}.pem"), parameters.signed_by(&key, &authority)?.pem())?;
        write(&format!("envoy-{role}.key"), key.serialize_pem())?;
    }
    Ok(())
}

fn identity(role: &str) -> String {
    format!("spiffe://bench.local/ns/bench/sa/{role}")
}

/// The part of a TLS context that both sides share: TLS 1.3, own certificate, who the peer has to be.
fn tls(dir: &Path, role: &str, peer: &str) -> String {
    let (dir, peer) = (dir.display(), identity(peer));
    format!(
        "common_tls_context:
          tls_params: {{ tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 }}
          tls_certificates:
          - certificate_chain: {{ filename: {dir}/envoy-{role}.pem }}
            private_key: {{ filename: {dir}/envoy-{role}.key }}
          validation_context:
            trusted_ca: {{ filename: {dir}/envoy-ca.pem }}
            match_typed_subject_alt_names: [{{ san_type: URI, matcher: {{ exact: \"{peer}\" }} }}]"
    )
}

fn upstream_tls(dir: &Path) -> String {
    format!(
        "
    transport_socket:
      name: tls
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        {}",
        tls(dir, "outbound", "inbound")
    )
}

fn downstream_tls(dir: &Path) -> String {
    format!(
        "
      transport_socket:
        name: tls
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          {}",
        tls(dir, "inbound", "outbound").replace('\n', "\n  ")
    )
}

/// One listener that takes over redirected connections and sends each request on to where its connection was going.
fn configuration(role: &str, port: u16, downstream: Option<&str>, upstream: Option<&str>) -> String {
    let (downstream, upstream) = (downstream.unwrap_or(""), upstream.unwrap_or(""));
    format!(
        "static_resources:
  listeners:
  - name: {role}
    address: {{ socket_address: {{ address: 0.0.0.0, port_value: {port} }} }}
    listener_filters:
    - name: original_dst
      typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst }}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {role}
          codec_type: HTTP1
          route_config:
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              routes: [{{ match: {{ prefix: / }}, route: {{ cluster: original, timeout: 15s }} }}]
          http_filters:
          - name: router
            typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}{downstream}
  clusters:
  - name: original
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ http_protocol_options: {{}} }}{upstream}
"
    )
}
