//! `v1 Service` to the model's service.
//!
//! Applied documents only name and shape the service: its virtual address is allotted when it is stored, and its
//! endpoints register themselves. Fields that would promise what is not done are refused, never ignored.

use super::fault::Faults;
use super::field;
use k8s_openapi::api::core::v1::{ServicePort as PortSpec, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::HashSet;
use weft_model::{Port, Protocol, Service, ServiceName, ServicePort};

const ALLOTTED: &str = "the virtual address is allotted; leave the field out, or say None for a service without one";

/// Translates `spec`. The flag says whether the service is to have a virtual address.
pub fn translate(name: Option<ServiceName>, spec: ServiceSpec, faults: &mut Faults) -> Option<(Service, bool)> {
    refuse_unsupported(&spec, faults);
    let addressed = addressed(&spec, faults);
    if spec.selector.is_some_and(|selector| !selector.is_empty()) {
        let why = "not supported outside Kubernetes, where there are no pods to select: endpoints register themselves or are applied as Endpoint";
        faults.add("spec.selector", why);
    }
    let given = spec.ports.unwrap_or_default();
    if given.is_empty() {
        faults.add("spec.ports", "a service needs at least one port");
    }
    let (mut names, mut numbers) = (HashSet::new(), HashSet::new());
    let mut ports = Vec::new();
    for (index, port) in given.iter().enumerate() {
        let at = format!("spec.ports[{index}]");
        let port_name = port.name.as_deref().unwrap_or_default();
        if port_name.is_empty() && given.len() > 1 {
            faults.add(format!("{at}.name"), "missing: every port of a service with several needs a name");
        } else if !names.insert(port_name) {
            faults.add(format!("{at}.name"), format_args!("{port_name:?} is the name of another port too"));
        }
        if port.port != 0 && !numbers.insert(port.port) {
            faults.add(format!("{at}.port"), format_args!("{} is the number of another port too", port.port));
        }
        ports.extend(translate_port(port, &at, faults));
    }
    Some((Service { name: name?, virtual_addresses: Vec::new(), ports, node_local: false }, addressed))
}

fn translate_port(spec: &PortSpec, at: &str, faults: &mut Faults) -> Option<ServicePort> {
    let name = match spec.name.as_deref() {
        None | Some("") => Some(String::new()),
        Some(name) => field::label(name, format!("{at}.name"), faults),
    };
    if let Some(other) = spec.protocol.as_deref().filter(|protocol| *protocol != "TCP") {
        faults.add(format!("{at}.protocol"), format_args!("{other} is not supported, only TCP"));
    }
    field::unsupported(&spec.node_port, format!("{at}.nodePort"), "a sidecar mesh opens no ports on nodes", faults);
    let port = field::port(spec.port.into(), format!("{at}.port"), faults);
    let target_port = target(spec, port, at, faults);
    let name = name?;
    let protocol = Protocol::declared(spec.app_protocol.as_deref(), &name);
    Some(ServicePort { name, port: port?, target_port: target_port?, protocol })
}

fn target(spec: &PortSpec, port: Option<Port>, at: &str, faults: &mut Faults) -> Option<Port> {
    let at = format!("{at}.targetPort");
    match &spec.target_port {
        None => port,
        Some(IntOrString::Int(number)) => field::port((*number).into(), at, faults),
        Some(IntOrString::String(name)) => {
            let why = "is a name, which only Kubernetes can look up in a pod: give the number";
            faults.add(at, format_args!("{name:?} {why}"));
            None
        }
    }
}

fn addressed(spec: &ServiceSpec, faults: &mut Faults) -> bool {
    let mut addressed = true;
    let listed = spec.cluster_ips.iter().flatten().enumerate().map(|(i, ip)| (format!("spec.clusterIPs[{i}]"), ip));
    for (at, ip) in spec.cluster_ip.iter().map(|ip| ("spec.clusterIP".to_owned(), ip)).chain(listed) {
        match ip.as_str() {
            "" => {}
            "None" => addressed = false,
            ip => faults.add(at, format_args!("{ip}: {ALLOTTED}")),
        }
    }
    addressed
}

/// Values that Kubernetes itself fills in by default pass, so that an exported Service can be applied after little editing.
fn refuse_unsupported(spec: &ServiceSpec, faults: &mut Faults) {
    let mut only = |at: &str, given: &Option<String>, accepted: &[&str], why: &str| {
        if let Some(other) = given.as_deref().filter(|given| !accepted.contains(given)) {
            faults.add(at, format_args!("{other} is not supported{why}"));
        }
    };
    only("spec.type", &spec.type_, &["ClusterIP"], ", only ClusterIP");
    only("spec.internalTrafficPolicy", &spec.internal_traffic_policy, &["Cluster"], ", only Cluster");
    only("spec.ipFamilyPolicy", &spec.ip_family_policy, &["SingleStack"], ", only SingleStack");
    only("spec.sessionAffinity", &spec.session_affinity, &["None"], ": use a TrafficPolicy's sessionAffinity");
    for (index, family) in spec.ip_families.iter().flatten().enumerate() {
        if family != "IPv4" {
            let why = "the family of the virtual address follows the range that discovery was started with";
            faults.add(format!("spec.ipFamilies[{index}]"), format_args!("{family} is not supported: {why}"));
        }
    }
    if spec.publish_not_ready_addresses == Some(true) {
        faults.add("spec.publishNotReadyAddresses", "true is not supported");
    }
    if spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty()) {
        faults.add("spec.externalIPs", "not supported");
    }
    field::unsupported(&spec.external_name, "spec.externalName", "", faults);
    field::unsupported(&spec.external_traffic_policy, "spec.externalTrafficPolicy", "", faults);
    field::unsupported(&spec.health_check_node_port, "spec.healthCheckNodePort", "", faults);
    field::unsupported(&spec.allocate_load_balancer_node_ports, "spec.allocateLoadBalancerNodePorts", "", faults);
    field::unsupported(&spec.load_balancer_class, "spec.loadBalancerClass", "", faults);
    field::unsupported(&spec.load_balancer_ip, "spec.loadBalancerIP", "", faults);
    field::unsupported(&spec.load_balancer_source_ranges, "spec.loadBalancerSourceRanges", "", faults);
    field::unsupported(&spec.session_affinity_config, "spec.sessionAffinityConfig", "", faults);
    field::unsupported(&spec.traffic_distribution, "spec.trafficDistribution", "", faults);
}
