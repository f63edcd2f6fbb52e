//! Whom this proxy checks: the endpoints that a service's policy and this client's subset ask for, and how each is asked.
//!
//! Pure. What a proxy would not send requests to anyhow is not checked.

use crate::balance::subset::Client;
use crate::catalog::{Health, Known};
use weft_model::health::HealthCheck;
use weft_model::{Endpoint, Protocol};

/// Whom to ask, and how. A check goes on for as long as this stays the same.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Subject {
    pub endpoint: Endpoint,
    pub check: HealthCheck,
    pub port: u16,
    pub protocol: Protocol,
    pub health: Health,
}

/// The endpoints of a service that its policy wants checked by this client: of its subset, those that take work otherwise.
pub(super) fn subjects(known: &Known, client: Client) -> Vec<Subject> {
    let Some(check) = known.view.policy.health_check.as_ref().filter(|_| known.is_called()) else { return Vec::new() };
    let ports = &known.view.service.ports;
    let Some(port) = ports.iter().find(|port| check.port.is_none_or(|wanted| port.port == wanted)) else {
        tracing::warn!(service = %known.view.service.name, port = ?check.port, "health check of a port that the service lacks");
        return Vec::new();
    };
    // As the balancer deals them.
    let eligible: Vec<&Endpoint> = known.view.endpoints.values().filter(|endpoint| endpoint.weight > 0).collect();
    let size = known.view.policy.spread.subset.map_or(usize::MAX, |size| size.get() as usize);
    let chosen = client.subset(eligible.len(), size).into_iter().map(|at| eligible[at]);
    let subject = |endpoint: &Endpoint| {
        Some(Subject {
            health: known.health_of(&endpoint.id)?.clone(),
            endpoint: endpoint.clone(),
            check: check.clone(),
            port: endpoint.port_for(port).get(),
            protocol: port.protocol,
        })
    };
    chosen.filter(|endpoint| endpoint.takes_new_work()).filter_map(subject).collect()
}
