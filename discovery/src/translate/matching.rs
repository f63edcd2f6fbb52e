//! One entry of a route's `matches`: path, method, headers and query parameters, or a gRPC service and method.
//!
//! A gRPC method is the path `/service/method` of a POST (gRPC over HTTP/2 protocol), and so it is matched as a path.
//! Header names are lower-cased and a path prefix loses its closing slash here, so that the proxy compares without
//! looking twice. Regular expressions are compiled to see that they can be; the proxy compiles them again.

use super::fault::Faults;
use super::field;
use gateway_api::{grpcroutes, httproutes as api};
use std::collections::HashSet;
use weft_model::route::{Match, PathMatch, ValueMatch, ValuePattern};

pub fn http(spec: api::HttpRouteRulesMatches, at: &str, faults: &mut Faults) -> Match {
    use api::{HttpRouteRulesMatchesHeadersType as HeaderType, HttpRouteRulesMatchesQueryParamsType as QueryType};
    let path = spec.path.and_then(|path| path_match(path, &format!("{at}.path"), faults)).unwrap_or_default();
    let method = spec.method.and_then(|method| serde_json::to_value(method).ok()?.as_str().map(str::to_owned));
    let headers = spec.headers.unwrap_or_default().into_iter();
    let headers = headers.map(|h| (h.name, h.r#type == Some(HeaderType::RegularExpression), h.value)).collect();
    let query = spec.query_params.unwrap_or_default().into_iter();
    let query = query.map(|q| (q.name, q.r#type == Some(QueryType::RegularExpression), q.value)).collect();
    Match {
        path,
        method,
        headers: value_matches(headers, &format!("{at}.headers"), true, faults),
        query: value_matches(query, &format!("{at}.queryParams"), false, faults),
    }
}

pub fn grpc(spec: grpcroutes::GrpcRouteRulesMatches, at: &str, faults: &mut Faults) -> Match {
    use grpcroutes::GrpcRouteRulesMatchesHeadersType as HeaderType;
    let headers = spec.headers.unwrap_or_default().into_iter();
    let headers = headers.map(|h| (h.name, h.r#type == Some(HeaderType::RegularExpression), h.value)).collect();
    let path = spec.method.and_then(|method| grpc_method(method, &format!("{at}.method"), faults));
    Match {
        path: path.unwrap_or_default(),
        method: Some("POST".to_owned()),
        headers: value_matches(headers, &format!("{at}.headers"), true, faults),
        query: Vec::new(),
    }
}

fn grpc_method(spec: grpcroutes::GrpcRouteRulesMatchesMethod, at: &str, faults: &mut Faults) -> Option<PathMatch> {
    use grpcroutes::GrpcRouteRulesMatchesMethodType::{Exact, RegularExpression};
    const ANY: &str = "[^/]+";
    let (service, method) = (spec.service, spec.method);
    if service.is_none() && method.is_none() {
        faults.add(at, "names neither service nor method");
        return None;
    }
    match spec.r#type.unwrap_or(Exact) {
        RegularExpression => {
            let mut pattern = |text: Option<String>, field: &str| match text {
                None => Some(ANY.to_owned()),
                Some(text) => field::regex(&text, format!("{at}.{field}"), faults),
            };
            let (service, method) = (pattern(service, "service"), pattern(method, "method"));
            Some(PathMatch::Regex(format!("/(?:{})/(?:{})", service?, method?)))
        }
        Exact => {
            let word = |part: &str| {
                let mut bytes = part.bytes();
                let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
                first && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
            };
            if let Some(bad) = service.as_ref().filter(|name| !name.split('.').all(word)) {
                faults.add(format!("{at}.service"), format_args!("{bad:?} is not the name of a gRPC service"));
            }
            if let Some(bad) = method.as_ref().filter(|name| !word(name)) {
                faults.add(format!("{at}.method"), format_args!("{bad:?} is not the name of a gRPC method"));
            }
            Some(match (service, method) {
                (Some(service), Some(method)) => PathMatch::Exact(format!("/{service}/{method}")),
                (Some(service), None) => PathMatch::Prefix(format!("/{service}")),
                (None, method) => PathMatch::Regex(format!("/{ANY}/{}", method.unwrap_or_default())),
            })
        }
    }
}

fn path_match(spec: api::HttpRouteRulesMatchesPath, at: &str, faults: &mut Faults) -> Option<PathMatch> {
    use api::HttpRouteRulesMatchesPathType::{Exact, PathPrefix, RegularExpression};
    let value = spec.value.unwrap_or_else(|| "/".to_owned());
    let at = format!("{at}.value");
    match spec.r#type.unwrap_or(PathPrefix) {
        RegularExpression => field::regex(&value, at, faults).map(PathMatch::Regex),
        Exact => path(value, at, faults).map(PathMatch::Exact),
        PathPrefix => path(value, at, faults).map(|path| match path.trim_end_matches('/') {
            "" => PathMatch::Prefix("/".to_owned()),
            trimmed => PathMatch::Prefix(trimmed.to_owned()),
        }),
    }
}

/// The Gateway API's rules for paths: absolute, and in the one form that a normalised request path has.
pub fn path(text: String, at: String, faults: &mut Faults) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let reason = if !text.starts_with('/') {
        "must begin with '/'"
    } else if text.len() > 1024 {
        "longer than 1024 bytes"
    } else if ["//", "/./", "/../"].iter().any(|part| text.contains(part))
        || text.ends_with("/.")
        || text.ends_with("/..")
    {
        "must not contain empty, '.' or '..' segments"
    } else if ["%2f", "#", "?"].iter().any(|part| lower.contains(part)) {
        "must not contain an encoded slash, a query or a fragment"
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        "must be visible ASCII; encode the rest as %XX"
    } else {
        return Some(text);
    };
    faults.add(at, format_args!("{text:?} {reason}"));
    None
}

/// `given` are name, whether the value is a regular expression, and value.
fn value_matches(given: Vec<(String, bool, String)>, at: &str, header: bool, faults: &mut Faults) -> Vec<ValueMatch> {
    field::at_most(16, given.len(), at, faults);
    let mut seen = HashSet::new();
    let mut matches = Vec::new();
    for (index, (name, is_regex, value)) in given.into_iter().enumerate() {
        let name_at = format!("{at}[{index}].name");
        let name = match header {
            true => field::header_name(&name, &name_at, faults),
            false if name.is_empty() => {
                faults.add(&name_at, "must not be empty");
                None
            }
            false => Some(name),
        };
        if let Some(twice) = name.as_ref().filter(|name| !seen.insert((*name).clone())) {
            faults.add(name_at, format_args!("{twice:?} stands there twice"));
        }
        let value_at = format!("{at}[{index}].value");
        let pattern = match is_regex {
            true => field::regex(&value, value_at, faults).map(ValuePattern::Regex),
            false if value.is_empty() => {
                faults.add(value_at, "must not be empty");
                None
            }
            false => Some(ValuePattern::Exact(value)),
        };
        matches.extend(name.zip(pattern).map(|(name, value)| ValueMatch { name, value }));
    }
    matches
}
