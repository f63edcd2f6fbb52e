//! Routes: which requests to a service go to which backends (Gateway API `HTTPRoute` and `GRPCRoute` with a Service as parent).
//!
//! Data only: the proxy's `route` module takes the decision. Regular expressions are kept as text, already checked for
//! validity when the document was translated; weights
//! of one rule may sum to zero, which leaves nobody to send to.

use crate::session::Session;
use crate::{Port, ServiceName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// What a route document speaks of. On one port of a service only one kind is in force: GRPCRoutes, if there are any
/// (GEP-1294, "Route types").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteKind {
    #[default]
    Http,
    Grpc,
}

/// One route document, attached to the service whose view carries it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Route {
    #[serde(default)]
    pub kind: RouteKind,
    /// Another one than its service's makes it a consumer route, see [`Route::binds`].
    pub namespace: String,
    pub name: String,
    /// `parentRef.port`: binds only this port of the service whose view it is in; `None` binds all.
    #[serde(default)]
    pub port: Option<Port>,
    /// Exact names or `*.suffix`, lower case; empty matches every host.
    #[serde(default)]
    pub hostnames: Vec<String>,
    pub rules: Vec<Rule>,
}

/// What a route is attached to: a service, or one port of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    #[serde(flatten)]
    pub service: ServiceName,
    #[serde(default)]
    pub port: Option<Port>,
}

/// `name.namespace`, with the port if there is one.
impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            None => self.service.fmt(f),
            Some(port) => write!(f, "{}:{port}", self.service),
        }
    }
}

impl Route {
    /// Written by a consumer of `service`, not in its namespace by its producer (GEP-1294, "Namespace boundaries").
    pub fn is_consumer(&self, service: &ServiceName) -> bool {
        self.namespace != service.namespace
    }

    /// Whether it is for what clients of the namespace `client` send to `service`. A producer's route is for all of them, a
    /// consumer's for those of its own namespace.
    pub fn binds(&self, service: &ServiceName, client: &str) -> bool {
        !self.is_consumer(service) || self.namespace == client
    }
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
    /// Given: the request is answered with a redirect, and there are no backends.
    #[serde(default)]
    pub redirect: Option<Redirect>,
    #[serde(default)]
    pub rewrite: Option<Rewrite>,
    #[serde(default)]
    pub mirrors: Vec<Mirror>,
    pub backends: Vec<Backend>,
    #[serde(default)]
    pub retry: Option<RouteRetry>,
    /// Over all backends, before their weights.
    #[serde(default)]
    pub session: Option<Session>,
    /// `timeouts.request`; `None` leaves it to the policy, [`Rule::NO_LIMIT`] is none: from the last byte of the request head to the end of the response.
    #[serde(default)]
    pub request_timeout: Option<Duration>,
    /// `timeouts.backendRequest`, likewise: one attempt.
    #[serde(default)]
    pub backend_timeout: Option<Duration>,
}

impl Rule {
    /// A time-out that a rule switches off: as long as the wire can say.
    pub const NO_LIMIT: Duration = Duration::from_micros(u64::MAX);
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

/// Changes to a header section: fields named in `set` and `remove` are taken out, then the lines of `set` and `add` are put
/// in. Names are lower case.
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

impl HeaderEdit {
    /// What both edits do together, `self` first.
    pub fn then(&self, next: &HeaderEdit) -> HeaderEdit {
        let kept = |name: &str| !next.remove.iter().chain(next.set.iter().map(|(set, _)| set)).any(|gone| gone == name);
        let lines = |first: &[(String, String)], second: &[(String, String)]| {
            first.iter().filter(|(name, _)| kept(name)).chain(second).cloned().collect()
        };
        // A line that the second edit puts in anew still has to take the place of what came.
        let replaced = self.set.iter().map(|(name, _)| name).filter(|name| !kept(name));
        let removed = self.remove.iter().chain(&next.remove).chain(replaced);
        HeaderEdit {
            set: lines(&self.set, &next.set),
            add: lines(&self.add, &next.add),
            remove: removed.cloned().collect(),
        }
    }
}

/// Where a redirect leads; what is not given stays as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Redirect {
    #[serde(default)]
    pub scheme: Option<Scheme>,
    #[serde(default)]
    pub hostname: Option<String>,
    #[serde(default)]
    pub port: Option<Port>,
    #[serde(default)]
    pub path: Option<PathRewrite>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    Http,
    Https,
}

/// What backends see in place of what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rewrite {
    #[serde(default)]
    pub hostname: Option<String>,
    #[serde(default)]
    pub path: Option<PathRewrite>,
}

/// How a path is replaced; the query stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathRewrite {
    Full(String),
    /// In place of the prefix that matched: the rule has exactly one match, of [`PathMatch::Prefix`].
    Prefix(String),
}

/// A copy of a share of the requests, whose answers nobody sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirror {
    pub service: ServiceName,
    pub port: Port,
    /// See [`Backend::refused`].
    #[serde(default)]
    pub refused: bool,
    /// `numerator` of every `denominator` requests are copied; the denominator is not 0.
    pub numerator: u32,
    pub denominator: u32,
}

/// What a rule says of retries in place of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RouteRetry {
    /// Tries after the first.
    #[serde(default)]
    pub attempts: Option<u32>,
    /// Status codes that are worth another try; `None` leaves them to the policy.
    #[serde(default)]
    pub statuses: Option<Vec<u16>>,
    /// The shortest pause before another try.
    #[serde(default)]
    pub backoff: Option<Duration>,
}

/// Where a share of the rule's requests goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    pub service: ServiceName,
    pub port: Port,
    /// Relative share, 1 by default; 0 gets nothing.
    pub weight: u32,
    /// In another namespace, whose owner has not granted it: its share of requests is answered with 500.
    #[serde(default)]
    pub refused: bool,
    /// After the rule's own edits.
    #[serde(default)]
    pub request_headers: HeaderEdit,
    /// After the rule's own edits.
    #[serde(default)]
    pub response_headers: HeaderEdit,
}

impl Backend {
    /// A backend without edits, which nobody refuses.
    pub fn new(service: ServiceName, port: Port, weight: u32) -> Self {
        let (request_headers, response_headers) = Default::default();
        Self { service, port, weight, refused: false, request_headers, response_headers }
    }
}

/// Which references from other namespaces the owner of a namespace allows (Gateway API `ReferenceGrant`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The namespace that is referred to.
    pub namespace: String,
    /// Kinds of routes and the namespaces they are in.
    pub from: Vec<(RouteKind, String)>,
    /// Names of services; `None`: every service of the namespace.
    pub to: Vec<Option<String>>,
}

impl Grant {
    /// Whether routes of `kind` in the namespace `from` may refer to `service`.
    pub fn allows(&self, kind: RouteKind, from: &str, service: &ServiceName) -> bool {
        self.namespace == service.namespace
            && self.from.iter().any(|(of, namespace)| *of == kind && namespace == from)
            && self.to.iter().any(|name| name.as_ref().is_none_or(|name| *name == service.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As the proxies carry an edit out.
    fn edited(fields: &[(String, String)], edit: &HeaderEdit) -> Vec<(String, String)> {
        let gone = |name: &String| edit.remove.contains(name) || edit.set.iter().any(|(set, _)| set == name);
        let kept = fields.iter().filter(|(name, _)| !gone(name));
        let mut fields: Vec<_> = kept.chain(&edit.set).chain(&edit.add).cloned().collect();
        fields.sort();
        fields
    }

    prop_compose! {
        fn any_edit()(set in prop::collection::vec(("[ab]", "[xy]"), 0..3), add in prop::collection::vec(("[ab]", "[xy]"), 0..3),
            remove in prop::collection::vec("[ab]", 0..2)) -> HeaderEdit { HeaderEdit { set, add, remove } }
    }

    proptest! {
        #[test]
        fn one_edit_after_the_other_is_both_at_once(first in any_edit(), second in any_edit(),
            fields in prop::collection::vec(("[abc]", "[xyz]"), 0..4)) {
            let apart = edited(&edited(&fields, &first), &second);
            prop_assert_eq!(edited(&fields, &first.then(&second)), apart);
        }
    }

    #[test]
    fn a_grant_is_for_what_it_names() {
        let grant = Grant {
            namespace: "shop".into(),
            from: vec![(RouteKind::Http, "web".into())],
            to: vec![Some("cart".into())],
        };
        let cart = ServiceName::new("shop", "cart").unwrap();
        assert!(grant.allows(RouteKind::Http, "web", &cart));
        assert!(!grant.allows(RouteKind::Grpc, "web", &cart));
        assert!(!grant.allows(RouteKind::Http, "other", &cart));
        assert!(!grant.allows(RouteKind::Http, "web", &ServiceName::new("shop", "search").unwrap()));
        assert!(!grant.allows(RouteKind::Http, "web", &ServiceName::new("other", "cart").unwrap()));
        assert!(Grant { to: vec![None], ..grant }.allows(RouteKind::Http, "web", &cart));
    }
}
