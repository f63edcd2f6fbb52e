//! Policies survive the wire, and what no document could say is refused by its field.
//! Both directions of `convert::authorization`, with made-up policies.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use weft_model::ServiceName;
use weft_model::limits::{Limits, ServiceLimits};

fn patterns<T: std::str::FromStr<Err: std::fmt::Debug> + std::fmt::Debug + Clone + 'static>(
    texts: &'static [&'static str],
) -> impl Strategy<Value = Vec<T>> {
    vec(prop::sample::select(texts).prop_map(|text| text.parse().unwrap()), 0..3)
}

prop_compose! {
    fn any_source()(
        identities in patterns(&["*", "spiffe://weft.local/*", "spiffe://d/ns/a/*", "spiffe://d/ns/a/sa/b.c"]),
        namespaces in vec("[a-z]{1,8}", 0..3),
        cidrs in patterns(&["10.0.0.0/8", "fd00::/8", "192.0.2.7/32"]),
    ) -> Source {
        Source { identities, namespaces, cidrs }
    }
}

prop_compose! {
    fn any_operation()(
        ports in vec(any::<std::num::NonZeroU16>(), 0..3),
        methods in vec("[A-Z]{1,7}", 0..3),
        hosts in patterns(&["cart.shop", "*.shop"]),
        paths in patterns(&["/", "/*", "/a/b", "/a/*"]),
        headers in vec(("[a-z-]{1,8}", proptest::option::of("[ -~]{0,8}")), 0..3),
    ) -> Operation {
        let headers = headers.into_iter().map(|(name, value)| HeaderPattern { name, value }).collect();
        Operation { ports, methods, hosts, paths, headers }
    }
}

prop_compose! {
    fn any_service_limits()(
        name in "[a-z]{1,8}",
        ports in vec(any::<std::num::NonZeroU16>(), 0..3),
        connections: Option<std::num::NonZeroU32>,
    ) -> ServiceLimits {
        let service = ServiceName::new("shop", &name).unwrap();
        ServiceLimits { service, ports, limits: Limits { connections, ..Limits::default() } }
    }
}

prop_compose! {
    fn any_policies()(
        deny: bool,
        strict: bool,
        policies in vec(("[a-z]{1,8}", any::<bool>(), any::<bool>(),
            vec((vec(any_source(), 0..3), vec(any_operation(), 0..3)), 0..3)), 0..4),
        limits in vec(any_service_limits(), 0..3),
    ) -> WorkloadPolicies {
        let action = |deny| if deny { Action::Deny } else { Action::Allow };
        let policies = policies.into_iter().map(|(name, deny, audit, rules)| AuthorizationPolicy {
            namespace: "shop".to_owned(),
            name,
            action: action(deny),
            mode: if audit { Mode::Audit } else { Mode::Enforce },
            rules: rules.into_iter().map(|(from, to)| AccessRule { from, to }).collect(),
        });
        let mtls = if strict { Mtls::Strict } else { Mtls::Permissive };
        let namespace = NamespacePolicy { default_action: action(deny), mtls };
        WorkloadPolicies { namespace, policies: policies.collect(), limits }
    }
}

proptest! {
    #[test]
    fn policies_survive_the_wire_and_the_disk(policies in any_policies()) {
        let bytes = v1::WorkloadPolicies::from(&policies).encode_to_vec();
        let back = WorkloadPolicies::try_from(v1::WorkloadPolicies::decode(&bytes[..]).unwrap()).unwrap();
        prop_assert_eq!(&back, &policies);
        let text = serde_json::to_string(&policies).unwrap();
        prop_assert_eq!(serde_json::from_str::<WorkloadPolicies>(&text).unwrap(), policies);
    }
}

#[test]
fn every_broken_promise_is_named_by_its_field() {
    let wire = |change: &dyn Fn(&mut v1::AuthorizationPolicy)| {
        let rule = v1::AccessRule { from: vec![Default::default()], to: vec![Default::default()] };
        let (namespace, name) = ("shop".to_owned(), "p".to_owned());
        let mut policy = v1::AuthorizationPolicy { namespace, name, rules: vec![rule], ..Default::default() };
        change(&mut policy);
        let wire = v1::WorkloadPolicies { policies: vec![policy], ..Default::default() };
        WorkloadPolicies::try_from(wire).unwrap_err().field
    };
    let text = |text: &str| vec![text.to_owned()];
    assert_eq!(wire(&|p| p.name = "A".into()), "policies[0].name");
    assert_eq!(wire(&|p| p.namespace.clear()), "policies[0].namespace");
    assert_eq!(wire(&|p| p.action = 7), "policies[0].action");
    assert_eq!(wire(&|p| p.rules[0].from[0].identities = text("x")), "policies[0].rules[0].from[0].identities[0]");
    assert_eq!(wire(&|p| p.rules[0].from[0].namespaces = text("X")), "policies[0].rules[0].from[0].namespaces[0]");
    assert_eq!(wire(&|p| p.rules[0].from[0].cidrs = text("x")), "policies[0].rules[0].from[0].cidrs[0]");
    assert_eq!(wire(&|p| p.rules[0].to[0].ports = vec![0]), "policies[0].rules[0].to[0].ports[0]");
    assert_eq!(wire(&|p| p.rules[0].to[0].methods = text("a b")), "policies[0].rules[0].to[0].methods[0]");
    assert_eq!(wire(&|p| p.rules[0].to[0].hosts = text("a:1")), "policies[0].rules[0].to[0].hosts[0]");
    assert_eq!(wire(&|p| p.rules[0].to[0].paths = text("/a/../b")), "policies[0].rules[0].to[0].paths[0]");
    let limits = |service: &str, ports: Vec<u32>| {
        let told = v1::ServiceLimits { service: service.to_owned(), ports, limits: None };
        let wire = v1::WorkloadPolicies { limits: vec![told], ..Default::default() };
        WorkloadPolicies::try_from(wire).unwrap_err().field
    };
    assert_eq!(limits("cart", vec![]), "limits[0].service");
    assert_eq!(limits("shop/cart", vec![80, 0]), "limits[0].ports[1]");
    let header = |name: &str| vec![v1::HeaderPattern { name: name.to_owned(), value: None }];
    assert_eq!(wire(&|p| p.rules[0].to[0].headers = header("A")), "policies[0].rules[0].to[0].headers[0].name");
}
