//! An endpoint: one running instance of a service, and whether it may be given work.
//!
//! Written by the endpoint controller or by a registration, read by the balancer. An endpoint has at least one address,
//! and its identity decides encryption: `Some` means mTLS to exactly that identity, never a fall back to plaintext.

use crate::balance::Location;
use crate::{Port, ServiceName, ServicePort, SpiffeId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// May this endpoint be given new work?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointState {
    #[default]
    Ready,
    /// Its health check fails or has not yet passed.
    NotReady,
    /// Shutting down: takes no new requests and finishes the old ones.
    Terminating,
}

/// Whose clients an endpoint is meant for first, by zone and by node; both empty: nobody says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hints {
    pub zones: Vec<String>,
    pub nodes: Vec<String>,
}

impl Hints {
    pub fn is_empty(&self) -> bool {
        self.zones.is_empty() && self.nodes.is_empty()
    }
}

/// One instance of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The instance's name, unique within its service: the pod's or the registered proxy's name.
    pub id: String,
    pub service: ServiceName,
    /// What it is called in DNS as a part of its service, where that is not its id.
    #[serde(default)]
    pub hostname: Option<String>,
    /// One address, or one of each family, in the order of preference.
    pub addresses: Vec<IpAddr>,
    /// Where the instance listens, by service port name; a name that is missing means the service's target port.
    #[serde(default)]
    pub ports: BTreeMap<String, Port>,
    /// Relative share of load, 1 by default; 0 takes no new requests.
    #[serde(default = "one")]
    pub weight: u32,
    #[serde(default)]
    pub zone: Option<String>,
    #[serde(default)]
    pub node: Option<String>,
    /// As Kubernetes gives them (EndpointSlice, `hints`).
    #[serde(default, skip_serializing_if = "Hints::is_empty")]
    pub hints: Hints,
    /// 0 is used first; the next only as far as too few of those before it are healthy.
    #[serde(default)]
    pub priority: u32,
    /// Where it stands, for `nearest`.
    #[serde(default)]
    pub location: Option<Location>,
    /// `Some` when a sidecar answers for this instance.
    #[serde(default)]
    pub identity: Option<SpiffeId>,
    #[serde(default)]
    pub state: EndpointState,
}

fn one() -> u32 {
    1
}

impl Endpoint {
    /// Where this instance listens for `port` of its service.
    pub fn port_for(&self, port: &ServicePort) -> Port {
        self.ports.get(&port.name).copied().unwrap_or(port.target_port)
    }

    /// Whether it is called `name` in DNS, as a part of its service.
    pub fn is_called(&self, name: &str) -> bool {
        self.id == name || self.hostname.as_deref() == Some(name)
    }

    /// Whether the balancer may choose it for new work.
    pub fn takes_new_work(&self) -> bool {
        self.state == EndpointState::Ready && self.weight > 0
    }

    /// Whether the sessions it has may go on: also while it drains, whether it is shutting down or has lost its weight.
    pub fn keeps_sessions(&self) -> bool {
        self.state != EndpointState::NotReady
    }
}
