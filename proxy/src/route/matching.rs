//! One match of a rule, ready for use: path, method, headers and query parameters of a request.
//!
//! Pure. A request is looked at through its view and nothing of it is kept. Repeated header fields are one list, as RFC 9110
//! section 5.3 says; of repeated query parameters the first counts.

use crate::request::RequestView;
use regex::Regex;
use std::borrow::Cow;
use std::fmt;
use weft_model::explain::Mismatch;
use weft_model::route::{Match, PathMatch, ValueMatch, ValuePattern};

/// All parts have to match.
#[derive(Debug)]
pub struct Matcher {
    path: Path,
    method: Option<String>,
    headers: Vec<Value>,
    query: Vec<Value>,
}

/// Matches of which one is enough.
#[derive(Debug)]
pub struct Matches {
    /// Nothing was asked for: every request is meant.
    all: bool,
    matchers: Vec<Matcher>,
}

impl Matches {
    /// A match with an expression that is not valid matches nothing.
    pub fn compile(from: &[Match]) -> Self {
        Self { all: from.is_empty(), matchers: from.iter().filter_map(Matcher::compile).collect() }
    }

    pub fn any(&self, request: &impl RequestView) -> bool {
        self.all || self.matchers.iter().any(|matcher| matcher.matches(request))
    }
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

impl Matcher {
    /// `None`: an expression is not valid.
    pub(super) fn compile(from: &Match) -> Option<Self> {
        Some(Self {
            path: match &from.path {
                PathMatch::Exact(path) => Path::Exact(path.clone()),
                PathMatch::Prefix(prefix) => Path::Prefix(prefix.trim_end_matches('/').to_owned()),
                PathMatch::Regex(text) => Path::Regex(whole(text)?),
            },
            method: from.method.clone(),
            headers: from.headers.iter().map(value).collect::<Option<_>>()?,
            query: from.query.iter().map(value).collect::<Option<_>>()?,
        })
    }

    /// What is compared first to last between matches: exact path, the longest prefix, then expressions; method; number of
    /// headers; number of query parameters. The greater wins.
    pub(super) fn rank(&self) -> (u8, usize, bool, usize, usize) {
        let (kind, length) = match &self.path {
            Path::Exact(path) => (2, path.len()),
            Path::Prefix(prefix) => (1, prefix.len()),
            Path::Regex(_) => (0, 0),
        };
        (kind, length, self.method.is_some(), self.headers.len(), self.query.len())
    }

    /// What the path has to begin with, whatever else is asked for.
    pub(super) fn begins(&self) -> &str {
        match &self.path {
            Path::Exact(text) | Path::Prefix(text) => text,
            Path::Regex(_) => "",
        }
    }

    pub(super) fn matches(&self, request: &impl RequestView) -> bool {
        self.method.as_ref().is_none_or(|m| m == request.method())
            && self.path.matches(request.path())
            && self.headers.iter().all(|h| h.in_headers(request))
            && self.query.iter().all(|q| q.in_query(request.query()))
    }

    /// The parts that do not match; none of them: [`Matcher::matches`].
    pub(super) fn missed(&self, request: &impl RequestView) -> Vec<Mismatch> {
        let missed = |part: String, asked: String, found: Option<String>| Mismatch { part, asked, found };
        let method = self.method.iter().filter(|m| *m != request.method());
        let method = method.map(|m| missed("method".to_owned(), m.clone(), Some(request.method().to_owned())));
        let path = (!self.path.matches(request.path()))
            .then(|| missed("path".to_owned(), self.path.to_string(), Some(request.path().to_owned())));
        let headers = self.headers.iter().filter(|h| !h.in_headers(request));
        let headers =
            headers.map(|h| missed(format!("header {}", h.name), h.pattern.to_string(), listed(request, &h.name)));
        let query = self.query.iter().filter(|q| !q.in_query(request.query()));
        let query = query.map(|q| {
            let found = parameter(request.query(), &q.name).map(Cow::into_owned);
            missed(format!("query parameter {}", q.name), q.pattern.to_string(), found)
        });
        method.chain(path).chain(headers).chain(query).collect()
    }
}

fn value(from: &ValueMatch) -> Option<Value> {
    let pattern = match &from.value {
        ValuePattern::Exact(text) => Pattern::Exact(text.clone()),
        ValuePattern::Regex(text) => Pattern::Regex(whole(text)?),
    };
    Some(Value { name: from.name.clone(), pattern })
}

/// Around an expression that has to match the whole text.
const WHOLE: (&str, &str) = ("^(?:", ")$");

fn whole(text: &str) -> Option<Regex> {
    Regex::new(&[WHOLE.0, text, WHOLE.1].concat()).ok()
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

    /// Repeated fields are one list (RFC 9110 section 5.3). Only such a list has to be put together.
    fn in_headers(&self, request: &impl RequestView) -> bool {
        let (mut count, mut first) = (0, false);
        request.headers(&self.name, &mut |value| {
            first = count == 0 && self.is(&String::from_utf8_lossy(value));
            count += 1;
            count > 1
        });
        if count < 2 {
            return first;
        }
        listed(request, &self.name).is_some_and(|list| self.is(&list))
    }

    /// The first parameter of that name counts.
    fn in_query(&self, query: &str) -> bool {
        parameter(query, &self.name).is_some_and(|value| self.is(&value))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => write!(f, "exactly {path}"),
            Self::Prefix(prefix) => write!(f, "with prefix {}", if prefix.is_empty() { "/" } else { prefix }),
            Self::Regex(regex) => write!(f, "matching {}", written(regex)),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(text),
            Self::Regex(regex) => write!(f, "matching {}", written(regex)),
        }
    }
}

/// As the document has it.
fn written(regex: &Regex) -> &str {
    let text = regex.as_str();
    text.strip_prefix(WHOLE.0).and_then(|text| text.strip_suffix(WHOLE.1)).unwrap_or(text)
}

/// All values of a field as one list; `None`: there is no such field.
fn listed(request: &impl RequestView, name: &str) -> Option<String> {
    let mut values: Vec<String> = Vec::new();
    request.headers(name, &mut |value| {
        values.push(String::from_utf8_lossy(value).into_owned());
        false
    });
    (!values.is_empty()).then(|| values.join(", "))
}

/// The first parameter of that name.
fn parameter<'a>(query: &'a str, wanted: &str) -> Option<Cow<'a, str>> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find(|(name, _)| decoded(name) == wanted).map(|(_, value)| decoded(value))
}

/// Percent-decoding, with `+` for a space; what does not decode stays as it is.
fn decoded(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
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
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}
