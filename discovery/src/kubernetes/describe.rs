//! From what the cluster has to what the mesh is told: a Service, its slices and their pods become a service with endpoints.
//!
//! Pure: facts in, model out, the same for every order in which the facts came. A meshed pod is never told without its
//! identity: an endpoint whose pod is not known yet, or is another one of that name, is left out until it is.

use super::cluster::Cluster;
use super::facts::{HEADLESS, Service, Slice, SliceMember};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;
use weft_model::{Endpoint, EndpointState, ServiceName, ServicePort, SpiffeId};

/// A service as the mesh is to know it.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    pub service: weft_model::Service,
    /// By id.
    pub endpoints: BTreeMap<String, Endpoint>,
}

/// `None`: there is no such Service, or none that the mesh could carry.
pub fn describe(name: &ServiceName, cluster: &Cluster, trust_domain: &str) -> Option<Described> {
    let facts = cluster.services.get(&(name.namespace.clone(), name.name.clone()))?;
    let service = weft_model::Service {
        name: name.clone(),
        virtual_addresses: facts.addresses.clone(),
        ports: facts.ports.clone(),
        node_local: facts.node_local,
    };
    let mut endpoints = BTreeMap::new();
    for (_, slice) in cluster.slices.within(&name.namespace).filter(|(_, slice)| slice.service == name.name) {
        for member in &slice.endpoints {
            if let Some(endpoint) = endpoint(name, facts, slice, member, cluster, trust_domain) {
                match endpoints.get_mut(&endpoint.id) {
                    Some(known) => join(known, endpoint),
                    None => drop(endpoints.insert(endpoint.id.clone(), endpoint)),
                }
            }
        }
    }
    for endpoint in endpoints.values_mut() {
        settle(endpoint, facts.prefers_v6);
    }
    Some(Described { service, endpoints })
}

impl Described {
    /// The Service as people are shown it: what of it the mesh has taken.
    pub fn document(&self) -> Value {
        let ServiceName { namespace, name } = &self.service.name;
        let port = |port: &ServicePort| {
            let mut said = json!({ "port": port.port, "targetPort": port.target_port });
            if !port.name.is_empty() {
                said["name"] = port.name.clone().into();
            }
            said
        };
        let mut addresses: Vec<String> = self.service.virtual_addresses.iter().map(ToString::to_string).collect();
        if addresses.is_empty() {
            addresses.push(HEADLESS.to_owned());
        }
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": namespace },
            "spec": { "clusterIPs": addresses, "ports": self.service.ports.iter().map(port).collect::<Vec<_>>() },
        })
    }
}

fn endpoint(
    name: &ServiceName,
    service: &Service,
    slice: &Slice,
    member: &SliceMember,
    cluster: &Cluster,
    trust_domain: &str,
) -> Option<Endpoint> {
    let targets = slice.ports.iter().filter_map(|(port, number)| {
        let of = service.ports.iter().find(|of| of.name == *port)?;
        Some((of, *number))
    });
    let targets: Vec<_> = targets.collect();
    if targets.is_empty() {
        return None;
    }
    let ports = targets.iter().filter(|(of, number)| of.target_port != *number);
    let ports = ports.map(|(of, number)| (of.name.clone(), *number)).collect();
    let (mut identity, mut terminating) = (None, member.terminating);
    if let Some((pod, uid)) = &member.pod {
        let known = cluster.pods.get(&(name.namespace.clone(), pod.clone()))?;
        if !uid.is_empty() && known.uid != *uid {
            return None;
        }
        if known.meshed {
            identity = Some(SpiffeId::new(trust_domain, &name.namespace, &known.account).ok()?);
        }
        terminating |= known.terminating;
    }
    let id = member.pod.as_ref().map_or_else(|| dashed(member.address), |(pod, _)| pod.clone());
    let zone_of = |node: &String| cluster.nodes.get(&(String::new(), node.clone()))?.zone.clone();
    Some(Endpoint {
        hostname: member.hostname.clone().filter(|hostname| *hostname != id),
        id,
        service: name.clone(),
        addresses: vec![member.address],
        ports,
        weight: 1,
        zone: member.zone.clone().or_else(|| member.node.as_ref().and_then(zone_of)),
        node: member.node.clone(),
        hints: member.hints.clone(),
        priority: 0,
        location: None,
        identity,
        state: state(member.ready || service.publish_not_ready, terminating && !service.publish_not_ready),
    })
}

fn state(ready: bool, terminating: bool) -> EndpointState {
    match (terminating, ready) {
        (true, _) => EndpointState::Terminating,
        (false, true) => EndpointState::Ready,
        (false, false) => EndpointState::NotReady,
    }
}

/// The same endpoint once more: its other family's address, or both the old and the new slice while it moves.
fn join(known: &mut Endpoint, other: Endpoint) {
    known.addresses.extend(other.addresses);
    known.ports.extend(other.ports);
    known.zone = known.zone.take().max(other.zone);
    known.node = known.node.take().max(other.node);
    known.hints.zones.extend(other.hints.zones);
    known.hints.nodes.extend(other.hints.nodes);
    known.hostname = known.hostname.take().max(other.hostname);
    let eager = |state: EndpointState| match state {
        EndpointState::Terminating => 2,
        EndpointState::Ready => 1,
        EndpointState::NotReady => 0,
    };
    // An end is never taken back; a slice that is behind does not hide a pod that has become ready.
    if eager(other.state) > eager(known.state) {
        known.state = other.state;
    }
}

/// One address of each family, the service's first family first, and hints in an order of their own.
fn settle(endpoint: &mut Endpoint, prefers_v6: bool) {
    endpoint.addresses.sort_by_key(|address| (address.is_ipv6() != prefers_v6, *address));
    endpoint.addresses.dedup_by_key(|address| address.is_ipv6());
    for names in [&mut endpoint.hints.zones, &mut endpoint.hints.nodes] {
        names.sort();
        names.dedup();
    }
}

/// The name of an endpoint that is no pod, as the Kubernetes DNS specification gives it: its address with dashes.
fn dashed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string().replace('.', "-"),
        IpAddr::V6(v6) => v6.segments().map(|segment| format!("{segment:x}")).join("-"),
    }
}

#[cfg(test)]
#[path = "describe_tests.rs"]
mod tests;
