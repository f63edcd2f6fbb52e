//! Gateway API `HTTPRoute` with Services as parents (the mesh profile, "GAMMA") to the model's route.
//!
//! The limits are those of the Gateway API's own schema, so that a document that is taken here is taken by a cluster too.
//! What a route may say but the proxy does not do yet is refused by name, never ignored.

use super::fault::Faults;
use super::{field, filter, matching};
use gateway_api::httproutes::{HttpRouteParentRefs, HttpRouteRules, HttpRouteRulesBackendRefs, HttpRouteSpec};
use weft_model::route::{Backend, Route, Rule};
use weft_model::{Port, ServiceName};

/// The services the route is attached to, and the route.
pub fn translate(namespace: &str, name: &str, spec: HttpRouteSpec, faults: &mut Faults) -> (Vec<ServiceName>, Route) {
    let (parents, port) = parents(namespace, &spec.parent_refs.unwrap_or_default(), faults);
    let given = spec.hostnames.unwrap_or_default();
    let hostnames =
        (given.iter().enumerate()).filter_map(|(i, host)| hostname(host, format!("spec.hostnames[{i}]"), faults));
    let hostnames = hostnames.collect();
    let given = spec.rules.unwrap_or_default();
    if given.is_empty() {
        faults.add("spec.rules", "a route needs at least one rule");
    }
    field::at_most(16, given.len(), "spec.rules", faults);
    let rules =
        (given.into_iter().enumerate()).map(|(i, spec)| rule(namespace, spec, &format!("spec.rules[{i}]"), faults));
    let rules = rules.collect();
    (parents, Route { namespace: namespace.to_owned(), name: name.to_owned(), port, hostnames, rules })
}

/// The parents and the port that they all name, if they do.
fn parents(namespace: &str, refs: &[HttpRouteParentRefs], faults: &mut Faults) -> (Vec<ServiceName>, Option<Port>) {
    if refs.is_empty() {
        faults.add("spec.parentRefs", "a route needs at least one parent");
    }
    field::at_most(32, refs.len(), "spec.parentRefs", faults);
    let mut parents = Vec::new();
    let common = refs.first().and_then(|parent| parent.port);
    for (index, parent) in refs.iter().enumerate() {
        let at = format!("spec.parentRefs[{index}]");
        field::service_kind(parent.group.as_deref(), parent.kind.as_deref(), "Gateway", &at, faults);
        same_namespace(namespace, parent.namespace.as_deref(), &at, faults);
        let why = "name the port by its number in port";
        field::unsupported(&parent.section_name, format!("{at}.sectionName"), why, faults);
        if parent.port != common {
            let why = "not supported: all parents of a route name the same port, or none does";
            faults.add(format!("{at}.port"), why);
        }
        let Some(service) = field::service(namespace, &parent.name, format!("{at}.name"), faults) else { continue };
        if parents.contains(&service) {
            faults.add(format!("{at}.name"), format_args!("{:?} stands there twice", parent.name));
        }
        parents.push(service);
    }
    (parents, common.and_then(|number| field::port(number.into(), "spec.parentRefs[0].port", faults)))
}

fn same_namespace(namespace: &str, given: Option<&str>, at: &str, faults: &mut Faults) {
    if let Some(other) = given.filter(|given| *given != namespace) {
        let reason = format_args!("{other:?} is not supported, only the document's own namespace").to_string();
        faults.add(format!("{at}.namespace"), reason);
    }
}

/// An exact host name or `*.` and a suffix, lower case, without a port.
fn hostname(text: &str, at: String, faults: &mut Faults) -> Option<String> {
    if text.parse::<std::net::IpAddr>().is_ok() {
        faults.add(at, format_args!("{text} is an IP address, not a host name"));
        return None;
    }
    let suffix = text.strip_prefix("*.").unwrap_or(text);
    if weft_model::names::subdomain(suffix).is_err() {
        faults.add(
            at,
            format_args!(
                "{text:?} is not a host name: lower-case DNS labels joined by dots, or \"*.\" and such a name"
            ),
        );
        return None;
    }
    Some(text.to_owned())
}

fn rule(namespace: &str, spec: HttpRouteRules, at: &str, faults: &mut Faults) -> Rule {
    let name = spec.name.and_then(|name| field::subdomain(&name, format!("{at}.name"), faults));
    let given = spec.matches.unwrap_or_default();
    field::at_most(64, given.len(), &format!("{at}.matches"), faults);
    let matches = given.into_iter().enumerate();
    let matches = matches.map(|(i, spec)| matching::translate(spec, &format!("{at}.matches[{i}]"), faults)).collect();
    let (request_headers, response_headers) = filter::translate(spec.filters.unwrap_or_default(), at, faults);
    let backends = backends(namespace, spec.backend_refs.unwrap_or_default(), &format!("{at}.backendRefs"), faults);
    let timeouts = spec.timeouts.unwrap_or_default();
    let request_timeout = field::limit(timeouts.request.as_deref(), format!("{at}.timeouts.request"), faults);
    let backend_at = format!("{at}.timeouts.backendRequest");
    let backend_timeout = field::limit(timeouts.backend_request.as_deref(), &backend_at, faults);
    if let (Some(request), Some(backend)) = (request_timeout, backend_timeout)
        && backend > request
    {
        faults.add(backend_at, "longer than timeouts.request, of which it is a part");
    }
    Rule { name, matches, request_headers, response_headers, backends, request_timeout, backend_timeout }
}

fn backends(namespace: &str, refs: Vec<HttpRouteRulesBackendRefs>, at: &str, faults: &mut Faults) -> Vec<Backend> {
    if refs.is_empty() {
        faults.add(at, "a rule needs at least one backend");
        return Vec::new();
    }
    field::at_most(16, refs.len(), at, faults);
    if refs.iter().all(|backend| backend.weight == Some(0)) {
        faults.add(at, "weights sum to zero");
    }
    let refs = refs.into_iter().enumerate();
    refs.filter_map(|(i, spec)| backend(namespace, spec, &format!("{at}[{i}]"), faults)).collect()
}

fn backend(namespace: &str, spec: HttpRouteRulesBackendRefs, at: &str, faults: &mut Faults) -> Option<Backend> {
    field::service_kind(spec.group.as_deref(), spec.kind.as_deref(), "Service", at, faults);
    same_namespace(namespace, spec.namespace.as_deref(), at, faults);
    let filters = spec.filters.filter(|filters| !filters.is_empty());
    field::unsupported(&filters, format!("{at}.filters"), "set the rule's filters instead", faults);
    let service = field::service(namespace, &spec.name, format!("{at}.name"), faults);
    let port_at = format!("{at}.port");
    let port = match spec.port {
        Some(number) => field::port(number.into(), port_at, faults),
        None => {
            faults.add(port_at, "missing: a Service as backend needs a port");
            None
        }
    };
    let weight = field::number(spec.weight.unwrap_or(1).into(), 0, 1_000_000, format!("{at}.weight"), faults);
    Some(Backend { service: service?, port: port?, weight: weight? })
}
