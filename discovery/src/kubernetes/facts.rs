//! What is kept of each Kubernetes object: the few facts that records are made of.
//!
//! Read as soon as an object comes in, so that the cache's size is that of the facts: no managed fields, no templates, no
//! status that nobody asks for. An object that changed in nothing else is no change. What cannot be read says why, once.

use k8s_openapi::api::core::v1::{Container, Node as NodeObject, Pod as PodObject, Service as ServiceObject};
use k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice};
use kube::api::{ObjectMeta, PartialObjectMeta};
use std::net::IpAddr;
use weft_model::{Hints, Port, Protocol, ServicePort};

/// Put on pods by the injector: the version that injected them.
pub const INJECTED: &str = "weft.dev/injected";
/// The sidecar's container, a native sidecar or a plain one.
pub const SIDECAR: &str = "weft-proxy";
/// What a slice belongs to.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
const ZONE: &str = "topology.kubernetes.io/zone";
/// Of a Service without virtual address.
pub const HEADLESS: &str = "None";

/// Namespace and name; no namespace: of the whole cluster.
pub type ObjectName = (String, String);

pub fn name_of(metadata: &ObjectMeta) -> ObjectName {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// None of a headless service.
    pub addresses: Vec<IpAddr>,
    /// Those that a sidecar carries: TCP.
    pub ports: Vec<ServicePort>,
    /// Whoever asks is told of pods that are not ready, too.
    pub publish_not_ready: bool,
    /// Only for clients of the same node.
    pub node_local: bool,
    /// IPv6 is its first family.
    pub prefers_v6: bool,
}

/// An EndpointSlice of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    pub service: String,
    /// Of TCP, by name.
    pub ports: Vec<(String, Port)>,
    pub endpoints: Vec<SliceMember>,
}

/// One endpoint of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceMember {
    pub address: IpAddr,
    /// Name and UID of the pod behind it.
    pub pod: Option<(String, String)>,
    pub hostname: Option<String>,
    pub node: Option<String>,
    pub zone: Option<String>,
    pub hints: Hints,
    pub ready: bool,
    pub terminating: bool,
}

/// A Pod that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    pub uid: String,
    pub account: String,
    /// Its sidecar answers for it.
    pub meshed: bool,
    pub terminating: bool,
}

/// A Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub zone: Option<String>,
}

impl Service {
    /// `None`: nothing that the mesh could carry.
    pub fn read(object: &ServiceObject) -> Option<Self> {
        let spec = object.spec.as_ref()?;
        if spec.type_.as_deref() == Some("ExternalName") {
            // A name for another name: the cluster's own DNS says which.
            return None;
        }
        let listed = spec.cluster_ips.iter().flatten();
        let given = listed.chain(spec.cluster_ip.iter().filter(|_| spec.cluster_ips.is_none()));
        let given: Vec<&String> = given.filter(|ip| !ip.is_empty()).collect();
        if given.is_empty() {
            // Not allotted yet; it comes again when it is.
            return None;
        }
        let addresses = given.iter().filter(|ip| **ip != HEADLESS).filter_map(|ip| ip.parse().ok()).collect();
        let ports: Vec<_> = spec.ports.iter().flatten().filter_map(port).collect();
        let publish_not_ready = spec.publish_not_ready_addresses == Some(true);
        let node_local = spec.internal_traffic_policy.as_deref() == Some("Local");
        let prefers_v6 = spec.ip_families.iter().flatten().next().is_some_and(|family| family == "IPv6");
        (!ports.is_empty()).then_some(Self { addresses, ports, publish_not_ready, node_local, prefers_v6 })
    }
}

fn port(spec: &k8s_openapi::api::core::v1::ServicePort) -> Option<ServicePort> {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    if !is_tcp(spec.protocol.as_deref()) {
        return None;
    }
    let name = spec.name.clone().unwrap_or_default();
    let port = number(spec.port)?;
    // A name stands for a number that each pod has of its own: slices say it.
    let target_port = match &spec.target_port {
        Some(IntOrString::Int(target)) => number(*target).unwrap_or(port),
        _ => port,
    };
    let protocol = Protocol::declared(spec.app_protocol.as_deref(), &name);
    Some(ServicePort { name, port, target_port, protocol })
}

fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol == "TCP")
}

fn number(port: i32) -> Option<Port> {
    Port::new(u16::try_from(port).ok()?)
}

impl Slice {
    /// `None`: of no service, or of names instead of addresses.
    pub fn read(object: &EndpointSlice) -> Option<Self> {
        let service = object.metadata.labels.as_ref()?.get(SERVICE_NAME)?.clone();
        if object.address_type == "FQDN" {
            return None;
        }
        let ports = object.ports.iter().flatten().filter(|port| is_tcp(port.protocol.as_deref()));
        let ports = ports.filter_map(|port| Some((port.name.clone().unwrap_or_default(), number(port.port?)?)));
        let endpoints = object.endpoints.iter().filter_map(SliceMember::read).collect();
        Some(Self { service, ports: ports.collect(), endpoints })
    }
}

impl SliceMember {
    fn read(endpoint: &SliceEndpoint) -> Option<Self> {
        let address: IpAddr = endpoint.addresses.first()?.parse().ok()?;
        if address.is_unspecified() || address.is_multicast() {
            return None;
        }
        let conditions = endpoint.conditions.clone().unwrap_or_default();
        let target = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
        let pod = target.and_then(|pod| Some((pod.name.clone()?, pod.uid.clone().unwrap_or_default())));
        Some(Self {
            address,
            pod,
            hostname: endpoint.hostname.clone(),
            node: endpoint.node_name.clone(),
            zone: endpoint.zone.clone(),
            hints: hints(endpoint),
            // What is not said is ready (discovery.k8s.io/v1).
            ready: conditions.ready.unwrap_or(true),
            terminating: conditions.terminating.unwrap_or(false),
        })
    }
}

/// For whom the EndpointSlice controller means it: what became of `trafficDistribution` and of `topology-mode`.
fn hints(endpoint: &SliceEndpoint) -> Hints {
    let Some(hints) = &endpoint.hints else { return Hints::default() };
    let zones = hints.for_zones.iter().flatten().map(|zone| zone.name.clone());
    let nodes = hints.for_nodes.iter().flatten().map(|node| node.name.clone());
    Hints { zones: zones.collect(), nodes: nodes.collect() }
}

impl Pod {
    pub fn read(object: &PodObject) -> Option<Self> {
        let spec = object.spec.as_ref()?;
        let injected = object.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(INJECTED));
        let sidecar = |container: &Container| container.name == SIDECAR;
        let sidecar = spec.containers.iter().chain(spec.init_containers.iter().flatten()).any(sidecar);
        Some(Self {
            uid: object.metadata.uid.clone().unwrap_or_default(),
            account: spec.service_account_name.clone().unwrap_or_else(|| "default".to_owned()),
            meshed: injected && sidecar,
            terminating: object.metadata.deletion_timestamp.is_some(),
        })
    }
}

impl Node {
    pub fn read(object: &PartialObjectMeta<NodeObject>) -> Self {
        Self { zone: object.metadata.labels.as_ref().and_then(|labels| labels.get(ZONE)).cloned() }
    }
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
