//! What a route refers to: the services it is attached to, and those it sends requests to.
//!
//! Either may be in another namespace. Whether that is allowed is not known here: it depends on grants that may come and go,
//! and is decided when a view is made.

use super::fault::Faults;
use super::field;
use super::spec::{BackendRef, GrantSpec, ParentRef};
use weft_model::route::{Grant, Parent, RouteKind};
use weft_model::{Port, ServiceName};

const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

/// What a route of `namespace` is attached to.
pub fn parents(namespace: &str, refs: &[ParentRef], faults: &mut Faults) -> Vec<Parent> {
    if refs.is_empty() {
        faults.add("spec.parentRefs", "a route needs at least one parent");
    }
    field::at_most(32, refs.len(), "spec.parentRefs", faults);
    let mut parents = Vec::new();
    for (index, spec) in refs.iter().enumerate() {
        let at = format!("spec.parentRefs[{index}]");
        field::service_kind(spec.group.as_deref(), spec.kind.as_deref(), "Gateway", &at, faults);
        let why = "name the port by its number in port";
        field::unsupported(&spec.section_name, format!("{at}.sectionName"), why, faults);
        let port = spec.port.and_then(|number| field::port(number, format!("{at}.port"), faults));
        let Some(service) = service(namespace, spec.namespace.as_deref(), &spec.name, &at, faults) else { continue };
        let parent = Parent { service, port };
        if parents.contains(&parent) {
            faults.add(format!("{at}.name"), format_args!("{:?} stands there twice", spec.name));
        }
        parents.push(parent);
    }
    parents
}

/// The service and port that requests are sent to.
pub fn backend(namespace: &str, spec: &BackendRef, at: &str, faults: &mut Faults) -> Option<(ServiceName, Port)> {
    field::service_kind(spec.group.as_deref(), spec.kind.as_deref(), "Service", at, faults);
    let service = service(namespace, spec.namespace.as_deref(), &spec.name, at, faults);
    let port_at = format!("{at}.port");
    let port = match spec.port {
        Some(number) => field::port(number, port_at, faults),
        None => {
            faults.add(port_at, "missing: a Service as backend needs a port");
            None
        }
    };
    service.zip(port)
}

fn service(own: &str, other: Option<&str>, name: &str, at: &str, faults: &mut Faults) -> Option<ServiceName> {
    let namespace = match other {
        None => own.to_owned(),
        Some(other) => field::label(other, format!("{at}.namespace"), faults)?,
    };
    field::service(&namespace, name, format!("{at}.name"), faults)
}

/// A ReferenceGrant of the namespace `namespace`.
pub fn grant(namespace: &str, spec: GrantSpec, faults: &mut Faults) -> Grant {
    for (at, given) in [("spec.from", spec.from.len()), ("spec.to", spec.to.len())] {
        field::at_most(16, given, at, faults);
        if given == 0 {
            faults.add(at, "must not be empty");
        }
    }
    let mut from = Vec::new();
    for (index, given) in spec.from.iter().enumerate() {
        let at = format!("spec.from[{index}]");
        if given.group != GATEWAY_GROUP {
            faults
                .add(format!("{at}.group"), format_args!("{:?} is not supported, only {GATEWAY_GROUP:?}", given.group));
        }
        let kind = match given.kind.as_str() {
            "HTTPRoute" => RouteKind::Http,
            "GRPCRoute" => RouteKind::Grpc,
            other => {
                faults
                    .add(format!("{at}.kind"), format_args!("{other} is not supported, only HTTPRoute and GRPCRoute"));
                continue;
            }
        };
        from.extend(field::label(&given.namespace, format!("{at}.namespace"), faults).map(|from| (kind, from)));
    }
    let mut to = Vec::new();
    for (index, given) in spec.to.iter().enumerate() {
        let at = format!("spec.to[{index}]");
        field::service_kind(Some(&given.group), Some(&given.kind), "Service", &at, faults);
        match &given.name {
            None => to.push(None),
            Some(name) => to.extend(field::label(name, format!("{at}.name"), faults).map(Some)),
        }
    }
    Grant { namespace: namespace.to_owned(), from, to }
}
