//! The shapes of `HTTPRoute`, `GRPCRoute` and `ReferenceGrant` documents (`gateway.networking.k8s.io`).
//!
//! Written out here because the generated types repeat every filter for every place it may stand in, and have no `retry`. What
//! is not here is an unknown field, which `document` refuses by its name.

use super::session::SessionPersistenceSpec;
use gateway_api::grpcroutes::GrpcRouteRulesMatches;
use gateway_api::httproutes::HttpRouteRulesMatches;
use serde::{Deserialize, Serialize};

pub type HttpRouteSpec = RouteSpec<HttpRouteRulesMatches>;
pub type GrpcRouteSpec = RouteSpec<GrpcRouteRulesMatches>;

/// A route whose rules match with `M`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RouteSpec<M> {
    /// The Services whose requests the route decides about.
    #[serde(default)]
    pub parent_refs: Vec<ParentRef>,
    /// Host names the route is for, `*.` at the front for any below; 16 at most. Default: every host.
    #[serde(default)]
    pub hostnames: Vec<String>,
    /// The rules, 16 at most.
    #[serde(default = "Vec::<RuleSpec<M>>::new")]
    pub rules: Vec<RuleSpec<M>>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// Empty, the default: the core group.
    pub group: Option<String>,
    /// `Service`, the default.
    pub kind: Option<String>,
    /// Default: the route's own. In another namespace the route binds only clients of its own namespace.
    pub namespace: Option<String>,
    /// The Service's name.
    pub name: String,
    /// Refused: name the port.
    pub section_name: Option<String>,
    /// This port of the Service only. Default: every port.
    pub port: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RuleSpec<M> {
    /// The rule's name in metrics; a DNS label, once in a route.
    pub name: Option<String>,
    /// One of these has to match, 64 at most; the fields are those of the Gateway API. Default: every request.
    #[serde(default = "Vec::<M>::new")]
    pub matches: Vec<M>,
    /// What is done to requests and answers, 16 at most.
    #[serde(default)]
    pub filters: Vec<FilterSpec>,
    /// The Services that share the requests by weight, 1 to 16.
    #[serde(default)]
    pub backend_refs: Vec<BackendRef>,
    /// HTTPRoute only.
    pub timeouts: Option<TimeoutsSpec>,
    /// HTTPRoute only.
    pub retry: Option<RetrySpec>,
    /// Keeps a client with the endpoint that served it first, in place of what the policy says (GEP-1619).
    pub session_persistence: Option<SessionPersistenceSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TimeoutsSpec {
    /// The whole request; 0s: no limit. Default: the policy's.
    pub request: Option<String>,
    /// One try; 0s: no limit. At most `request`. Default: the policy's.
    pub backend_request: Option<String>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RetrySpec {
    /// Tries after the first. Default: the policy's.
    pub attempts: Option<i64>,
    /// Statuses worth another try, 400 to 599. Default: the policy's.
    pub codes: Option<Vec<i64>>,
    /// The least pause before another try. Default: none.
    pub backoff: Option<String>,
}

/// A reference to a Service; weight and filters only where it gets a share of the requests.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BackendRef {
    /// Empty, the default: the core group.
    pub group: Option<String>,
    /// `Service`, the default.
    pub kind: Option<String>,
    /// Default: the route's own. Another one needs a ReferenceGrant there.
    pub namespace: Option<String>,
    /// The Service's name.
    pub name: String,
    /// A port of the Service; required.
    pub port: Option<i64>,
    /// Its share against the others', 0 to 1000000. Default 1.
    pub weight: Option<i64>,
    /// For requests that go there: RequestHeaderModifier and ResponseHeaderModifier.
    pub filters: Option<Vec<FilterSpec>>,
}

/// One filter: the field that its type names.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct FilterSpec {
    /// Which of the fields below is there.
    pub r#type: FilterType,
    /// Changes fields of the request.
    pub request_header_modifier: Option<HeaderModifier>,
    /// Changes fields of the answer.
    pub response_header_modifier: Option<HeaderModifier>,
    /// Answers with a redirect instead of forwarding. HTTPRoute only.
    pub request_redirect: Option<RedirectSpec>,
    /// Changes host and path of the request. HTTPRoute only.
    pub url_rewrite: Option<RewriteSpec>,
    /// Sends a copy to another Service; the answer is thrown away.
    pub request_mirror: Option<MirrorSpec>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum FilterType {
    RequestHeaderModifier,
    ResponseHeaderModifier,
    RequestRedirect,
    #[serde(rename = "URLRewrite")]
    UrlRewrite,
    RequestMirror,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HeaderModifier {
    /// Fields to put in place of those of the same name, 16 at most.
    #[serde(default)]
    pub set: Vec<HeaderSpec>,
    /// Fields to add, 16 at most.
    #[serde(default)]
    pub add: Vec<HeaderSpec>,
    /// Fields to remove, 16 at most.
    #[serde(default)]
    pub remove: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HeaderSpec {
    /// The field's name.
    pub name: String,
    /// The field's value.
    pub value: String,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RedirectSpec {
    /// Default: the request's.
    pub scheme: Option<SchemeSpec>,
    /// Default: the request's.
    pub hostname: Option<String>,
    /// Default: the scheme's if there is one, otherwise the request's.
    pub port: Option<i64>,
    /// How the path changes. Default: not at all.
    pub path: Option<PathModifier>,
    /// 301, 302, 303, 307 or 308. Default 302.
    pub status_code: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SchemeSpec {
    Http,
    Https,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RewriteSpec {
    /// The host the request is sent for. Default: the request's.
    pub hostname: Option<String>,
    /// How the path changes. Default: not at all.
    pub path: Option<PathModifier>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PathModifier {
    /// Which of the fields below is there.
    pub r#type: PathModifierType,
    /// The whole path.
    pub replace_full_path: Option<String>,
    /// In place of the prefix that the rule matched.
    pub replace_prefix_match: Option<String>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum PathModifierType {
    ReplaceFullPath,
    ReplacePrefixMatch,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MirrorSpec {
    /// Who gets the copies; without weight and filters.
    pub backend_ref: BackendRef,
    /// So many requests of a hundred. Default 100.
    pub percent: Option<i64>,
    /// The same, finer.
    pub fraction: Option<FractionSpec>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FractionSpec {
    /// So many ...
    pub numerator: i64,
    /// ... of so many requests. Default 100.
    pub denominator: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GrantSpec {
    /// Who may refer, 16 at most.
    pub from: Vec<GrantFrom>,
    /// What may be referred to, 16 at most.
    pub to: Vec<GrantTo>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GrantFrom {
    /// `gateway.networking.k8s.io`.
    pub group: String,
    /// `HTTPRoute` or `GRPCRoute`.
    pub kind: String,
    /// The namespace they are in.
    pub namespace: String,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GrantTo {
    /// Empty: the core group.
    pub group: String,
    /// `Service`.
    pub kind: String,
    /// This Service only. Default: all of the grant's namespace.
    pub name: Option<String>,
}
