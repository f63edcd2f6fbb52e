//! Which rule of a service's routes a request matches, and which backend gets it (Gateway API `HTTPRoute` for meshes).
//!
//! Pure. Tables are compiled when a view arrives, away from the data path; deciding allocates nothing. Precedence is the
//! specification's: the most specific host name; exact path, then the longest prefix, then regular expressions; then
//! method, number of header matches, number of query matches, the older route, the earlier rule.

use crate::request::RequestView;
use regex::Regex;
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;
use weft_model::route::{Backend, HeaderEdit, Match, PathMatch, Route, ValueMatch, ValuePattern};

/// What the routes say about a request.
#[derive(Debug)]
pub enum Routed<'a> {
    /// No route is attached to the port: straight to the service.
    Unrouted,
    /// Routes are attached and none matches: 404, as the specification says.
    NoMatch,
    To(&'a Arc<CompiledRule>),
}

/// A rule ready for use.
#[derive(Debug)]
pub struct CompiledRule {
    /// `route/rule`, for metrics and logs; the rule's number where it has no name.
    pub label: String,
    pub request_headers: HeaderEdit,
    pub response_headers: HeaderEdit,
    pub request_timeout: Option<Duration>,
    pub backend_timeout: Option<Duration>,
    backends: Vec<Backend>,
    total: u64,
}

impl CompiledRule {
    /// The backend that `random` (any number) falls to, by weight. `None`: the rule has none.
    pub fn backend(&self, random: u64) -> Option<&Backend> {
        let mut left = random.checked_rem(self.total)?;
        self.backends.iter().find(|backend| {
            let weight = u64::from(backend.weight);
            let here = left < weight;
            left = left.saturating_sub(weight);
            here
        })
    }
}

#[derive(Debug)]
struct Entry {
    port: Option<u16>,
    hostnames: Vec<String>,
    path: Path,
    method: Option<String>,
    headers: Vec<Value>,
    query: Vec<Value>,
    rule: Arc<CompiledRule>,
}

#[derive(Debug)]
enum Path {
    Exact(String),
    Prefix(String),
    Regex(Regex),
}

#[derive(Debug)]
struct Value {
    name: String,
    pattern: Pattern,
}

#[derive(Debug)]
enum Pattern {
    Exact(String),
    Regex(Regex),
}

/// All routes of one service, in the order in which they are tried.
#[derive(Debug, Default)]
pub struct Table {
    entries: Vec<Entry>,
    /// Ports that routes are attached to; `None` among them means all.
    ports: Vec<Option<u16>>,
}

impl Table {
    /// Compiles `routes`, given oldest first. A match whose regular expression is not valid matches nothing (discovery
    /// refuses such documents, so this only guards against an older one).
    pub fn compile(routes: &[Route]) -> Self {
        let mut table = Self { entries: Vec::new(), ports: routes.iter().map(|r| r.port.map(|p| p.get())).collect() };
        for route in routes {
            for (number, rule) in route.rules.iter().enumerate() {
                let name = rule.name.clone().unwrap_or_else(|| number.to_string());
                let compiled = Arc::new(CompiledRule {
                    label: format!("{}/{name}", route.name),
                    request_headers: rule.request_headers.clone(),
                    response_headers: rule.response_headers.clone(),
                    request_timeout: rule.request_timeout,
                    backend_timeout: rule.backend_timeout,
                    total: rule.backends.iter().map(|b| u64::from(b.weight)).sum(),
                    backends: rule.backends.clone(),
                });
                let every = [Match::default()];
                let matches = if rule.matches.is_empty() { &every[..] } else { &rule.matches };
                table.entries.extend(matches.iter().filter_map(|m| entry(route, m, &compiled)));
            }
        }
        // Stable: what is equal otherwise stays in the order of age and of rules.
        table.entries.sort_by_key(|e| Reverse(e.rank()));
        table
    }

    /// What becomes of `request` to `port`.
    pub fn decide(&self, port: u16, request: &impl RequestView) -> Routed<'_> {
        let here = |bound: &Option<u16>| bound.is_none_or(|p| p == port);
        if !self.ports.iter().any(here) {
            return Routed::Unrouted;
        }
        let matching = self.entries.iter().filter(|e| here(&e.port));
        let best = matching
            .filter_map(|e| Some((e.host_rank(request.host())?, e)))
            .filter(|(_, e)| e.matches(request))
            // The first of the best: entries are in order already, only the host name can change it.
            .min_by_key(|(rank, _)| Reverse(*rank));
        match best {
            Some((_, entry)) => Routed::To(&entry.rule),
            None => Routed::NoMatch,
        }
    }
}

fn entry(route: &Route, from: &Match, rule: &Arc<CompiledRule>) -> Option<Entry> {
    Some(Entry {
        port: route.port.map(|p| p.get()),
        hostnames: route.hostnames.clone(),
        path: match &from.path {
            PathMatch::Exact(path) => Path::Exact(path.clone()),
            PathMatch::Prefix(prefix) => Path::Prefix(prefix.trim_end_matches('/').to_owned()),
            PathMatch::Regex(text) => Path::Regex(whole(text)?),
        },
        method: from.method.clone(),
        headers: from.headers.iter().map(value).collect::<Option<_>>()?,
        query: from.query.iter().map(value).collect::<Option<_>>()?,
        rule: Arc::clone(rule),
    })
}

fn value(from: &ValueMatch) -> Option<Value> {
    let pattern = match &from.value {
        ValuePattern::Exact(text) => Pattern::Exact(text.clone()),
        ValuePattern::Regex(text) => Pattern::Regex(whole(text)?),
    };
    Some(Value { name: from.name.clone(), pattern })
}

/// The expression has to match the whole text.
fn whole(text: &str) -> Option<Regex> {
    Regex::new(&format!("^(?:{text})$")).ok()
}

impl Entry {
    fn rank(&self) -> (u8, usize, bool, usize, usize) {
        let (kind, length) = match &self.path {
            Path::Exact(path) => (2, path.len()),
            Path::Prefix(prefix) => (1, prefix.len()),
            Path::Regex(_) => (0, 0),
        };
        (kind, length, self.method.is_some(), self.headers.len(), self.query.len())
    }

    /// How specifically the route's host names match: an exact one beats any wildcard, a longer wildcard a shorter.
    fn host_rank(&self, host: &str) -> Option<usize> {
        if self.hostnames.is_empty() {
            return Some(0);
        }
        let rank = |name: &String| match name.strip_prefix('*') {
            None => name.eq_ignore_ascii_case(host).then_some(usize::MAX),
            Some(suffix) => {
                let at = host.len().checked_sub(suffix.len()).filter(|at| *at > 0)?;
                host.as_bytes()[at..].eq_ignore_ascii_case(suffix.as_bytes()).then_some(suffix.len())
            }
        };
        self.hostnames.iter().filter_map(rank).max()
    }

    fn matches(&self, request: &impl RequestView) -> bool {
        self.method.as_ref().is_none_or(|m| m == request.method())
            && self.path.matches(request.path())
            && self.headers.iter().all(|h| h.in_headers(request))
            && self.query.iter().all(|q| q.in_query(request.query()))
    }
}

impl Path {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == path,
            Self::Prefix(prefix) => {
                path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Regex(regex) => regex.is_match(path),
        }
    }
}

impl Value {
    fn is(&self, value: &str) -> bool {
        match &self.pattern {
            Pattern::Exact(exact) => exact == value,
            Pattern::Regex(regex) => regex.is_match(value),
        }
    }

    /// Repeated fields are one list (RFC 9110 section 5.3).
    fn in_headers(&self, request: &impl RequestView) -> bool {
        let mut joined: Option<String> = None;
        request.headers(&self.name, &mut |value| {
            let value = String::from_utf8_lossy(value);
            match &mut joined {
                None => joined = Some(value.into_owned()),
                Some(list) => {
                    list.push_str(", ");
                    list.push_str(&value);
                }
            }
            false
        });
        joined.is_some_and(|value| self.is(&value))
    }

    /// The first parameter of that name counts.
    fn in_query(&self, query: &str) -> bool {
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let mut named = pairs.filter(|(name, _)| decoded(name) == self.name);
        named.next().is_some_and(|(_, value)| self.is(&decoded(value)))
    }
}

/// Percent-decoding, with `+` for a space; what does not decode stays as it is.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = || u8::from_str_radix(text.get(at + 1..at + 3)?, 16).ok();
        match bytes[at] {
            b'%' => match hex() {
                Some(byte) => {
                    out.push(byte);
                    at += 2;
                }
                None => out.push(b'%'),
            },
            b'+' => out.push(b' '),
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
