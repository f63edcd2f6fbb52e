//! Gateway API `HTTPRoute` and `GRPCRoute` with Services as parents (the mesh profile, "GAMMA") to the model's route.
//!
//! The limits are those of the Gateway API's own schema, so that a document that is taken here is taken by a cluster too.
//! What a route may say but the proxy does not do yet is refused by name, never ignored.

use super::fault::Faults;
use super::spec::{BackendRef, GrpcRouteSpec, HttpRouteSpec, RetrySpec, RouteSpec, RuleSpec, TimeoutsSpec};
use super::{field, filter, matching, reference, session};
use std::time::Duration;
use weft_model::route::{Backend, Match, Parent, PathMatch, Route, RouteKind, RouteRetry, Rule};

/// What an HTTPRoute is attached to, and the route.
pub fn http(namespace: &str, name: &str, spec: HttpRouteSpec, faults: &mut Faults) -> (Vec<Parent>, Route) {
    translate(RouteKind::Http, namespace, name, spec, matching::http, faults)
}

/// What a GRPCRoute is attached to, and the route.
pub fn grpc(namespace: &str, name: &str, spec: GrpcRouteSpec, faults: &mut Faults) -> (Vec<Parent>, Route) {
    for (index, rule) in spec.rules.iter().enumerate() {
        let at = format!("spec.rules[{index}]");
        field::unsupported(
            &rule.timeouts,
            format!("{at}.timeouts"),
            "a GRPCRoute has none; use a TrafficPolicy",
            faults,
        );
        field::unsupported(&rule.retry, format!("{at}.retry"), "a GRPCRoute has none; use a TrafficPolicy", faults);
    }
    let (parents, route) = translate(RouteKind::Grpc, namespace, name, spec, matching::grpc, faults);
    for (index, rule) in route.rules.iter().enumerate().filter(|(_, r)| r.redirect.is_some() || r.rewrite.is_some()) {
        let filter = if rule.redirect.is_some() { "RequestRedirect" } else { "URLRewrite" };
        faults.add(format!("spec.rules[{index}].filters"), format_args!("{filter} is not for a GRPCRoute"));
    }
    (parents, route)
}

type Matching<M> = fn(M, &str, &mut Faults) -> Match;

fn translate<M>(
    kind: RouteKind,
    namespace: &str,
    name: &str,
    spec: RouteSpec<M>,
    matching: Matching<M>,
    faults: &mut Faults,
) -> (Vec<Parent>, Route) {
    let parents = reference::parents(namespace, &spec.parent_refs, faults);
    field::at_most(16, spec.hostnames.len(), "spec.hostnames", faults);
    let hostnames = spec.hostnames.iter().enumerate();
    let hostnames = hostnames.filter_map(|(i, host)| hostname(host, format!("spec.hostnames[{i}]"), faults)).collect();
    if spec.rules.is_empty() {
        faults.add("spec.rules", "a route needs at least one rule");
    }
    field::at_most(16, spec.rules.len(), "spec.rules", faults);
    let rules = spec.rules.into_iter().enumerate();
    let rules: Vec<_> = rules.map(|(i, spec)| rule(kind, [namespace, name], i, spec, matching, faults)).collect();
    for (index, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.name.is_some()) {
        if rules[..index].iter().any(|other| other.name == rule.name) {
            faults.add(format!("spec.rules[{index}].name"), "is the name of another rule too");
        }
    }
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    (parents, Route { kind, namespace, name, port: None, hostnames, rules })
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

fn rule<M>(
    kind: RouteKind,
    route: [&str; 2],
    number: usize,
    spec: RuleSpec<M>,
    matching: Matching<M>,
    faults: &mut Faults,
) -> Rule {
    let (namespace, at) = (route[0], &*format!("spec.rules[{number}]"));
    let name = spec.name.and_then(|name| field::subdomain(&name, format!("{at}.name"), faults));
    field::at_most(64, spec.matches.len(), &format!("{at}.matches"), faults);
    let matches = spec.matches.into_iter().enumerate();
    let matches: Vec<_> = matches.map(|(i, spec)| matching(spec, &format!("{at}.matches[{i}]"), faults)).collect();
    let prefix = matches!(&matches[..], [Match { path: PathMatch::Prefix(_), .. }]);
    let filters = filter::of_rule(namespace, spec.filters, prefix, at, faults);
    let backends_at = format!("{at}.backendRefs");
    let backends = match filters.redirect.is_some() {
        false => backends(namespace, spec.backend_refs, &backends_at, faults),
        true => {
            if !spec.backend_refs.is_empty() {
                faults.add(backends_at, "a rule that redirects has no backends");
            }
            Vec::new()
        }
    };
    let session = spec.session_persistence.and_then(|spec| {
        let kind = if kind == RouteKind::Http { "http" } else { "grpc" };
        let rule = name.clone().unwrap_or_else(|| number.to_string());
        let at = format!("{at}.sessionPersistence");
        session::persistence(spec, [kind, namespace, route[1]], &rule, &at, faults)
    });
    let (request_timeout, backend_timeout) = timeouts(spec.timeouts.unwrap_or_default(), at, faults);
    Rule {
        name,
        matches,
        request_headers: filters.request,
        response_headers: filters.response,
        redirect: filters.redirect,
        rewrite: filters.rewrite,
        mirrors: filters.mirrors,
        backends,
        retry: spec.retry.map(|spec| retry(spec, &format!("{at}.retry"), faults)),
        session,
        request_timeout,
        backend_timeout,
    }
}

/// Limits for the whole request and for one try; `0s` switches one off that a policy would set.
fn timeouts(spec: TimeoutsSpec, at: &str, faults: &mut Faults) -> (Option<Duration>, Option<Duration>) {
    let mut limit = |text: Option<String>, at: &str| {
        let given = field::duration(&text?, at, faults)?;
        Some(if given.is_zero() { Rule::NO_LIMIT } else { given })
    };
    let request = limit(spec.request, &format!("{at}.timeouts.request"));
    let backend_at = format!("{at}.timeouts.backendRequest");
    let backend = limit(spec.backend_request, &backend_at);
    if let (Some(request), Some(backend)) = (request, backend)
        && backend > request
        && backend != Rule::NO_LIMIT
    {
        faults.add(backend_at, "longer than timeouts.request, of which it is a part");
    }
    (request, backend)
}

fn retry(spec: RetrySpec, at: &str, faults: &mut Faults) -> RouteRetry {
    let attempts = spec.attempts;
    let statuses = spec.codes.map(|codes| {
        let codes = codes.into_iter().enumerate();
        codes.filter_map(|(i, code)| field::number(code, 400, 599, format!("{at}.codes[{i}]"), faults)).collect()
    });
    RouteRetry {
        attempts: attempts.and_then(|given| field::number(given, 0, 10, format!("{at}.attempts"), faults)),
        statuses,
        backoff: field::limit(spec.backoff.as_deref(), format!("{at}.backoff"), faults),
    }
}

fn backends(namespace: &str, refs: Vec<BackendRef>, at: &str, faults: &mut Faults) -> Vec<Backend> {
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

fn backend(namespace: &str, spec: BackendRef, at: &str, faults: &mut Faults) -> Option<Backend> {
    let target = reference::backend(namespace, &spec, at, faults);
    let weight = field::number(spec.weight.unwrap_or(1), 0, 1_000_000, format!("{at}.weight"), faults);
    let (request_headers, response_headers) = filter::of_backend(spec.filters.unwrap_or_default(), at, faults);
    let (service, port) = target?;
    Some(Backend { request_headers, response_headers, ..Backend::new(service, port, weight?) })
}
