//! Envoy's configuration file: one listener that takes over redirected connections and sends each request on to where its
//! connection was going.
//!
//! Text in, text out; Envoy itself refuses what is wrong with it.

use crate::contender::certificates::{Certificates, identity};
use crate::contender::pair::{KNOWN_ENDPOINTS, KNOWN_SERVICES};
use crate::traffic::Traffic;
use weft_identity::tls::Sessions;

pub const OUTBOUND: u16 = 15001;
pub const INBOUND: u16 = 15006;

/// What a proxy speaks to the next one.
#[derive(Debug, Clone, Copy)]
pub enum Speaks {
    /// As the client.
    TheSame,
    Http1,
    Http2,
}

impl Speaks {
    fn options(self) -> &'static str {
        match self {
            Self::TheSame => {
                "use_downstream_protocol_config: { http_protocol_options: {}, http2_protocol_options: {} }"
            }
            Self::Http1 => "explicit_http_config: { http_protocol_options: {} }",
            Self::Http2 => "explicit_http_config: { http2_protocol_options: {} }",
        }
    }
}

/// The part of a TLS context that both sides share: TLS 1.3, own certificate, who the peer has to be.
fn tls(certificates: &Certificates, role: &str, peer: &str) -> String {
    let (own, authority, peer) = (certificates.identity(role), certificates.authority(), identity(peer));
    let (own, authority) = (own.display(), authority.display());
    format!(
        "common_tls_context:
          tls_params: {{ tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 }}
          tls_certificates:
          - certificate_chain: {{ filename: {own} }}
            private_key: {{ filename: {own} }}
          validation_context:
            trusted_ca: {{ filename: {authority} }}
            match_typed_subject_alt_names: [{{ san_type: URI, matcher: {{ exact: \"{peer}\" }} }}]"
    )
}

/// How the outbound side dials.
pub fn upstream_tls(certificates: &Certificates, sessions: Sessions) -> String {
    let kept = if sessions == Sessions::Forgotten { "max_session_keys: 0\n        " } else { "" };
    format!(
        "
    transport_socket:
      name: tls
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        {kept}{}",
        tls(certificates, "outbound", "inbound")
    )
}

/// How the inbound side is dialled.
pub fn downstream_tls(certificates: &Certificates, sessions: Sessions) -> String {
    let kept =
        if sessions == Sessions::Forgotten { "disable_stateless_session_resumption: true\n          " } else { "" };
    format!(
        "
      transport_socket:
        name: tls
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          {kept}{}",
        tls(certificates, "inbound", "outbound").replace('\n', "\n  ")
    )
}

/// The whole file, with the TLS settings of the side that is dialled and of the side that dials.
pub fn configuration(role: &str, port: u16, downstream: &str, upstream: &str, speaks: Speaks) -> String {
    let (speaks, opaque) = (speaks.options(), Traffic::Tcp.port());
    format!(
        "static_resources:
  listeners:
  - name: {role}
    address: {{ socket_address: {{ address: 0.0.0.0, port_value: {port} }} }}
    listener_filters:
    - name: original_dst
      typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst }}
    filter_chains:
    - filter_chain_match: {{ destination_port: {opaque} }}
      filters:
      - name: tcp
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: {role}_tcp
          cluster: original{downstream}
    - filters:
      - name: http
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {role}
          codec_type: AUTO
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
        {speaks}{upstream}
"
    )
}

/// More clusters for the end of a file. Without routes to them and TLS settings of their own, which favours Envoy if anything.
pub fn known_clusters() -> String {
    let endpoint = |service: usize, n: usize| {
        let address = format!("10.{}.{}.{n}", service / 250, service % 250);
        format!("{{ endpoint: {{ address: {{ socket_address: {{ address: {address}, port_value: 8080 }} }} }} }}")
    };
    let cluster = |service: usize| {
        let endpoints: Vec<String> = (0..KNOWN_ENDPOINTS).map(|n| endpoint(service, n)).collect();
        format!(
            "  - name: known-{service}
    type: STATIC
    connect_timeout: 1s
    load_assignment: {{ cluster_name: known-{service}, endpoints: [{{ lb_endpoints: [{}] }}] }}
",
            endpoints.join(", ")
        )
    };
    (0..KNOWN_SERVICES).map(cluster).collect()
}
