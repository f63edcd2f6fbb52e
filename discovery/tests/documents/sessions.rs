//! Sessions of policies and of routes' rules, and limits that every document is held to.
//! Each bad document has to be refused with the field named, and nothing else of it taken.

use crate::{check, document, good, policy};
use std::time::Duration;
use weft_discovery::translate::Object;
use weft_model::session::{Carrier, CookieAttributes, SameSite, Session};

fn rule(rule: &str) -> String {
    route(&format!(
        "{{parentRefs: [{{group: '', kind: Service, name: cart}}], rules: [{{{rule}, backendRefs: [{{name: cart, port: 80}}]}}]}}"
    ))
}

fn route(spec: &str) -> String {
    document("gateway.networking.k8s.io/v1", "HTTPRoute", spec)
}

fn cookie(fields: &str) -> String {
    policy(&format!("sessionAffinity: {{cookie: {{{fields}}}}}"))
}

fn persistence(fields: &str) -> String {
    rule(&format!("sessionPersistence: {{{fields}}}"))
}

fn session_of_rule(yaml: &str) -> Session {
    match good(yaml).object {
        Object::Route { route, .. } => route.rules[0].session.clone().unwrap(),
        other => panic!("it is a route, not {other:?}"),
    }
}

#[test]
fn sessions_in_the_form_the_model_promises() {
    let Object::Policy { policy, .. } =
        good(&cookie("name: stay, ttl: 90s, idleTimeout: 10s, sameSite: None, secure: true, path: /a")).object
    else {
        panic!("it is a policy");
    };
    let attributes =
        CookieAttributes { permanent: true, same_site: SameSite::None, secure: true, path: "/a".to_owned() };
    let expected = Session {
        name: "stay".to_owned(),
        absolute_timeout: Some(Duration::from_secs(90)),
        idle_timeout: Some(Duration::from_secs(10)),
        carrier: Carrier::Cookie(attributes),
    };
    assert_eq!(policy.affinity, Some(expected));

    let header = session_of_rule(&persistence("type: Header, sessionName: X-Session, absoluteTimeout: 1h"));
    assert_eq!((header.name.as_str(), &header.carrier), ("x-session", &Carrier::Header));
    let plain = session_of_rule(&persistence("absoluteTimeout: 1h"));
    assert!(plain.name.starts_with("weft-session-") && plain.name.len() == 29, "{}", plain.name);
    assert_eq!(plain.carrier, Carrier::default(), "a cookie that the browser forgets, with an end of its own");
    let again = session_of_rule(&persistence("type: Cookie"));
    assert_eq!(again.name, plain.name, "the same rule has the same name");
    let named = session_of_rule(&rule("name: other, sessionPersistence: {}"));
    assert_ne!(named.name, plain.name);
}

#[test]
fn sessions_that_contradict_themselves() {
    let of_cookie = "TrafficPolicy shop/x: spec.sessionAffinity.cookie";
    let of_rule = "HTTPRoute shop/x: spec.rules[0].sessionPersistence";
    let long = "n".repeat(129);
    let table = [
        (cookie("name: 'a;b'"), format!("{of_cookie}.name: \"a;b\" is not the name of a cookie (RFC 6265)")),
        (cookie(&format!("name: {long}")), format!("{of_cookie}.name: longer than 128 characters")),
        (cookie("name: a, ttl: 0s"), format!("{of_cookie}.ttl: must be longer than 0s")),
        (cookie("name: a, ttl: 20ms"), format!("{of_cookie}.ttl: shorter than 1s")),
        (
            cookie("name: a, ttl: -5s"),
            format!("{of_cookie}.ttl: \"-5s\" is not a duration such as 10s, 500ms or 1h30m (GEP-2257)"),
        ),
        (
            cookie("name: a, sameSite: None"),
            format!("{of_cookie}.sameSite: None needs secure: true, or browsers refuse the cookie"),
        ),
        (
            cookie("name: a, sameSite: lax"),
            format!("{of_cookie}.sameSite: \"lax\" is not supported, only Strict, Lax and None"),
        ),
        (
            cookie("name: a, path: '/a; Domain=com'"),
            format!(
                "{of_cookie}.path: \"/a; Domain=com\" is not the path of a cookie: '/' and then visible ASCII without ';'"
            ),
        ),
        (persistence("type: Query"), format!("{of_rule}.type: \"Query\" is not supported, only Cookie and Header")),
        (
            persistence("type: Header, sessionName: Host"),
            format!("{of_rule}.sessionName: host belongs to the connection or to the mesh and cannot be edited"),
        ),
        (
            persistence("type: Header, cookieConfig: {lifetimeType: Session}"),
            format!("{of_rule}.cookieConfig: is for type Cookie only"),
        ),
        (
            persistence("cookieConfig: {lifetimeType: Permanent}"),
            format!("{of_rule}.absoluteTimeout: missing: a Permanent cookie needs it"),
        ),
        (
            persistence("cookieConfig: {lifetimeType: Forever}"),
            format!("{of_rule}.cookieConfig.lifetimeType: \"Forever\" is not supported, only Permanent and Session"),
        ),
        (persistence("idleTimeout: 999ms"), format!("{of_rule}.idleTimeout: shorter than 1s")),
    ];
    let table: Vec<_> = table.iter().map(|(yaml, expected)| (yaml.clone(), expected.as_str())).collect();
    check(&table);
}

#[test]
fn limits_of_every_document() {
    let long = "x".repeat(1025);
    let not_supported = "is not supported, only p2c-ewma";
    let matched = |part: &str| rule(&format!("matches: [{{{part}}}]"));
    let at = "HTTPRoute shop/x: spec.rules[0].matches[0]";
    let regex = "a regular expression of 1025 characters, at most 1024";
    let table = [
        (matched(&format!("path: {{type: RegularExpression, value: {long}}}")), format!("{at}.path.value: {regex}")),
        (
            matched(&format!("headers: [{{name: a, type: RegularExpression, value: {long}}}]")),
            format!("{at}.headers[0].value: {regex}"),
        ),
        (
            matched(&format!("queryParams: [{{name: a, type: RegularExpression, value: {long}}}]")),
            format!("{at}.queryParams[0].value: {regex}"),
        ),
        (
            rule("timeouts: {request: -1s}"),
            "HTTPRoute shop/x: spec.rules[0].timeouts.request: \"-1s\" is not a duration such as 10s, 500ms or 1h30m (GEP-2257)"
                .to_owned(),
        ),
        (
            route("{parentRefs: [{group: '', kind: Service, name: cart}], rules: [{backendRefs: [{name: cart, port: 80, weight: -1}]}]}"),
            "HTTPRoute shop/x: spec.rules[0].backendRefs[0].weight: -1 is out of range (0 to 1000000)".to_owned(),
        ),
    ];
    let table: Vec<_> = table.iter().map(|(yaml, expected)| (yaml.clone(), expected.as_str())).collect();
    check(&table);
    // In characters, as the schema counts, not in bytes.
    good(&matched(&format!("path: {{type: RegularExpression, value: '{}'}}", "ä".repeat(1024))));
    let unknown = crate::faults(&policy("loadBalancer: {algorithm: fastest}"));
    assert!(unknown[0].starts_with("TrafficPolicy shop/x: spec.loadBalancer.algorithm: \"fastest\""), "{unknown:?}");
    assert!(unknown[0].contains(not_supported), "{unknown:?}");
}
