//! Authorization policies: what the proxy beside a workload is told.
//!
//! Refuses patterns that documents could not have, names that are none and methods and headers that no request has: the
//! proxy keeps the policies it had.

use super::{ConvertError, Result, each, is_token, parsed, port};
use crate::v1;
use std::fmt::Display;
use weft_model::authorization::{AccessRule, Action, HeaderPattern, Mode, Mtls, Operation, Source};
use weft_model::names::{label, subdomain};
use weft_model::{AuthorizationPolicy, NamespacePolicy, WorkloadPolicies};

impl From<&WorkloadPolicies> for v1::WorkloadPolicies {
    fn from(told: &WorkloadPolicies) -> Self {
        Self {
            default_action: action_number(told.namespace.default_action),
            strict_mtls: told.namespace.mtls == Mtls::Strict,
            policies: told.policies.iter().map(Into::into).collect(),
            limits: told.limits.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::WorkloadPolicies> for WorkloadPolicies {
    type Error = ConvertError;

    fn try_from(wire: v1::WorkloadPolicies) -> Result<Self> {
        let default_action = action("default_action", wire.default_action)?;
        let mtls = if wire.strict_mtls { Mtls::Strict } else { Mtls::Permissive };
        let namespace = NamespacePolicy { default_action, mtls };
        Ok(Self { namespace, policies: each("policies", wire.policies)?, limits: each("limits", wire.limits)? })
    }
}

fn action_number(action: Action) -> i32 {
    let action = match action {
        Action::Allow => v1::Action::Allow,
        Action::Deny => v1::Action::Deny,
    };
    action.into()
}

fn action(field: &str, number: i32) -> Result<Action> {
    match v1::Action::try_from(number).map_err(|error| ConvertError::new(field, error))? {
        v1::Action::Allow => Ok(Action::Allow),
        v1::Action::Deny => Ok(Action::Deny),
    }
}

impl From<&AuthorizationPolicy> for v1::AuthorizationPolicy {
    fn from(policy: &AuthorizationPolicy) -> Self {
        Self {
            namespace: policy.namespace.clone(),
            name: policy.name.clone(),
            action: action_number(policy.action),
            audit: policy.mode == Mode::Audit,
            rules: policy.rules.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::AuthorizationPolicy> for AuthorizationPolicy {
    type Error = ConvertError;

    fn try_from(wire: v1::AuthorizationPolicy) -> Result<Self> {
        Ok(Self {
            namespace: label(&wire.namespace).map_err(|error| ConvertError::new("namespace", error))?,
            name: subdomain(&wire.name).map_err(|error| ConvertError::new("name", error))?,
            action: action("action", wire.action)?,
            mode: if wire.audit { Mode::Audit } else { Mode::Enforce },
            rules: each("rules", wire.rules)?,
        })
    }
}

impl From<&AccessRule> for v1::AccessRule {
    fn from(rule: &AccessRule) -> Self {
        Self { from: rule.from.iter().map(Into::into).collect(), to: rule.to.iter().map(Into::into).collect() }
    }
}

impl TryFrom<v1::AccessRule> for AccessRule {
    type Error = ConvertError;

    fn try_from(wire: v1::AccessRule) -> Result<Self> {
        Ok(Self { from: each("from", wire.from)?, to: each("to", wire.to)? })
    }
}

fn texts(items: &[impl Display]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

impl From<&Source> for v1::AccessSource {
    fn from(source: &Source) -> Self {
        Self {
            identities: texts(&source.identities),
            namespaces: source.namespaces.clone(),
            cidrs: texts(&source.cidrs),
        }
    }
}

impl TryFrom<v1::AccessSource> for Source {
    type Error = ConvertError;

    fn try_from(wire: v1::AccessSource) -> Result<Self> {
        let named = |(n, text): (usize, &String)| {
            label(text).map_err(|error| ConvertError::new(format!("namespaces[{n}]"), error))
        };
        Ok(Self {
            identities: parsed("identities", &wire.identities)?,
            namespaces: wire.namespaces.iter().enumerate().map(named).collect::<Result<_>>()?,
            cidrs: parsed("cidrs", &wire.cidrs)?,
        })
    }
}

impl From<&Operation> for v1::AccessOperation {
    fn from(operation: &Operation) -> Self {
        Self {
            ports: operation.ports.iter().map(|port| port.get().into()).collect(),
            methods: operation.methods.clone(),
            hosts: texts(&operation.hosts),
            paths: texts(&operation.paths),
            headers: operation.headers.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::AccessOperation> for Operation {
    type Error = ConvertError;

    fn try_from(wire: v1::AccessOperation) -> Result<Self> {
        let ports = wire.ports.iter().enumerate().map(|(n, number)| port(&format!("ports[{n}]"), *number));
        if let Some((n, method)) = wire.methods.iter().enumerate().find(|(_, method)| !is_token(method)) {
            return Err(ConvertError::new(format!("methods[{n}]"), format!("{method:?} is not a method")));
        }
        Ok(Self {
            ports: ports.collect::<Result<_>>()?,
            hosts: parsed("hosts", &wire.hosts)?,
            paths: parsed("paths", &wire.paths)?,
            headers: each("headers", wire.headers)?,
            methods: wire.methods,
        })
    }
}

impl From<&HeaderPattern> for v1::HeaderPattern {
    fn from(header: &HeaderPattern) -> Self {
        Self { name: header.name.clone(), value: header.value.clone() }
    }
}

impl TryFrom<v1::HeaderPattern> for HeaderPattern {
    type Error = ConvertError;

    fn try_from(wire: v1::HeaderPattern) -> Result<Self> {
        if !is_token(&wire.name) || wire.name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ConvertError::new("name", format!("{:?} is not a header name in lower case", wire.name)));
        }
        Ok(Self { name: wire.name, value: wire.value })
    }
}

#[cfg(test)]
#[path = "authorization_tests.rs"]
mod tests;
