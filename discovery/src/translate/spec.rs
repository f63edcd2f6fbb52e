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
#[serde(rename_all = "camelCase")]
pub struct RouteSpec<M> {
    #[serde(default)]
    pub parent_refs: Vec<ParentRef>,
    #[serde(default)]
    pub hostnames: Vec<String>,
    #[serde(default = "Vec::new")]
    pub rules: Vec<RuleSpec<M>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    pub group: Option<String>,
    pub kind: Option<String>,
    pub namespace: Option<String>,
    pub name: String,
    pub section_name: Option<String>,
    pub port: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleSpec<M> {
    pub name: Option<String>,
    #[serde(default = "Vec::new")]
    pub matches: Vec<M>,
    #[serde(default)]
    pub filters: Vec<FilterSpec>,
    #[serde(default)]
    pub backend_refs: Vec<BackendRef>,
    /// HTTPRoute only.
    pub timeouts: Option<TimeoutsSpec>,
    /// HTTPRoute only.
    pub retry: Option<RetrySpec>,
    pub session_persistence: Option<SessionPersistenceSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimeoutsSpec {
    pub request: Option<String>,
    pub backend_request: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct RetrySpec {
    pub attempts: Option<i64>,
    pub codes: Option<Vec<i64>>,
    pub backoff: Option<String>,
}

/// A reference to a Service; weight and filters only where it gets a share of the requests.
#[derive(Debug, Deserialize)]
pub struct BackendRef {
    pub group: Option<String>,
    pub kind: Option<String>,
    pub namespace: Option<String>,
    pub name: String,
    pub port: Option<i64>,
    pub weight: Option<i64>,
    pub filters: Option<Vec<FilterSpec>>,
}

/// One filter: the field that its type names.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FilterSpec {
    pub r#type: FilterType,
    pub request_header_modifier: Option<HeaderModifier>,
    pub response_header_modifier: Option<HeaderModifier>,
    pub request_redirect: Option<RedirectSpec>,
    pub url_rewrite: Option<RewriteSpec>,
    pub request_mirror: Option<MirrorSpec>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FilterType {
    RequestHeaderModifier,
    ResponseHeaderModifier,
    RequestRedirect,
    #[serde(rename = "URLRewrite")]
    UrlRewrite,
    RequestMirror,
}

#[derive(Debug, Deserialize)]
pub struct HeaderModifier {
    #[serde(default)]
    pub set: Vec<HeaderSpec>,
    #[serde(default)]
    pub add: Vec<HeaderSpec>,
    #[serde(default)]
    pub remove: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub struct HeaderSpec {
    pub name: String,
    pub value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RedirectSpec {
    pub scheme: Option<SchemeSpec>,
    pub hostname: Option<String>,
    pub port: Option<i64>,
    pub path: Option<PathModifier>,
    pub status_code: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SchemeSpec {
    Http,
    Https,
}

#[derive(Debug, Deserialize)]
pub struct RewriteSpec {
    pub hostname: Option<String>,
    pub path: Option<PathModifier>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathModifier {
    pub r#type: PathModifierType,
    pub replace_full_path: Option<String>,
    pub replace_prefix_match: Option<String>,
}

#[derive(Debug, Deserialize)]
pub enum PathModifierType {
    ReplaceFullPath,
    ReplacePrefixMatch,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MirrorSpec {
    pub backend_ref: BackendRef,
    pub percent: Option<i64>,
    pub fraction: Option<FractionSpec>,
}

#[derive(Debug, Deserialize)]
pub struct FractionSpec {
    pub numerator: i64,
    pub denominator: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub struct GrantSpec {
    pub from: Vec<GrantFrom>,
    pub to: Vec<GrantTo>,
}

#[derive(Debug, Deserialize)]
pub struct GrantFrom {
    pub group: String,
    pub kind: String,
    pub namespace: String,
}

#[derive(Debug, Deserialize)]
pub struct GrantTo {
    pub group: String,
    pub kind: String,
    pub name: Option<String>,
}
