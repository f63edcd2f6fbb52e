//! Who may do what with a workload: authorization policies and what their namespace says beside them.
//!
//! Made by the translator, kept by the store, told to the proxy beside the workload, which decides by them. Lists that
//! name nothing ask for nothing: an empty `from` is anybody, an empty `to` anything.

mod pattern;

pub use pattern::{HostPattern, IdentityPattern, PathPattern, PatternError};

use crate::limits::ServiceLimits;
use crate::{Cidr, Port};
use serde::{Deserialize, Serialize};

/// What becomes of a request that a policy matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Action {
    #[default]
    Allow,
    Deny,
}

/// Whether a policy decides, or only tells what it would decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    #[default]
    Enforce,
    Audit,
}

/// Whether clients without a sidecar are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mtls {
    #[default]
    Permissive,
    Strict,
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationPolicy {
    pub namespace: String,
    pub name: String,
    pub action: Action,
    pub mode: Mode,
    /// It matches what any of them matches; without rules, nothing.
    pub rules: Vec<AccessRule>,
}

/// Matches when one of `from` and one of `to` does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRule {
    #[serde(default)]
    pub from: Vec<Source>,
    #[serde(default)]
    pub to: Vec<Operation>,
}

/// Who asks. Every list that is not empty has to have a match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    #[serde(default)]
    pub identities: Vec<IdentityPattern>,
    /// Of the identity.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Of the connection's other end.
    #[serde(default)]
    pub cidrs: Vec<Cidr>,
}

/// What is asked for. Every list that is not empty has to have a match; of headers, all have to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Where the application listens.
    #[serde(default)]
    pub ports: Vec<Port>,
    #[serde(default)]
    pub methods: Vec<String>,
    #[serde(default)]
    pub hosts: Vec<HostPattern>,
    #[serde(default)]
    pub paths: Vec<PathPattern>,
    #[serde(default)]
    pub headers: Vec<HeaderPattern>,
}

impl Operation {
    /// Whether it asks for more than an opaque connection can show.
    pub fn needs_http(&self) -> bool {
        !(self.methods.is_empty() && self.hosts.is_empty() && self.paths.is_empty() && self.headers.is_empty())
    }
}

/// A header that is there, with this value if one is given. The name is in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderPattern {
    pub name: String,
    #[serde(default)]
    pub value: Option<String>,
}

/// What holds for all workloads of a namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespacePolicy {
    /// Decides where no ALLOW policy selects the workload.
    pub default_action: Action,
    pub mtls: Mtls,
}

/// All that the proxy beside one workload has to know to decide.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadPolicies {
    pub namespace: NamespacePolicy,
    /// Those that select the workload, by name.
    pub policies: Vec<AuthorizationPolicy>,
    /// Of every service that the workload is of, also of those without limits.
    #[serde(default)]
    pub limits: Vec<ServiceLimits>,
}

impl WorkloadPolicies {
    /// Whether everything is let in, whoever asks; limits are another matter.
    pub fn is_open(&self) -> bool {
        self.namespace == NamespacePolicy::default() && self.policies.is_empty()
    }
}
