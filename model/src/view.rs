//! What discovery tells a proxy about one service or one address.
//!
//! The registry builds views, the wire carries them, the proxy's catalog holds them. A view is complete in itself: a
//! proxy needs nothing else to serve the service, except the views of the backends its routes name.

use crate::{Endpoint, Route, Service, ServiceName, TrafficPolicy};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All about one service at one revision of the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    pub service: Service,
    /// Routes attached to this service, oldest first (Gateway API conflict order).
    #[serde(default)]
    pub routes: Vec<Route>,
    #[serde(default)]
    pub policy: TrafficPolicy,
    /// By endpoint id.
    #[serde(default)]
    pub endpoints: BTreeMap<String, Endpoint>,
}

impl ServiceView {
    /// Drops the routes that are not for clients of `namespace`.
    pub fn keep_routes_for(&mut self, namespace: &str) {
        let service = &self.service.name;
        self.routes.retain(|route| route.binds(service, namespace));
    }

    /// Leaves work to the endpoints of `node` alone, where the service is one for each node. Sessions that others have go on.
    pub fn keep_to_node(&mut self, node: &str) {
        if self.service.node_local {
            let elsewhere = |endpoint: &&mut Endpoint| endpoint.node.as_deref() != Some(node);
            self.endpoints.values_mut().filter(elsewhere).for_each(|endpoint| endpoint.weight = 0);
        }
    }

    /// The services that its routes lead to, apart from itself.
    pub fn led_to(&self) -> impl Iterator<Item = &ServiceName> {
        let rules = self.routes.iter().flat_map(|route| &route.rules);
        let named = rules.flat_map(|rule| {
            let backends = rule.backends.iter().filter(|b| !b.refused).map(|b| &b.service);
            backends.chain(rule.mirrors.iter().filter(|m| !m.refused).map(|m| &m.service))
        });
        named.filter(|name| **name != self.service.name)
    }
}

/// What an address that somebody dialled stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Binding {
    /// A virtual address of this service.
    Service(ServiceName),
    /// The address of one endpoint of this service.
    Endpoint { service: ServiceName, id: String },
    /// Nobody the mesh knows: pass through untouched.
    Unknown,
}
