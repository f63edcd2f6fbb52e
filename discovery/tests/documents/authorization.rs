//! Authorization policies: what they become, and what is told about each mistake in them.
//!
//! A mistake here could open or close a workload, so that everything that could be meant in two ways has a row.

use crate::{check, document, good};
use weft_discovery::translate::Object;
use weft_model::authorization::{Action, HeaderPattern, Mode, Mtls};
use weft_model::{AuthorizationPolicy, ServiceName};

fn policy(spec: &str) -> String {
    document("weft.dev/v1alpha1", "AuthorizationPolicy", spec)
}

fn from(source: &str) -> String {
    policy(&format!("{{rules: [{{from: [{source}]}}]}}"))
}

fn to(operation: &str) -> String {
    policy(&format!("{{rules: [{{to: [{operation}]}}]}}"))
}

fn namespace(name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: weft.dev/v1alpha1, kind: NamespacePolicy, metadata: {{name: {name}, namespace: shop}}, spec: {spec}}}"
    )
}

fn good_policy(yaml: &str) -> (Vec<ServiceName>, AuthorizationPolicy) {
    match good(yaml).object {
        Object::Authorization { targets, policy } => (targets, policy),
        other => panic!("it is an authorization policy, not {other:?}"),
    }
}

#[test]
fn policies_become_what_they_say() {
    let (targets, policy) = good_policy(&policy(
        "{targetRefs: [{name: cart}], action: DENY, mode: audit, rules: [{
            from: [{identities: ['spiffe://weft.local/ns/shop/*'], namespaces: [web], cidrs: [10.0.0.0/8]}],
            to: [{ports: [8080], methods: [GET], hosts: ['*.Shop'], paths: [/a/, /b/*], headers: [{name: X-A}, {name: b, value: c}]}]}]}",
    ));
    assert_eq!(targets, [ServiceName::new("shop", "cart").unwrap()]);
    assert_eq!((policy.namespace.as_str(), policy.name.as_str()), ("shop", "x"));
    assert_eq!((policy.action, policy.mode), (Action::Deny, Mode::Audit));
    let (source, operation) = (&policy.rules[0].from[0], &policy.rules[0].to[0]);
    assert_eq!(source.identities[0].to_string(), "spiffe://weft.local/ns/shop/*");
    assert_eq!((source.namespaces[0].as_str(), source.cidrs[0].to_string().as_str()), ("web", "10.0.0.0/8"));
    assert_eq!(operation.paths.iter().map(ToString::to_string).collect::<Vec<_>>(), ["/a", "/b/*"]);
    assert_eq!(operation.hosts[0].to_string(), "*.shop");
    let header = |name: &str, value: Option<&str>| HeaderPattern { name: name.into(), value: value.map(Into::into) };
    assert_eq!(operation.headers, [header("x-a", None), header("b", Some("c"))]);

    let (targets, policy) = good_policy(&self::policy("{}"));
    assert_eq!((targets.len(), policy.rules.len()), (0, 0));
    assert_eq!((policy.action, policy.mode), (Action::Allow, Mode::Enforce));
}

#[test]
fn a_namespaces_own_policy() {
    let read = |spec: &str| match good(&namespace("default", spec)).object {
        Object::Namespace(policy) => (policy.default_action, policy.mtls),
        other => panic!("it is a namespace's policy, not {other:?}"),
    };
    assert_eq!(read("{}"), (Action::Allow, Mtls::Permissive));
    assert_eq!(read("{defaultAction: DENY, mtls: strict}"), (Action::Deny, Mtls::Strict));
    let table = [
        (
            namespace("other", "{}"),
            "NamespacePolicy shop/other: metadata.name: \"other\": a namespace has one NamespacePolicy, called default",
        ),
        (
            namespace("default", "{mtls: maybe}"),
            "NamespacePolicy shop/default: spec.mtls: unknown variant `maybe`, expected `strict` or `permissive`",
        ),
    ];
    check(&table);
}

#[test]
fn mistakes_in_policies() {
    let table = [
        (
            policy("{action: deny}"),
            "AuthorizationPolicy shop/x: spec.action: unknown variant `deny`, expected `ALLOW` or `DENY`",
        ),
        (
            policy("{action: DENY}"),
            "AuthorizationPolicy shop/x: spec.rules: a DENY policy without rules denies nothing; {} as rule denies everything",
        ),
        (
            policy("{targetRefs: []}"),
            "AuthorizationPolicy shop/x: spec.targetRefs: is empty: leave it out to protect the whole namespace",
        ),
        (
            policy("{rules: [{from: []}]}"),
            "AuthorizationPolicy shop/x: spec.rules[0].from: is empty: leave it out, or name something",
        ),
        (from("{}"), "AuthorizationPolicy shop/x: spec.rules[0].from[0]: names nobody: leave from out to mean anybody"),
        (to("{}"), "AuthorizationPolicy shop/x: spec.rules[0].to[0]: asks for nothing: leave to out to mean anything"),
        (
            from("{identities: []}"),
            "AuthorizationPolicy shop/x: spec.rules[0].from[0].identities: is empty: leave it out, or name something",
        ),
        (
            from("{namespaces: [Shop]}"),
            "AuthorizationPolicy shop/x: spec.rules[0].from[0].namespaces[0]: \"Shop\" is not a DNS label: use 1 to 63 \
             lower-case letters, digits and '-', starting and ending with a letter or digit (RFC 1123)",
        ),
        (
            from("{cidrs: [10.0.0.0/33]}"),
            "AuthorizationPolicy shop/x: spec.rules[0].from[0].cidrs[0]: \"10.0.0.0/33\" is not a CIDR block such as \
             10.0.0.0/8 or fd00::/8",
        ),
        (to("{ports: [0]}"), "AuthorizationPolicy shop/x: spec.rules[0].to[0].ports[0]: 0 is not a port (1 to 65535)"),
        (
            to("{methods: [get]}"),
            "AuthorizationPolicy shop/x: spec.rules[0].to[0].methods[0]: \"get\" is not an HTTP method in upper case",
        ),
        (
            to("{paths: [/a*]}"),
            "AuthorizationPolicy shop/x: spec.rules[0].to[0].paths[0]: \"/a*\" is not a path: /a/b, or /a/* for /a and all \
             below it; '*' stands nowhere else",
        ),
        (
            to("{hosts: ['a:80']}"),
            "AuthorizationPolicy shop/x: spec.rules[0].to[0].hosts[0]: \"a:80\" is not a host: a name such as cart.shop or \
             *.shop, without a port",
        ),
        (to("{path: [/a]}"), "AuthorizationPolicy shop/x: spec.rules[0].to[0].path: unknown field"),
    ];
    for (yaml, expected) in table {
        let faults = crate::faults(&yaml);
        assert!(faults.iter().any(|fault| fault == expected), "{yaml}: {faults:#?}");
    }
}
