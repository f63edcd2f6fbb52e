//! Routes and grants: what they become, and what is told about each mistake in them.
//!
//! The helpers write the document around the part that a row is about.

use crate::{check, document, good};
use std::time::Duration;
use weft_discovery::translate::Object;
use weft_model::route::{Parent, PathMatch, PathRewrite, Rewrite, RouteKind, RouteRetry, Rule, ValuePattern};
use weft_model::{Route, ServiceName};

/// A route to cart with one rule, which begins with `rule`.
fn rule(rule: &str) -> String {
    route(&format!(
        "{{parentRefs: [{{group: '', kind: Service, name: cart}}], rules: [{{{rule}, backendRefs: [{{name: cart, port: 80}}]}}]}}"
    ))
}

pub fn backends(refs: &str) -> String {
    route(&format!("{{parentRefs: [{{group: '', kind: Service, name: cart}}], rules: [{{backendRefs: {refs}}}]}}"))
}

fn parents(refs: &str) -> String {
    route(&format!("{{parentRefs: {refs}, rules: [{{backendRefs: [{{name: cart, port: 80}}]}}]}}"))
}

fn route(spec: &str) -> String {
    document("gateway.networking.k8s.io/v1", "HTTPRoute", spec)
}

fn grpc_rule(rule: &str) -> String {
    let rules = format!("[{{{rule}, backendRefs: [{{name: cart, port: 80}}]}}]");
    let spec = format!("{{parentRefs: [{{group: '', kind: Service, name: cart}}], rules: {rules}}}");
    document("gateway.networking.k8s.io/v1", "GRPCRoute", &spec)
}

fn grant(from: &str, to: &str) -> String {
    document("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", &format!("{{from: {from}, to: {to}}}"))
}

/// cart, or a port of it.
fn parent(namespace: &str, port: Option<u16>) -> Parent {
    let service = ServiceName::new(namespace, "cart").unwrap();
    Parent { service, port: port.map(|port| port.try_into().unwrap()) }
}

fn good_route(yaml: &str) -> (Vec<Parent>, Route) {
    match good(yaml).object {
        Object::Route { parents, route } => (parents, route),
        other => panic!("it is a route, not {other:?}"),
    }
}

#[test]
fn backends_of_routes() {
    let table = [
        (
            backends("[{name: cart, port: 80, weight: 0}]"),
            "HTTPRoute shop/x: spec.rules[0].backendRefs: weights sum to zero",
        ),
        (backends("[]"), "HTTPRoute shop/x: spec.rules[0].backendRefs: a rule needs at least one backend"),
        (
            backends("[{name: cart}]"),
            "HTTPRoute shop/x: spec.rules[0].backendRefs[0].port: missing: a Service as backend needs a port",
        ),
        (
            backends("[{name: cart, port: 0}]"),
            "HTTPRoute shop/x: spec.rules[0].backendRefs[0].port: 0 is not a port (1 to 65535)",
        ),
        (backends("[{port: 80}]"), "HTTPRoute shop/x: spec.rules[0].backendRefs[0].name: missing"),
        (
            backends("[{name: cart, port: 80, weight: -1}]"),
            "HTTPRoute shop/x: spec.rules[0].backendRefs[0].weight: -1 is out of range (0 to 1000000)",
        ),
        (
            backends("[{name: cart, port: 80, namespace: Other}]"),
            "HTTPRoute shop/x: spec.rules[0].backendRefs[0].namespace: \"Other\" is not a DNS label: use 1 to 63 lower-case letters, \
             digits and '-', starting and ending with a letter or digit (RFC 1123)",
        ),
        (
            backends("[{name: cart, port: 80, kind: Pod}]"),
            "HTTPRoute shop/x: spec.rules[0].backendRefs[0].kind: Pod is not supported, only Service (with group \"\")",
        ),
    ];
    check(&table);
}

#[test]
fn parents_of_routes() {
    let table = [
        (parents("[]"), "HTTPRoute shop/x: spec.parentRefs: a route needs at least one parent"),
        (
            parents("[{name: gw}]"),
            "HTTPRoute shop/x: spec.parentRefs[0].kind: Gateway is not supported, only Service (with group \"\")",
        ),
        (
            parents("[{group: apps, kind: Service, name: cart}]"),
            "HTTPRoute shop/x: spec.parentRefs[0].group: \"apps\" is not supported, only \"\", the group of Service",
        ),
        (
            parents("[{group: '', kind: Service, name: cart}, {group: '', kind: Service, name: cart}]"),
            "HTTPRoute shop/x: spec.parentRefs[1].name: \"cart\" stands there twice",
        ),
        (
            parents(
                "[{group: '', kind: Service, name: cart, port: 80}, {group: '', kind: Service, name: cart, port: 0}]",
            ),
            "HTTPRoute shop/x: spec.parentRefs[1].port: 0 is not a port (1 to 65535)",
        ),
        (
            parents("[{group: '', kind: Service, name: cart, sectionName: http}]"),
            "HTTPRoute shop/x: spec.parentRefs[0].sectionName: not supported: name the port by its number in port",
        ),
    ];
    check(&table);
}

#[test]
fn matches_of_routes() {
    let table = [
        (rule("match: []"), "HTTPRoute shop/x: spec.rules[0].match: unknown field"),
        (
            rule("matches: [{path: {value: cart}}]"),
            "HTTPRoute shop/x: spec.rules[0].matches[0].path.value: \"cart\" must begin with '/'",
        ),
        (
            rule("matches: [{path: {type: Exact, value: /a/../b}}]"),
            "HTTPRoute shop/x: spec.rules[0].matches[0].path.value: \"/a/../b\" must not contain empty, '.' or '..' segments",
        ),
        (
            rule("matches: [{path: {type: RegularExpression, value: '/(a'}}]"),
            "HTTPRoute shop/x: spec.rules[0].matches[0].path.value: \"/(a\" is not a usable regular expression: unclosed group",
        ),
        (
            rule("matches: [{path: {type: Glob, value: /a}}]"),
            "HTTPRoute shop/x: spec.rules[0].matches[0].path.type: unknown variant `Glob`, expected one of `Exact`, `PathPrefix`, `RegularExpression`",
        ),
        (
            rule("matches: [{method: FETCH}]"),
            "HTTPRoute shop/x: spec.rules[0].matches[0].method: unknown variant `FETCH`, expected one of `GET`, `HEAD`, `POST`, \
             `PUT`, `DELETE`, `CONNECT`, `OPTIONS`, `TRACE`, `PATCH`",
        ),
        (
            rule("matches: [{headers: [{name: 'a b', value: c}]}]"),
            "HTTPRoute shop/x: spec.rules[0].matches[0].headers[0].name: \"a b\" is not a header name (RFC 9110)",
        ),
        (
            rule("matches: [{headers: [{name: A, value: c}, {name: a, value: d}]}]"),
            "HTTPRoute shop/x: spec.rules[0].matches[0].headers[1].name: \"a\" stands there twice",
        ),
        (
            rule("matches: [{queryParams: [{name: '', value: c}]}]"),
            "HTTPRoute shop/x: spec.rules[0].matches[0].queryParams[0].name: must not be empty",
        ),
    ];
    check(&table);
}

#[test]
fn filters_and_times_of_routes() {
    let table = [
        (
            rule("filters: [{type: CORS}]"),
            "HTTPRoute shop/x: spec.rules[0].filters[0].type: unknown variant `CORS`, expected one of `RequestHeaderModifier`, \
             `ResponseHeaderModifier`, `RequestRedirect`, `URLRewrite`, `RequestMirror`",
        ),
        (
            rule("filters: [{type: RequestHeaderModifier}]"),
            "HTTPRoute shop/x: spec.rules[0].filters[0].requestHeaderModifier: missing, although the type of the filter asks for it",
        ),
        (
            rule("filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [Content-Length]}}]"),
            "HTTPRoute shop/x: spec.rules[0].filters[0].requestHeaderModifier.remove[0]: content-length belongs to the connection \
             or to the mesh and cannot be edited",
        ),
        (
            rule(
                "filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: a, value: \"b\\r\\nc: d\"}]}}]",
            ),
            "HTTPRoute shop/x: spec.rules[0].filters[0].responseHeaderModifier.set[0].value: \"b\\r\\nc: d\" is not a header value: \
             visible ASCII, spaces only inside (RFC 9110)",
        ),
        (
            rule("timeouts: {request: 5}"),
            "HTTPRoute shop/x: spec.rules[0].timeouts.request: invalid type: integer `5`, expected a string",
        ),
        (
            rule("timeouts: {request: 5 s}"),
            "HTTPRoute shop/x: spec.rules[0].timeouts.request: \"5 s\" is not a duration such as 10s, 500ms or 1h30m (GEP-2257)",
        ),
        (
            rule("timeouts: {request: 1s, backendRequest: 2s}"),
            "HTTPRoute shop/x: spec.rules[0].timeouts.backendRequest: longer than timeouts.request, of which it is a part",
        ),
        (
            route("{parentRefs: [{group: '', kind: Service, name: cart}], rules: []}"),
            "HTTPRoute shop/x: spec.rules: a route needs at least one rule",
        ),
        (
            route(
                "{hostnames: [Cart.example], parentRefs: [{group: '', kind: Service, name: cart}], rules: [{backendRefs: [{name: cart, port: 80}]}]}",
            ),
            "HTTPRoute shop/x: spec.hostnames[0]: \"Cart.example\" is not a host name: lower-case DNS labels joined by dots, or \"*.\" and such a name",
        ),
        (
            route(
                "{hostnames: [10.0.0.1], parentRefs: [{group: '', kind: Service, name: cart}], rules: [{backendRefs: [{name: cart, port: 80}]}]}",
            ),
            "HTTPRoute shop/x: spec.hostnames[0]: 10.0.0.1 is an IP address, not a host name",
        ),
    ];
    check(&table);
}

#[test]
fn filters_that_send_elsewhere() {
    let table = [
        (
            rule("filters: [{type: RequestRedirect, requestRedirect: {statusCode: 304}}]"),
            "HTTPRoute shop/x: spec.rules[0].filters[0].requestRedirect.statusCode: 304 is not 301, 302, 303, 307 or 308",
        ),
        (
            rule("filters: [{type: RequestRedirect, requestRedirect: {}}]"),
            "HTTPRoute shop/x: spec.rules[0].backendRefs: a rule that redirects has no backends",
        ),
        (
            rule(
                "filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /a}}}]",
            ),
            "HTTPRoute shop/x: spec.rules[0].filters[0].urlRewrite.path: ReplacePrefixMatch needs a rule with exactly one match, \
             which names a path of type PathPrefix",
        ),
        (
            rule(
                "filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: \"/a b\"}}}]",
            ),
            "HTTPRoute shop/x: spec.rules[0].filters[0].urlRewrite.path.replaceFullPath: \"/a b\" must be visible ASCII; encode the \
             rest as %XX",
        ),
        (
            rule("filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath}}}]"),
            "HTTPRoute shop/x: spec.rules[0].filters[0].urlRewrite.path.replaceFullPath: missing, although the type asks for it",
        ),
        (
            rule("filters: [{type: URLRewrite, urlRewrite: {}}, {type: URLRewrite, urlRewrite: {}}]"),
            "HTTPRoute shop/x: spec.rules[0].filters[1].type: a rule has one filter of this type at most",
        ),
        (
            rule("filters: [{type: URLRewrite, urlRewrite: {}, requestMirror: {backendRef: {name: a, port: 80}}}]"),
            "HTTPRoute shop/x: spec.rules[0].filters[0].requestMirror: does not belong to the type URLRewrite",
        ),
        (
            rule("filters: [{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 80}, percent: 101}}]"),
            "HTTPRoute shop/x: spec.rules[0].filters[0].requestMirror.percent: 101 is out of range (0 to 100)",
        ),
        (
            rule(
                "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 80}, fraction: {numerator: 1, denominator: 0}}}]",
            ),
            "HTTPRoute shop/x: spec.rules[0].filters[0].requestMirror.fraction.denominator: 0 is out of range (1 to 2147483647)",
        ),
        (
            backends("[{name: cart, port: 80, filters: [{type: URLRewrite, urlRewrite: {hostname: a}}]}]"),
            "HTTPRoute shop/x: spec.rules[0].backendRefs[0].filters[0].type: URLRewrite is not supported here, only on the rule",
        ),
        (rule("retry: {attempts: 11}"), "HTTPRoute shop/x: spec.rules[0].retry.attempts: 11 is out of range (0 to 10)"),
        (
            rule("retry: {codes: [200]}"),
            "HTTPRoute shop/x: spec.rules[0].retry.codes[0]: 200 is out of range (400 to 599)",
        ),
    ];
    check(&table);
}

#[test]
fn grpc_routes_and_grants() {
    let table = [
        (
            grpc_rule("matches: [{method: {}}]"),
            "GRPCRoute shop/x: spec.rules[0].matches[0].method: names neither service nor method",
        ),
        (
            grpc_rule("matches: [{method: {service: 'a/b'}}]"),
            "GRPCRoute shop/x: spec.rules[0].matches[0].method.service: \"a/b\" is not the name of a gRPC service",
        ),
        (grpc_rule("matches: [{path: {value: /a}}]"), "GRPCRoute shop/x: spec.rules[0].matches[0].path: unknown field"),
        (
            grpc_rule("timeouts: {request: 1s}"),
            "GRPCRoute shop/x: spec.rules[0].timeouts: not supported: a GRPCRoute has none; use a TrafficPolicy",
        ),
        (
            grpc_rule("filters: [{type: URLRewrite, urlRewrite: {}}]"),
            "GRPCRoute shop/x: spec.rules[0].filters: URLRewrite is not for a GRPCRoute",
        ),
        (
            grant(
                "[{group: gateway.networking.k8s.io, kind: Gateway, namespace: web}]",
                "[{group: '', kind: Service}]",
            ),
            "ReferenceGrant shop/x: spec.from[0].kind: Gateway is not supported, only HTTPRoute and GRPCRoute",
        ),
        (
            grant(
                "[{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: web}]",
                "[{group: '', kind: Secret}]",
            ),
            "ReferenceGrant shop/x: spec.to[0].kind: Secret is not supported, only Service (with group \"\")",
        ),
        (
            grant("[{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: web}]", "[]"),
            "ReferenceGrant shop/x: spec.to: must not be empty",
        ),
    ];
    check(&table);
    let path = |method: &str| {
        let (_, route) = good_route(&grpc_rule(&format!("matches: [{{method: {method}}}]")));
        assert_eq!(route.kind, RouteKind::Grpc);
        route.rules[0].matches[0].path.clone()
    };
    assert_eq!(path("{service: shop.Cart, method: Add}"), PathMatch::Exact("/shop.Cart/Add".to_owned()));
    assert_eq!(path("{service: shop.Cart}"), PathMatch::Prefix("/shop.Cart".to_owned()));
    assert_eq!(path("{method: Add}"), PathMatch::Regex("/[^/]+/Add".to_owned()));
    let pattern = PathMatch::Regex("/(?:shop\\..*)/(?:[^/]+)".to_owned());
    assert_eq!(path("{type: RegularExpression, service: 'shop\\..*'}"), pattern);
}

#[test]
fn a_route_that_sends_elsewhere_in_the_form_the_model_promises() {
    let filters = "[{type: URLRewrite, urlRewrite: {hostname: a.b, path: {type: ReplacePrefixMatch, replacePrefixMatch: ''}}}, \
                   {type: RequestMirror, requestMirror: {backendRef: {name: copy, port: 81}, percent: 5}}]";
    let yaml = rule(&format!(
        "matches: [{{path: {{value: /a}}}}], filters: {filters}, retry: {{attempts: 1, codes: [500], backoff: 5ms}}"
    ));
    let (_, route) = good_route(&yaml);
    let rule = &route.rules[0];
    let path = Some(PathRewrite::Prefix("/".to_owned()));
    assert_eq!(rule.rewrite, Some(Rewrite { hostname: Some("a.b".to_owned()), path }));
    assert_eq!((rule.mirrors[0].numerator, rule.mirrors[0].denominator), (5, 100));
    let backoff = Some(Duration::from_millis(5));
    assert_eq!(rule.retry, Some(RouteRetry { attempts: Some(1), statuses: Some(vec![500]), backoff }));
    let elsewhere = "[{group: '', kind: Service, name: cart, namespace: other}]";
    assert_eq!(good_route(&parents(elsewhere)).0, [parent("other", None)]);
    let ports = "[{group: '', kind: Service, name: cart, port: 80}, {group: '', kind: Service, name: cart, port: 81}]";
    assert_eq!(good_route(&parents(ports)).0, [parent("shop", Some(80)), parent("shop", Some(81))]);
}

#[test]
fn a_route_in_the_form_the_model_promises() {
    let yaml = rule(
        "name: v2, matches: [{path: {value: /cart/}, method: GET, headers: [{name: X-Beta, type: RegularExpression, value: 'y.*'}]}], \
         filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Via, value: weft}], remove: [X-Debug]}}], \
         timeouts: {request: 1m30s, backendRequest: 0s}",
    );
    let (parents, route) = good_route(&yaml);
    assert_eq!(parents, [parent("shop", None)]);
    let rule = &route.rules[0];
    assert_eq!(rule.matches[0].path, PathMatch::Prefix("/cart".to_owned()));
    assert_eq!(rule.matches[0].method.as_deref(), Some("GET"));
    assert_eq!(rule.matches[0].headers[0].name, "x-beta");
    assert_eq!(rule.matches[0].headers[0].value, ValuePattern::Regex("y.*".to_owned()));
    assert_eq!(rule.request_headers.set, [("x-via".to_owned(), "weft".to_owned())]);
    assert_eq!(rule.request_headers.remove, ["x-debug"]);
    assert_eq!((rule.request_timeout, rule.backend_timeout), (Some(Duration::from_secs(90)), Some(Rule::NO_LIMIT)));
    assert_eq!(rule.backends[0].weight, 1);
}
