//! A service: a stable name, stable virtual addresses and the ports behind them.
//!
//! Read by the outbound side to turn a dialled address into a port with a protocol, and by DNS to answer names.
//! A service has at least one port and no two ports with the same name or number.

use crate::{Port, ServiceName};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What is spoken on a port, as declared by `appProtocol` or the port's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Nothing declared: the proxy looks at the first bytes.
    #[default]
    Detect,
    /// HTTP of either version; the first bytes tell which.
    Http,
    /// HTTP/2 with prior knowledge (`kubernetes.io/h2c`).
    Http2,
    /// gRPC, which is HTTP/2.
    Grpc,
    /// Bytes the proxy does not look into.
    Tcp,
    /// TLS of the application's own; carried as bytes.
    Tls,
}

impl Protocol {
    /// From `appProtocol` (Kubernetes and IANA service names) if given, otherwise from the port name's prefix before `-`
    /// (`http-metrics`, `grpc`, ...). Unknown words mean [`Protocol::Detect`].
    pub fn declared(app_protocol: Option<&str>, port_name: &str) -> Self {
        let word = app_protocol.unwrap_or_else(|| port_name.split('-').next().unwrap_or(""));
        match word.to_ascii_lowercase().as_str() {
            "http" | "http1" | "kubernetes.io/ws" => Self::Http,
            "http2" | "h2c" | "kubernetes.io/h2c" => Self::Http2,
            "grpc" => Self::Grpc,
            "tcp" | "redis" | "mysql" | "mongo" | "postgres" | "postgresql" | "smtp" | "amqp" | "kafka" => Self::Tcp,
            "https" | "tls" | "kubernetes.io/wss" => Self::Tls,
            _ => Self::Detect,
        }
    }
}

/// One port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePort {
    /// Empty only when the service has a single port.
    pub name: String,
    /// The port that clients dial.
    pub port: Port,
    /// The port that instances listen on unless an endpoint says otherwise.
    pub target_port: Port,
    #[serde(default)]
    pub protocol: Protocol,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub name: ServiceName,
    /// Stable addresses that stand for the service: ClusterIPs in Kubernetes, otherwise taken from Weft's own range.
    #[serde(default)]
    pub virtual_addresses: Vec<IpAddr>,
    pub ports: Vec<ServicePort>,
    /// Requests to its virtual addresses stay on the client's node, or fail (Kubernetes: `internalTrafficPolicy: Local`).
    #[serde(default)]
    pub node_local: bool,
}

impl Service {
    /// The port that clients dial as `port`.
    pub fn port(&self, port: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|p| p.port.get() == port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_protocol_wins_over_the_port_name() {
        assert_eq!(Protocol::declared(Some("tcp"), "http"), Protocol::Tcp);
        assert_eq!(Protocol::declared(None, "grpc-api"), Protocol::Grpc);
        assert_eq!(Protocol::declared(None, "web"), Protocol::Detect);
        assert_eq!(Protocol::declared(Some("kubernetes.io/h2c"), ""), Protocol::Http2);
    }
}
