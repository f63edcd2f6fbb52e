//! A rule ready for use: whose share a request falls to, what changes in it, and where it is redirected.
//!
//! Pure. Compiled once when a view arrives; edits of the rule and of a backend are one edit by then. Only rules that rewrite,
//! redirect or retry in a way of their own cost an allocation for each request.

use crate::request::RequestView;
use std::sync::Arc;
use std::time::Duration;
use weft_model::policy::Retry;
use weft_model::route::{Backend, HeaderEdit, Match, Mirror, PathMatch, PathRewrite, Redirect, Rewrite};
use weft_model::route::{Route, RouteRetry, Rule, Scheme};
use weft_model::session::Session;

/// A rule ready for use.
#[derive(Debug)]
pub struct CompiledRule {
    /// `route/rule`, for metrics and logs; the rule's number where it has no name.
    pub label: String,
    /// For answers that the rule itself gives.
    pub response_headers: HeaderEdit,
    pub redirect: Option<Redirect>,
    pub request_timeout: Option<Duration>,
    pub backend_timeout: Option<Duration>,
    pub session: Option<Arc<Session>>,
    /// With the rule's own edits in their edits.
    backends: Vec<Backend>,
    total: u64,
    mirrors: Vec<Mirror>,
    rewrite: Option<Rewrite>,
    /// What the rule's one match by prefix names, without a closing slash.
    prefix: String,
    retry: Option<RouteRetry>,
}

impl CompiledRule {
    pub(super) fn compile(route: &Route, number: usize, rule: &Rule) -> Self {
        let name = rule.name.clone().unwrap_or_else(|| number.to_string());
        let edited = |backend: &Backend| Backend {
            request_headers: rule.request_headers.then(&backend.request_headers),
            response_headers: rule.response_headers.then(&backend.response_headers),
            ..backend.clone()
        };
        let prefix = match &rule.matches[..] {
            [Match { path: PathMatch::Prefix(prefix), .. }] => prefix.trim_end_matches('/'),
            _ => "",
        };
        Self {
            label: format!("{}/{name}", route.name),
            response_headers: rule.response_headers.clone(),
            redirect: rule.redirect.clone(),
            request_timeout: rule.request_timeout,
            backend_timeout: rule.backend_timeout,
            session: rule.session.clone().map(Arc::new),
            total: rule.backends.iter().map(|b| u64::from(b.weight)).sum(),
            backends: rule.backends.iter().map(edited).collect(),
            mirrors: rule.mirrors.clone(),
            rewrite: rule.rewrite.clone(),
            prefix: prefix.to_owned(),
            retry: rule.retry.clone(),
        }
    }

    pub fn backends(&self) -> &[Backend] {
        &self.backends
    }

    /// The backend that `random` (any number) falls to, by weight. `None`: the rule has none.
    pub fn pick(&self, random: u64) -> Option<usize> {
        let mut left = random.checked_rem(self.total)?;
        self.backends.iter().position(|backend| {
            let weight = u64::from(backend.weight);
            let here = left < weight;
            left = left.saturating_sub(weight);
            here
        })
    }

    /// Each backend with its share of the rule's requests, as a fraction of 1.
    pub fn shares(&self) -> impl Iterator<Item = (usize, f64)> {
        let total = self.total.max(1) as f64;
        self.backends.iter().enumerate().map(move |(at, backend)| (at, f64::from(backend.weight) / total))
    }

    /// All who may get copies.
    pub fn mirrors(&self) -> &[Mirror] {
        &self.mirrors
    }

    /// Who is to get a copy of a request; `random` gives a number below its argument.
    pub fn mirrored(&self, random: impl Fn(u32) -> u32) -> impl Iterator<Item = &Mirror> {
        self.mirrors.iter().filter(move |m| !m.refused && random(m.denominator) < m.numerator)
    }

    /// Where `request`, which came to `port`, is redirected; `None`: it is not.
    pub fn location(&self, request: &impl RequestView, port: u16) -> Option<String> {
        let redirect = self.redirect.as_ref()?;
        let (scheme, usual) = match redirect.scheme {
            None | Some(Scheme::Http) => ("http", 80),
            Some(Scheme::Https) => ("https", 443),
        };
        // A scheme brings its own port; without one, it is the port that was dialled.
        let stays = if redirect.scheme.is_some() { usual } else { port };
        let port = redirect.port.map_or(stays, |port| port.get());
        let host = redirect.hostname.as_deref().unwrap_or(request.host());
        let mut location = format!("{scheme}://{host}");
        if port != usual {
            location.push_str(&format!(":{port}"));
        }
        self.push_target(&mut location, redirect.path.as_ref(), request);
        Some(location)
    }

    /// The path and query that backends see, where it differs.
    fn target(&self, request: &impl RequestView) -> Option<String> {
        let rewrite = self.rewrite.as_ref()?;
        let mut target = String::new();
        self.push_target(&mut target, rewrite.path.as_ref(), request);
        Some(target)
    }

    fn push_target(&self, to: &mut String, path: Option<&PathRewrite>, request: &impl RequestView) {
        match path {
            None => to.push_str(request.path()),
            Some(PathRewrite::Full(path)) => to.push_str(path),
            Some(PathRewrite::Prefix(new)) => {
                let (before, new) = (to.len(), new.trim_end_matches('/'));
                to.push_str(new);
                to.push_str(request.path().strip_prefix(self.prefix.as_str()).unwrap_or(""));
                if to.len() == before {
                    to.push('/');
                }
            }
        }
        if !request.query().is_empty() {
            to.push('?');
            to.push_str(request.query());
        }
    }

    /// `policy` with what the rule says in its place; `None`: nothing.
    fn retry(&self, policy: &Retry) -> Option<Box<Retry>> {
        let rule = self.retry.as_ref()?;
        Some(Box::new(Retry {
            attempts: rule.attempts.unwrap_or(policy.attempts),
            statuses: rule.statuses.as_ref().unwrap_or(&policy.statuses).clone(),
            ..policy.clone()
        }))
    }
}

/// The backend that one request falls to.
#[derive(Debug)]
pub struct Chosen {
    rule: Arc<CompiledRule>,
    backend: usize,
}

/// What a rule makes of one request.
#[derive(Debug)]
pub struct Carried {
    chosen: Chosen,
    /// Path and query in place of what came.
    pub target: Option<String>,
    /// In place of the policy's.
    pub retry: Option<Box<Retry>>,
}

impl Chosen {
    /// `None`: the rule has no backend.
    pub fn by(rule: Arc<CompiledRule>, random: u64) -> Option<Self> {
        rule.pick(random).map(|backend| Self { rule, backend })
    }

    /// The backend number `backend`, whoever it would fall to by chance; `None`: the rule has no such backend.
    pub fn at(rule: Arc<CompiledRule>, backend: usize) -> Option<Self> {
        (backend < rule.backends.len()).then_some(Self { rule, backend })
    }

    pub fn rule(&self) -> &CompiledRule {
        &self.rule
    }

    pub fn backend(&self) -> &Backend {
        &self.rule.backends[self.backend]
    }

    /// What becomes of `request`; `policy` is that of the backend's service.
    pub fn carry(self, request: &impl RequestView, policy: &Retry) -> Carried {
        Carried { target: self.rule.target(request), retry: self.rule.retry(policy), chosen: self }
    }
}

impl Carried {
    pub fn rule(&self) -> &CompiledRule {
        &self.chosen.rule
    }

    pub fn label(&self) -> &str {
        &self.chosen.rule.label
    }

    /// The host in place of what came.
    pub fn host(&self) -> Option<&str> {
        self.chosen.rule.rewrite.as_ref()?.hostname.as_deref()
    }

    /// The shortest pause before another try.
    pub fn backoff(&self) -> Duration {
        self.chosen.rule.retry.as_ref().and_then(|retry| retry.backoff).unwrap_or_default()
    }

    pub fn request_headers(&self) -> Option<&HeaderEdit> {
        Some(&self.chosen.backend().request_headers).filter(|edit| !edit.is_empty())
    }

    pub fn response_headers(&self) -> Option<&HeaderEdit> {
        Some(&self.chosen.backend().response_headers).filter(|edit| !edit.is_empty())
    }
}

#[cfg(test)]
#[path = "rule_tests.rs"]
mod tests;
