//! Weft's `AuthorizationPolicy` and `NamespacePolicy` documents to the model's policies.
//!
//! What could be read in two ways is refused: a list that is there and empty, a DENY policy that denies nothing, a path that
//! is not in the form paths are compared in. The services it names need not exist yet.

use super::fault::Faults;
use super::field;
use super::policy::{self, TargetRef};
use serde::Deserialize;
use std::fmt::Display;
use std::str::FromStr;
use weft_model::authorization::{AccessRule, Action, HeaderPattern, Mode, Mtls, Operation, Source};
use weft_model::{AuthorizationPolicy, NamespacePolicy, ServiceName};

/// The most entries one list may have.
const MOST: usize = 256;

/// `spec` of `weft.dev/v1alpha1 AuthorizationPolicy`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationPolicySpec {
    /// The Services whose endpoints it protects, of its own namespace. Left out: every workload of the namespace.
    target_refs: Option<Vec<TargetRef>>,
    /// What becomes of requests that it matches. Default `ALLOW`. DENY comes before ALLOW.
    action: Option<ActionSpec>,
    /// `audit` only logs and counts what would be denied. Default `enforce`.
    mode: Option<ModeSpec>,
    /// It matches what any of its rules matches. An ALLOW policy without rules allows nothing; DENY has to have one. 64 at most.
    rules: Option<Vec<RuleSpec>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
enum ActionSpec {
    #[serde(rename = "ALLOW")]
    Allow,
    #[serde(rename = "DENY")]
    Deny,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
enum ModeSpec {
    Enforce,
    Audit,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct RuleSpec {
    /// Who asks: one of these has to match. Left out: anybody.
    from: Option<Vec<SourceSpec>>,
    /// What is asked for: one of these has to match. Left out: anything.
    to: Option<Vec<OperationSpec>>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct SourceSpec {
    /// SPIFFE identities, or all below a point: `spiffe://weft.local/ns/shop/*`; `*` is every client that has one.
    identities: Option<Vec<String>>,
    /// Namespaces of the client's identity.
    namespaces: Option<Vec<String>>,
    /// Blocks of the connection's source address, for clients without identity.
    cidrs: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct OperationSpec {
    /// Where the application listens: a Service's `targetPort`. 1 to 65535.
    ports: Option<Vec<i64>>,
    /// HTTP methods, in upper case.
    methods: Option<Vec<String>>,
    /// Host names, in any case and without port: `cart.shop`, or `*.shop` for all below.
    hosts: Option<Vec<String>>,
    /// Paths: `/a` exactly, or `/a/*` for `/a` and all below it. Decoded; see authorization.md for how they are compared.
    paths: Option<Vec<String>>,
    /// Headers that all have to be there.
    headers: Option<Vec<HeaderSpec>>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct HeaderSpec {
    /// The header's name.
    name: String,
    /// Its value, exactly. Left out: any.
    value: Option<String>,
}

/// `spec` of `weft.dev/v1alpha1 NamespacePolicy`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NamespacePolicySpec {
    /// What becomes of requests to workloads that no ALLOW policy selects. Default `ALLOW`.
    default_action: Option<ActionSpec>,
    /// `strict` refuses clients without a sidecar. Default `permissive`.
    mtls: Option<MtlsSpec>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
enum MtlsSpec {
    Strict,
    Permissive,
}

/// The only name a NamespacePolicy may have, so that a namespace has one at most.
const NAMESPACE_POLICY: &str = "default";

fn action(spec: Option<ActionSpec>) -> Action {
    match spec {
        Some(ActionSpec::Deny) => Action::Deny,
        Some(ActionSpec::Allow) | None => Action::Allow,
    }
}

/// The policy of the namespace itself, which has to be called `default`.
pub fn namespace(name: &str, spec: NamespacePolicySpec, faults: &mut Faults) -> NamespacePolicy {
    if name != NAMESPACE_POLICY {
        faults.add("metadata.name", format_args!("{name:?}: a namespace has one NamespacePolicy, called default"));
    }
    let mtls = match spec.mtls {
        Some(MtlsSpec::Strict) => Mtls::Strict,
        Some(MtlsSpec::Permissive) | None => Mtls::Permissive,
    };
    NamespacePolicy { default_action: action(spec.default_action), mtls }
}

/// The services the policy is for (none: the whole namespace), and the policy.
pub fn translate(
    namespace: &str,
    name: &str,
    spec: AuthorizationPolicySpec,
    faults: &mut Faults,
) -> (Vec<ServiceName>, AuthorizationPolicy) {
    let targets = match &spec.target_refs {
        Some(refs) if refs.is_empty() => {
            faults.add("spec.targetRefs", "is empty: leave it out to protect the whole namespace");
            Vec::new()
        }
        refs => policy::targets(namespace, refs.as_deref().unwrap_or_default(), faults),
    };
    let action = action(spec.action);
    let rules = spec.rules.unwrap_or_default();
    if rules.is_empty() && action == Action::Deny {
        faults.add("spec.rules", "a DENY policy without rules denies nothing; {} as rule denies everything");
    }
    field::at_most(64, rules.len(), "spec.rules", faults);
    let rules = rules.into_iter().enumerate().map(|(n, spec)| rule(spec, &format!("spec.rules[{n}]"), faults));
    let rules = rules.collect();
    let mode = match spec.mode {
        Some(ModeSpec::Audit) => Mode::Audit,
        Some(ModeSpec::Enforce) | None => Mode::Enforce,
    };
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    (targets, AuthorizationPolicy { namespace, name, action, mode, rules })
}

fn rule(spec: RuleSpec, at: &str, faults: &mut Faults) -> AccessRule {
    AccessRule {
        from: list(spec.from, format!("{at}.from"), faults, |spec, at, faults| Some(source(spec, at, faults))),
        to: list(spec.to, format!("{at}.to"), faults, |spec, at, faults| Some(operation(spec, at, faults))),
    }
}

fn source(spec: SourceSpec, at: &str, faults: &mut Faults) -> Source {
    if spec.identities.is_none() && spec.namespaces.is_none() && spec.cidrs.is_none() {
        faults.add(at, "names nobody: leave from out to mean anybody");
    }
    Source {
        identities: list(spec.identities, format!("{at}.identities"), faults, pattern),
        namespaces: list(spec.namespaces, format!("{at}.namespaces"), faults, |text, at, f| field::label(&text, at, f)),
        cidrs: list(spec.cidrs, format!("{at}.cidrs"), faults, pattern),
    }
}

fn operation(spec: OperationSpec, at: &str, faults: &mut Faults) -> Operation {
    let http = spec.methods.is_some() || spec.hosts.is_some() || spec.paths.is_some() || spec.headers.is_some();
    if spec.ports.is_none() && !http {
        faults.add(at, "asks for nothing: leave to out to mean anything");
    }
    Operation {
        ports: list(spec.ports, format!("{at}.ports"), faults, |number, at, f| field::port(number, at, f)),
        methods: list(spec.methods, format!("{at}.methods"), faults, method),
        hosts: list(spec.hosts, format!("{at}.hosts"), faults, pattern),
        paths: list(spec.paths, format!("{at}.paths"), faults, pattern),
        headers: list(spec.headers, format!("{at}.headers"), faults, header),
    }
}

/// A list that, when it is there, is not empty.
fn list<S, M>(
    given: Option<Vec<S>>,
    at: String,
    faults: &mut Faults,
    mut each: impl FnMut(S, &str, &mut Faults) -> Option<M>,
) -> Vec<M> {
    let Some(given) = given else { return Vec::new() };
    if given.is_empty() {
        faults.add(&at, "is empty: leave it out, or name something");
    }
    field::at_most(MOST, given.len(), &at, faults);
    let items = given.into_iter().enumerate();
    items.filter_map(|(n, item)| each(item, &format!("{at}[{n}]"), faults)).collect()
}

fn pattern<P: FromStr<Err: Display>>(text: String, at: &str, faults: &mut Faults) -> Option<P> {
    text.parse().map_err(|error: P::Err| faults.add(at, error)).ok()
}

fn method(text: String, at: &str, faults: &mut Faults) -> Option<String> {
    let sound = http::Method::from_bytes(text.as_bytes()).is_ok() && !text.bytes().any(|b| b.is_ascii_lowercase());
    if !sound {
        faults.add(at, format_args!("{text:?} is not an HTTP method in upper case"));
    }
    sound.then_some(text)
}

fn header(spec: HeaderSpec, at: &str, faults: &mut Faults) -> Option<HeaderPattern> {
    let name = field::header_name(&spec.name, format!("{at}.name"), faults)?;
    let value = match spec.value {
        Some(value) => Some(field::header_value(&value, format!("{at}.value"), faults)?),
        None => None,
    };
    Some(HeaderPattern { name, value })
}
