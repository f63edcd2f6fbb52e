//! Routes: rules, matches, header edits and backends.
//!
//! Refuses what the proxy's route decision could not carry out: patterns that do not compile, names that no header can
//! have.

use super::{ConvertError, Result, each, is_token, name, name_text, port, some_duration, some_micros, some_text};
use crate::v1;
use regex::Regex;
use weft_model::names::{label, subdomain};
use weft_model::route::{Backend, HeaderEdit, Match, Mirror, PathMatch, PathRewrite, Redirect, Rewrite};
use weft_model::route::{Route, RouteKind, RouteRetry, Rule, ValueMatch, ValuePattern};
use weft_model::session::Session;

impl From<&Route> for v1::Route {
    fn from(route: &Route) -> Self {
        let kind = match route.kind {
            RouteKind::Http => v1::RouteKind::Http,
            RouteKind::Grpc => v1::RouteKind::Grpc,
        };
        Self {
            kind: kind.into(),
            namespace: route.namespace.clone(),
            name: route.name.clone(),
            port: route.port.map_or(0, |port| port.get().into()),
            hostnames: route.hostnames.clone(),
            rules: route.rules.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Route> for Route {
    type Error = ConvertError;

    fn try_from(wire: v1::Route) -> Result<Self> {
        for (n, host) in wire.hostnames.iter().enumerate() {
            let plain = host.strip_prefix("*.").unwrap_or(host);
            subdomain(plain).map_err(|error| ConvertError::new(format!("hostnames[{n}]"), error))?;
        }
        let kind = match v1::RouteKind::try_from(wire.kind).map_err(|error| ConvertError::new("kind", error))? {
            v1::RouteKind::Http => RouteKind::Http,
            v1::RouteKind::Grpc => RouteKind::Grpc,
        };
        Ok(Self {
            kind,
            namespace: label(&wire.namespace).map_err(|error| ConvertError::new("namespace", error))?,
            name: subdomain(&wire.name).map_err(|error| ConvertError::new("name", error))?,
            port: if wire.port == 0 { None } else { Some(port("port", wire.port)?) },
            hostnames: wire.hostnames,
            rules: each("rules", wire.rules)?,
        })
    }
}

impl From<&Rule> for v1::Rule {
    fn from(rule: &Rule) -> Self {
        Self {
            name: rule.name.clone().unwrap_or_default(),
            matches: rule.matches.iter().map(Into::into).collect(),
            request_headers: edit(&rule.request_headers),
            response_headers: edit(&rule.response_headers),
            redirect: rule.redirect.as_ref().map(Into::into),
            rewrite: rule.rewrite.as_ref().map(Into::into),
            mirrors: rule.mirrors.iter().map(Into::into).collect(),
            backends: rule.backends.iter().map(Into::into).collect(),
            retry: rule.retry.as_ref().map(Into::into),
            session: rule.session.as_ref().map(Into::into),
            request_timeout_us: some_micros(rule.request_timeout),
            backend_timeout_us: some_micros(rule.backend_timeout),
        }
    }
}

fn edit(edit: &HeaderEdit) -> Option<v1::HeaderEdit> {
    (!edit.is_empty()).then(|| edit.into())
}

impl TryFrom<v1::Rule> for Rule {
    type Error = ConvertError;

    fn try_from(wire: v1::Rule) -> Result<Self> {
        let rule = Self {
            name: some_text(wire.name),
            matches: each("matches", wire.matches)?,
            request_headers: from_edit("request_headers", wire.request_headers)?,
            response_headers: from_edit("response_headers", wire.response_headers)?,
            redirect: wire.redirect.map(Redirect::try_from).transpose().map_err(|error| error.within("redirect"))?,
            rewrite: wire.rewrite.map(Rewrite::try_from).transpose().map_err(|error| error.within("rewrite"))?,
            mirrors: each::<_, Mirror>("mirrors", wire.mirrors)?,
            backends: each::<_, Backend>("backends", wire.backends)?,
            retry: wire.retry.map(RouteRetry::try_from).transpose().map_err(|error| error.within("retry"))?,
            session: wire.session.map(Session::try_from).transpose().map_err(|error| error.within("session"))?,
            request_timeout: some_duration(wire.request_timeout_us),
            backend_timeout: some_duration(wire.backend_timeout_us),
        };
        prefix_is_clear(&rule)?;
        Ok(rule)
    }
}

/// A prefix can be replaced only where one match says which.
fn prefix_is_clear(rule: &Rule) -> Result<()> {
    let paths = [
        ("redirect.path", rule.redirect.as_ref().and_then(|redirect| redirect.path.as_ref())),
        ("rewrite.path", rule.rewrite.as_ref().and_then(|rewrite| rewrite.path.as_ref())),
    ];
    let clear = matches!(&rule.matches[..], [Match { path: PathMatch::Prefix(_), .. }]);
    match paths.into_iter().find(|(_, path)| matches!(path, Some(PathRewrite::Prefix(_)))) {
        Some((field, _)) if !clear => {
            Err(ConvertError::new(field, "replaces a prefix, but the matches do not name one"))
        }
        _ => Ok(()),
    }
}

fn from_edit(field: &str, edit: Option<v1::HeaderEdit>) -> Result<HeaderEdit> {
    edit.map_or(Ok(HeaderEdit::default()), |edit| edit.try_into().map_err(|e: ConvertError| e.within(field)))
}

impl From<&Match> for v1::Match {
    fn from(matched: &Match) -> Self {
        Self {
            path: Some((&matched.path).into()),
            method: matched.method.clone().unwrap_or_default(),
            headers: matched.headers.iter().map(Into::into).collect(),
            query: matched.query.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Match> for Match {
    type Error = ConvertError;

    fn try_from(wire: v1::Match) -> Result<Self> {
        let path = wire.path.map(PathMatch::try_from).transpose().map_err(|error| error.within("path"))?;
        if !wire.method.is_empty() && !is_token(&wire.method) {
            return Err(ConvertError::new("method", format!("{:?} is not a method", wire.method)));
        }
        let headers: Vec<ValueMatch> = each("headers", wire.headers)?;
        for (n, header) in headers.iter().enumerate() {
            header_name(&format!("headers[{n}].name"), &header.name)?;
        }
        Ok(Self {
            path: path.unwrap_or_default(),
            method: some_text(wire.method),
            headers,
            query: each("query", wire.query)?,
        })
    }
}

impl From<&PathMatch> for v1::PathMatch {
    fn from(path: &PathMatch) -> Self {
        let kind = match path {
            PathMatch::Exact(path) => v1::path_match::Kind::Exact(path.clone()),
            PathMatch::Prefix(path) => v1::path_match::Kind::Prefix(path.clone()),
            PathMatch::Regex(pattern) => v1::path_match::Kind::Regex(pattern.clone()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::PathMatch> for PathMatch {
    type Error = ConvertError;

    fn try_from(wire: v1::PathMatch) -> Result<Self> {
        let absolute = |field: &str, path: String| {
            let refused = || ConvertError::new(field, format!("{path:?} does not begin with '/'"));
            if path.starts_with('/') { Ok(path) } else { Err(refused()) }
        };
        Ok(match wire.kind {
            Some(v1::path_match::Kind::Exact(path)) => Self::Exact(absolute("exact", path)?),
            Some(v1::path_match::Kind::Prefix(path)) => Self::Prefix(absolute("prefix", path)?),
            Some(v1::path_match::Kind::Regex(pattern)) => Self::Regex(regex(pattern)?),
            None => return Err(ConvertError::new("kind", "neither exact, prefix nor regex")),
        })
    }
}

impl From<&ValueMatch> for v1::ValueMatch {
    fn from(matched: &ValueMatch) -> Self {
        let value = match &matched.value {
            ValuePattern::Exact(value) => v1::value_match::Value::Exact(value.clone()),
            ValuePattern::Regex(pattern) => v1::value_match::Value::Regex(pattern.clone()),
        };
        Self { name: matched.name.clone(), value: Some(value) }
    }
}

impl TryFrom<v1::ValueMatch> for ValueMatch {
    type Error = ConvertError;

    fn try_from(wire: v1::ValueMatch) -> Result<Self> {
        if wire.name.is_empty() {
            return Err(ConvertError::new("name", "empty"));
        }
        let value = match wire.value {
            Some(v1::value_match::Value::Exact(value)) => ValuePattern::Exact(value),
            Some(v1::value_match::Value::Regex(pattern)) => ValuePattern::Regex(regex(pattern)?),
            None => return Err(ConvertError::new("value", "neither exact nor regex")),
        };
        Ok(Self { name: wire.name, value })
    }
}

fn regex(pattern: String) -> Result<String> {
    match Regex::new(&pattern) {
        Ok(_) => Ok(pattern),
        Err(error) => Err(ConvertError::new("regex", error)),
    }
}

impl From<&HeaderEdit> for v1::HeaderEdit {
    fn from(edit: &HeaderEdit) -> Self {
        let pair = |(name, value): &(String, String)| v1::HeaderValue { name: name.clone(), value: value.clone() };
        Self {
            set: edit.set.iter().map(pair).collect(),
            add: edit.add.iter().map(pair).collect(),
            remove: edit.remove.clone(),
        }
    }
}

impl TryFrom<v1::HeaderEdit> for HeaderEdit {
    type Error = ConvertError;

    fn try_from(wire: v1::HeaderEdit) -> Result<Self> {
        for (n, name) in wire.remove.iter().enumerate() {
            header_name(&format!("remove[{n}]"), name)?;
        }
        Ok(Self { set: pairs("set", wire.set)?, add: pairs("add", wire.add)?, remove: wire.remove })
    }
}

fn pairs(field: &str, wire: Vec<v1::HeaderValue>) -> Result<Vec<(String, String)>> {
    let pair = |(n, header): (usize, v1::HeaderValue)| {
        header_name(&format!("{field}[{n}].name"), &header.name)?;
        // RFC 9110, section 5.5: no control characters but the tab. A line break would start another header.
        if header.value.chars().any(|c| c.is_ascii_control() && c != '\t') {
            return Err(ConvertError::new(format!("{field}[{n}].value"), "holds a control character"));
        }
        Ok((header.name, header.value))
    };
    wire.into_iter().enumerate().map(pair).collect()
}

fn header_name(field: &str, name: &str) -> Result<()> {
    if is_token(name) && !name.bytes().any(|b| b.is_ascii_uppercase()) {
        Ok(())
    } else {
        Err(ConvertError::new(field, format!("{name:?} is not a header name in lower case")))
    }
}

impl From<&Backend> for v1::Backend {
    fn from(backend: &Backend) -> Self {
        Self {
            service: name_text(&backend.service),
            port: backend.port.get().into(),
            weight: backend.weight,
            refused: backend.refused,
            request_headers: edit(&backend.request_headers),
            response_headers: edit(&backend.response_headers),
        }
    }
}

impl TryFrom<v1::Backend> for Backend {
    type Error = ConvertError;

    fn try_from(wire: v1::Backend) -> Result<Self> {
        Ok(Self {
            service: name("service", &wire.service)?,
            port: port("port", wire.port)?,
            weight: wire.weight,
            refused: wire.refused,
            request_headers: from_edit("request_headers", wire.request_headers)?,
            response_headers: from_edit("response_headers", wire.response_headers)?,
        })
    }
}
