//! What documents become, and what bad ones are told: one row for each fault, with the whole message.
//!
//! The messages are what a person reads who made the mistake, so they are compared letter by letter.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod authorization;
mod routes;
mod sessions;

use std::time::Duration;
use weft_discovery::translate::{Object, Translated, translate};
use weft_model::Protocol;
use weft_model::policy::Balancer;

const DOMAIN: &str = "weft.local";

fn faults(yaml: &str) -> Vec<String> {
    translate(yaml, DOMAIN).map(drop).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn good(yaml: &str) -> Translated {
    let mut all = translate(yaml, DOMAIN).unwrap_or_else(|faults| panic!("{yaml}: {}", faults[0]));
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn document(version: &str, kind: &str, spec: &str) -> String {
    format!("{{apiVersion: {version}, kind: {kind}, metadata: {{name: x, namespace: shop}}, spec: {spec}}}")
}

fn service(spec: &str) -> String {
    document("v1", "Service", spec)
}

fn policy(spec: &str) -> String {
    document("weft.dev/v1alpha1", "TrafficPolicy", &format!("{{targetRefs: [{{kind: Service, name: cart}}], {spec}}}"))
}

fn endpoint(spec: &str) -> String {
    document("weft.dev/v1alpha1", "Endpoint", spec)
}

fn check(table: &[(String, &str)]) {
    for (yaml, expected) in table {
        assert_eq!(faults(yaml), [*expected], "{yaml}");
    }
}

#[test]
fn text_that_is_no_document() {
    let bomb = (1..8).fold("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
        let last = format!("*a{}, ", n - 1).repeat(10);
        format!("{text}a{n}: &a{n} [{}]\n", last.trim_end_matches(", "))
    });
    let table = [
        (String::new(), "documents: no document found"),
        ("---\n---\n".to_owned(), "documents: no document found"),
        (
            "a: [1\n".to_owned(),
            "document 1: did not find expected ',' or ']' at line 2 column 1, while parsing a flow sequence at line 1 column 4",
        ),
        ("a: {b: 1, b: 2}".to_owned(), "document 1: a: \"b\" stands there twice at line 1 column 4"),
        ("a: .inf".to_owned(), "document 1: a: inf is not a number here at line 1 column 4"),
        ("a: *b".to_owned(), "document 1: unknown anchor at line 1 column 4"),
        (bomb, "document 1: repetition limit exceeded"),
        (
            format!("a: &a {}\nb: [{}]", "x".repeat(100_000), vec!["*a"; 50].join(", ")),
            "document 1: b[40]: grows beyond 4194304 bytes when its aliases are expanded at line 1 column 4",
        ),
        ("x".repeat(4 * 1024 * 1024 + 1), "documents: 4194305 bytes are more than the 4194304 allowed"),
    ];
    check(&table);
}

#[test]
fn documents_that_do_not_say_what_they_are() {
    let table = [
        ("[]".to_owned(), "document 1: is not a mapping with apiVersion, kind, metadata and spec"),
        ("kind: Service".to_owned(), "document 1: apiVersion: missing"),
        ("{apiVersion: v1, kind: 7}".to_owned(), "document 1: kind: is not text"),
        (
            "{apiVersion: v1, kind: Pod}".to_owned(),
            "document 1: kind: \"Pod\" (v1) is not supported, only Service, Endpoint, HTTPRoute, GRPCRoute, ReferenceGrant, TrafficPolicy, AuthorizationPolicy, NamespacePolicy",
        ),
        (
            "{apiVersion: v2, kind: Service}".to_owned(),
            "document 1: apiVersion: \"v2\" is not supported for Service, only \"v1\"",
        ),
        (
            "{apiVersion: v1, kind: Service, metadata: {}, spec: {ports: [{port: 80}]}}".to_owned(),
            "Service (document 1): metadata.name: missing",
        ),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: 7}, spec: {ports: [{port: 80}]}}".to_owned(),
            "Service (document 1): metadata.name: invalid type: integer `7`, expected a string",
        ),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: X}, spec: {ports: [{port: 80}]}}".to_owned(),
            "Service default/X: metadata.name: \"X\" is not a DNS label: use 1 to 63 lower-case letters, digits and '-', \
             starting and ending with a letter or digit (RFC 1123)",
        ),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: x, lables: {}}, spec: {ports: [{port: 80}]}}".to_owned(),
            "Service default/x: metadata.lables: unknown field",
        ),
        ("{apiVersion: v1, kind: Service, metadata: {name: x}}".to_owned(), "Service default/x: spec: missing"),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {ports: [{port: 80}]}, data: 1}".to_owned(),
            "Service default/x: data: unknown field",
        ),
        (
            format!("{0}\n---\n{0}", service("{ports: [{port: 80}]}")),
            "Service shop/x: metadata.name: stands there twice",
        ),
    ];
    check(&table);
}

#[test]
fn ports_of_services() {
    let table = [
        (service("{ports: [{port: 0}]}"), "Service shop/x: spec.ports[0].port: 0 is not a port (1 to 65535)"),
        (service("{ports: [{port: 65536}]}"), "Service shop/x: spec.ports[0].port: 65536 is not a port (1 to 65535)"),
        (service("{ports: [{port: -1}]}"), "Service shop/x: spec.ports[0].port: -1 is not a port (1 to 65535)"),
        (
            service("{ports: [{port: '80'}]}"),
            "Service shop/x: spec.ports[0].port: invalid type: string \"80\", expected i32",
        ),
        (service("{ports: [{prot: 80, port: 80}]}"), "Service shop/x: spec.ports[0].prot: unknown field"),
        (service("{ports: {port: 80}}"), "Service shop/x: spec.ports: invalid type: map, expected a sequence"),
        (service("{ports: []}"), "Service shop/x: spec.ports: a service needs at least one port"),
        (service("{}"), "Service shop/x: spec.ports: a service needs at least one port"),
        (
            service("{ports: [{name: a, port: 80}, {name: a, port: 81}]}"),
            "Service shop/x: spec.ports[1].name: \"a\" is the name of another port too",
        ),
        (
            service("{ports: [{name: a, port: 80}, {name: b, port: 80}]}"),
            "Service shop/x: spec.ports[1].port: 80 is the number of another port too",
        ),
        (
            service("{ports: [{port: 80}, {name: b, port: 81}]}"),
            "Service shop/x: spec.ports[0].name: missing: every port of a service with several needs a name",
        ),
        (
            service("{ports: [{port: 53, protocol: UDP}]}"),
            "Service shop/x: spec.ports[0].protocol: UDP is not supported, only TCP",
        ),
        (
            service("{ports: [{port: 80, targetPort: http}]}"),
            "Service shop/x: spec.ports[0].targetPort: \"http\" is a name, which only Kubernetes can look up in a pod: give the number",
        ),
        (
            service("{ports: [{port: 80, targetPort: 0}]}"),
            "Service shop/x: spec.ports[0].targetPort: 0 is not a port (1 to 65535)",
        ),
        (
            service("{ports: [{port: 80, nodePort: 30000}]}"),
            "Service shop/x: spec.ports[0].nodePort: not supported: a sidecar mesh opens no ports on nodes",
        ),
    ];
    check(&table);
}

#[test]
fn services_that_want_more_than_there_is() {
    let table = [
        (
            service("{clusterIP: 10.0.0.1, ports: [{port: 80}]}"),
            "Service shop/x: spec.clusterIP: 10.0.0.1: the virtual address is allotted; leave the field out, or say None for a service without one",
        ),
        (
            service("{selector: {app: x}, ports: [{port: 80}]}"),
            "Service shop/x: spec.selector: not supported outside Kubernetes, where there are no pods to select: endpoints \
             register themselves or are applied as Endpoint",
        ),
        (
            service("{type: LoadBalancer, ports: [{port: 80}]}"),
            "Service shop/x: spec.type: LoadBalancer is not supported, only ClusterIP",
        ),
        (service("{externalName: x.example, ports: [{port: 80}]}"), "Service shop/x: spec.externalName: not supported"),
        (
            service("{sessionAffinity: ClientIP, ports: [{port: 80}]}"),
            "Service shop/x: spec.sessionAffinity: ClientIP is not supported: use a TrafficPolicy's sessionAffinity",
        ),
    ];
    check(&table);
}

#[test]
fn policies() {
    let table = [
        (
            document("weft.dev/v1alpha1", "TrafficPolicy", "{targetRefs: []}"),
            "TrafficPolicy shop/x: spec.targetRefs: a policy needs at least one target",
        ),
        (document("weft.dev/v1alpha1", "TrafficPolicy", "{}"), "TrafficPolicy shop/x: spec.targetRefs: missing"),
        (
            document("weft.dev/v1alpha1", "TrafficPolicy", "{targetRefs: [{kind: Pod, name: a}]}"),
            "TrafficPolicy shop/x: spec.targetRefs[0].kind: Pod is not supported, only Service (with group \"\")",
        ),
        (policy("retries: {}"), "TrafficPolicy shop/x: spec.retries: unknown field"),
        (
            policy("loadBalancer: {algorithm: luck}"),
            "TrafficPolicy shop/x: spec.loadBalancer.algorithm: \"luck\" is not supported, only p2c-ewma, least-request, \
             weighted-least-request, round-robin, weighted-round-robin, random, source-ip-hash, ring-hash, maglev, nearest, \
             prequal",
        ),
        (
            policy("loadBalancer: {ewmaDecay: 0s}"),
            "TrafficPolicy shop/x: spec.loadBalancer.ewmaDecay: must be longer than 0s",
        ),
        (
            policy("loadBalancer: {ewmaDecay: -1s}"),
            "TrafficPolicy shop/x: spec.loadBalancer.ewmaDecay: \"-1s\" is not a duration such as 10s, 500ms or 1h30m (GEP-2257)",
        ),
        (policy("sessionAffinity: {}"), "TrafficPolicy shop/x: spec.sessionAffinity.cookie: missing"),
        (
            policy("sessionAffinity: {cookie: {name: 'a;b'}}"),
            "TrafficPolicy shop/x: spec.sessionAffinity.cookie.name: \"a;b\" is not the name of a cookie (RFC 6265)",
        ),
        (policy("timeouts: {connect: 0s}"), "TrafficPolicy shop/x: spec.timeouts.connect: must be longer than 0s"),
        (
            policy("timeouts: {request: 1.5s}"),
            "TrafficPolicy shop/x: spec.timeouts.request: \"1.5s\" is not a duration such as 10s, 500ms or 1h30m (GEP-2257)",
        ),
    ];
    check(&table);
}

#[test]
fn retries() {
    let table = [
        (policy("retry: {attempts: 11}"), "TrafficPolicy shop/x: spec.retry.attempts: 11 is out of range (0 to 10)"),
        (
            policy("retry: {attempts: two}"),
            "TrafficPolicy shop/x: spec.retry.attempts: invalid type: string \"two\", expected i64",
        ),
        (
            policy("retry: {statusCodes: [503, 200]}"),
            "TrafficPolicy shop/x: spec.retry.statusCodes[1]: 200 is out of range (400 to 599)",
        ),
        (
            policy("retry: {replayBytes: -1}"),
            "TrafficPolicy shop/x: spec.retry.replayBytes: -1 is out of range (0 to 16777216)",
        ),
        (
            policy("retry: {budget: {percent: 101}}"),
            "TrafficPolicy shop/x: spec.retry.budget.percent: 101 is out of range (0 to 100)",
        ),
        (policy("retry: {budget: {percents: 10}}"), "TrafficPolicy shop/x: spec.retry.budget.percents: unknown field"),
        (
            policy("retry: {perTryTimeout: 0ms}"),
            "TrafficPolicy shop/x: spec.retry.perTryTimeout: must be longer than 0s",
        ),
    ];
    check(&table);
}

#[test]
fn endpoints() {
    let table = [
        (
            endpoint("{service: cart, addresses: []}"),
            "Endpoint shop/x: spec.addresses: an endpoint needs at least one address",
        ),
        (endpoint("{addresses: [10.0.0.1]}"), "Endpoint shop/x: spec.service: missing"),
        (
            endpoint("{service: cart, addresses: [cart.example]}"),
            "Endpoint shop/x: spec.addresses[0]: \"cart.example\" is not an IP address",
        ),
        (
            endpoint("{service: cart, addresses: [7]}"),
            "Endpoint shop/x: spec.addresses[0]: invalid type: integer `7`, expected a string",
        ),
        (
            endpoint("{service: cart, addresses: ['::']}"),
            "Endpoint shop/x: spec.addresses[0]: :: is not the address of a host",
        ),
        (
            endpoint("{service: cart, addresses: [10.0.0.1, 10.0.0.2]}"),
            "Endpoint shop/x: spec.addresses[1]: 10.0.0.2 is the second of its family: one IPv4 and one IPv6 address at most",
        ),
        (
            endpoint("{service: cart, addresses: [10.0.0.1], ports: {http: 70000}}"),
            "Endpoint shop/x: spec.ports.http: 70000 is not a port (1 to 65535)",
        ),
        (
            endpoint("{service: cart, addresses: [10.0.0.1], weight: -1}"),
            "Endpoint shop/x: spec.weight: -1 is out of range (0 to 1000000)",
        ),
        (
            endpoint("{service: cart, addresses: [10.0.0.1], serviceAccount: A}"),
            "Endpoint shop/x: spec.serviceAccount: service account: \"A\" is not a DNS label: use 1 to 63 lower-case letters, digits \
             and '-', starting and ending with a letter or digit (RFC 1123)",
        ),
        (endpoint("{service: cart, addresses: [10.0.0.1], health: ok}"), "Endpoint shop/x: spec.health: unknown field"),
    ];
    check(&table);
}

#[test]
fn every_fault_of_every_document_is_told_at_once() {
    let bad = service("{ports: [{port: a, bogus: 1}, {port: 0, name: b}], type: NodePort, typo: 1}");
    let yaml = format!("{bad}\n---\n{}\n---\n{}", service("{ports: [{port: 80}]}"), routes::backends("[]"));
    let expected = [
        "Service shop/x: spec.ports[0].port: invalid type: string \"a\", expected i32",
        "Service shop/x: spec.ports[0].bogus: unknown field",
        "Service shop/x: spec.typo: unknown field",
        "Service shop/x: spec.type: NodePort is not supported, only ClusterIP",
        "Service shop/x: spec.ports[0].name: missing: every port of a service with several needs a name",
        "Service shop/x: spec.ports[1].port: 0 is not a port (1 to 65535)",
        "HTTPRoute shop/x: spec.rules[0].backendRefs: a rule needs at least one backend",
    ];
    let (mut told, mut expected) = (faults(&yaml), expected.to_vec());
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
}

#[test]
fn a_service_with_defaults_filled_in() {
    let spec = "{type: ClusterIP, clusterIP: '', ipFamilies: [IPv4], sessionAffinity: None, \
                ports: [{name: grpc, port: 80, targetPort: 8080, protocol: TCP}, {name: raw, port: 81, appProtocol: tcp}]}";
    let Object::Service { service, addressed } = good(&service(spec)).object else { panic!("it is a Service") };
    assert!(addressed);
    let ports: Vec<_> = service.ports.iter().map(|p| (p.port.get(), p.target_port.get(), p.protocol)).collect();
    assert_eq!(ports, [(80, 8080, Protocol::Grpc), (81, 81, Protocol::Tcp)]);
}

#[test]
fn a_policy_keeps_the_defaults_of_what_it_leaves_out() {
    let yaml = policy(
        "loadBalancer: {algorithm: p2c-ewma, ewmaDecay: 5s}, retry: {attempts: 0, budget: {percent: 5}}, timeouts: {connect: 250ms}",
    );
    let Object::Policy { policy, .. } = good(&yaml).object else { panic!("it is a policy") };
    assert_eq!(policy.balancer, Balancer::P2cEwma { decay: Duration::from_secs(5) });
    assert_eq!((policy.retry.attempts, policy.retry.budget_percent, policy.retry.statuses.len()), (0, 5, 3));
    assert_eq!((policy.timeouts.connect, policy.timeouts.request), (Duration::from_millis(250), None));
}

#[test]
fn an_endpoint_with_a_service_account_is_meshed() {
    let yaml = endpoint(
        "{service: cart, addresses: [10.0.0.1, 'fd00::1'], ports: {http: 8080}, serviceAccount: cart, zone: eu-1a}",
    );
    let Object::Endpoint(endpoint) = good(&yaml).object else { panic!("it is an endpoint") };
    assert_eq!(endpoint.identity.unwrap().to_string(), "spiffe://weft.local/ns/shop/sa/cart");
    assert_eq!((endpoint.addresses.len(), endpoint.weight, endpoint.zone.as_deref()), (2, 1, Some("eu-1a")));
}

#[test]
fn json_and_anchors_are_yaml() {
    let json = r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"x"},"spec":{"ports":[{"port":80}]},"status":{"loadBalancer":{}}}"#;
    let service = good(json);
    assert_eq!(
        (service.namespace.as_str(), service.document["metadata"]["namespace"].as_str()),
        ("default", Some("default"))
    );
    assert!(service.document.get("status").is_none());
    assert_eq!(translate("a: &x {apiVersion: v1}\nkind: *x", DOMAIN).err().unwrap().len(), 2);
}
