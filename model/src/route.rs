//! Routes: which requests to a service go to which backends (Gateway API `HTTPRoute` and `GRPCRoute` with a Service as parent).
//!
//! Data only: the proxy's `route` module takes the decision. Regular expressions are kept as text, already checked for
//! validity when the document was translated; weights of one rule never sum to zero.

use crate::{Port, ServiceName};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One route document, attached to the service whose view carries it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Route {
    pub namespace: String,
    pub name: String,
    /// `parentRef.port`: binds only this port of the service; `None` binds all.
    #[serde(default)]
    pub port: Option<Port>,
    /// Exact names or `*.suffix`, lower case; empty matches every host.
    #[serde(default)]
    pub hostnames: Vec<String>,
    pub rules: Vec<Rule>,
}

/// One rule: any of `matches` (none means every request) sends the request to one of `backends` by weight.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Rule {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub matches: Vec<Match>,
    #[serde(default)]
    pub request_headers: HeaderEdit,
    #[serde(default)]
    pub response_headers: HeaderEdit,
    pub backends: Vec<Backend>,
    /// `timeouts.request`: from the last byte of the request head to the end of the response.
    #[serde(default)]
    pub request_timeout: Option<Duration>,
    /// `timeouts.backendRequest`: one attempt.
    #[serde(default)]
    pub backend_timeout: Option<Duration>,
}

/// All parts given must match.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Match {
    #[serde(default)]
    pub path: PathMatch,
    #[serde(default)]
    pub method: Option<String>,
    /// Names are lower case.
    #[serde(default)]
    pub headers: Vec<ValueMatch>,
    #[serde(default)]
    pub query: Vec<ValueMatch>,
}

/// How the path (without the query) is compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathMatch {
    Exact(String),
    /// By whole segments: `/a` matches `/a` and `/a/b`, not `/ab`. `/` matches everything.
    Prefix(String),
    /// Must match the whole path.
    Regex(String),
}

impl Default for PathMatch {
    fn default() -> Self {
        Self::Prefix("/".to_owned())
    }
}

/// One named value (header or query parameter) and what it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueMatch {
    pub name: String,
    pub value: ValuePattern,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValuePattern {
    Exact(String),
    /// Must match the whole value.
    Regex(String),
}

/// Changes to a header section: `set`, then `add`, then `remove`. Names are lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HeaderEdit {
    #[serde(default)]
    pub set: Vec<(String, String)>,
    #[serde(default)]
    pub add: Vec<(String, String)>,
    #[serde(default)]
    pub remove: Vec<String>,
}

impl HeaderEdit {
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

/// Where a share of the rule's requests goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    pub service: ServiceName,
    pub port: Port,
    /// Relative share, 1 by default; 0 gets nothing.
    pub weight: u32,
}
