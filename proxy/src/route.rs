//! Which rule of a service's routes a request matches (Gateway API `HTTPRoute` and `GRPCRoute` for meshes).
//!
//! Pure. Tables are compiled when a view arrives, away from the data path; deciding allocates nothing. Of the groups of routes
//! that are attached to a port one is in force: a consumer's before the producer's, GRPCRoutes before HTTPRoutes (GEP-1294).
//! Within it, precedence is the specification's: the most specific host name; what `Matcher` ranks; the older route, the
//! earlier rule.

mod matching;
mod rule;
mod why;

pub use rule::{Carried, Chosen, CompiledRule};

use crate::prefixes::Prefixes;
use crate::request::RequestView;
use matching::Matcher;
pub use matching::Matches;
use std::cmp::Reverse;
use std::sync::Arc;
use weft_model::ServiceName;
use weft_model::route::{Match, Route, RouteKind};

/// What the routes say about a request.
#[derive(Debug)]
pub enum Routed<'a> {
    /// No route is attached to the port: straight to the service.
    Unrouted,
    /// Routes are attached and none matches: 404, as the specification says.
    NoMatch,
    To(&'a Arc<CompiledRule>),
}

/// Routes that are merged with each other, and with no others; the greatest in force on a port wins.
type Group = (bool, RouteKind);

#[derive(Debug)]
struct Entry {
    port: Option<u16>,
    group: Group,
    hostnames: Vec<String>,
    /// Which match of the rule.
    number: usize,
    matcher: Matcher,
    rule: Arc<CompiledRule>,
}

/// All routes of one service, in the order in which they are tried.
#[derive(Debug)]
pub struct Table {
    entries: Vec<Entry>,
    /// The entries by what a path has to begin with.
    by_path: Prefixes<usize>,
    /// Ports that routes are attached to (`None` is all of them), and which routes; each pair once.
    attached: Vec<(Option<u16>, Group)>,
}

impl Table {
    /// Compiles the routes of `service`, given oldest first; only those that bind this proxy's application. A match whose
    /// regular expression is not valid matches nothing (discovery refuses such documents, so this only guards against an
    /// older one).
    pub fn compile(service: &ServiceName, routes: &[Route]) -> Self {
        let (mut entries, mut attached) = (Vec::new(), Vec::new());
        for route in routes {
            let (port, group) = (route.port.map(|p| p.get()), (route.is_consumer(service), route.kind));
            if !attached.contains(&(port, group)) {
                attached.push((port, group));
            }
            for (number, rule) in route.rules.iter().enumerate() {
                let compiled = Arc::new(CompiledRule::compile(route, number, rule));
                let every = [Match::default()];
                let matches = if rule.matches.is_empty() { &every[..] } else { &rule.matches };
                entries.extend(matches.iter().enumerate().filter_map(|(number, matched)| {
                    let (hostnames, rule) = (route.hostnames.clone(), Arc::clone(&compiled));
                    Some(Entry { port, group, hostnames, number, matcher: Matcher::compile(matched)?, rule })
                }));
            }
        }
        // Stable: what is equal otherwise stays in the order of age and of rules.
        entries.sort_by_key(|e: &Entry| Reverse(e.matcher.rank()));
        let begins = |(n, entry): (usize, &Entry)| (entry.matcher.begins().to_owned(), n);
        Self { by_path: Prefixes::new(entries.iter().enumerate().map(begins)), entries, attached }
    }

    /// What becomes of `request` to `port`.
    pub fn decide(&self, port: u16, request: &impl RequestView) -> Routed<'_> {
        let Some(group) = self.group(port) else { return Routed::Unrouted };
        self.best(group, port, request).map_or(Routed::NoMatch, |entry| Routed::To(&entry.rule))
    }

    /// The group in force on `port`; `None`: no route is attached to it.
    fn group(&self, port: u16) -> Option<Group> {
        let attached = self.attached.iter().filter(|(bound, _)| is_for(*bound, port));
        attached.map(|(_, group)| *group).max()
    }

    /// The match that a request to `port`, where `group` is in force, takes.
    fn best(&self, group: Group, port: u16, request: &impl RequestView) -> Option<&Entry> {
        let possible = self.by_path.of(request.path()).map(|n| (*n, &self.entries[*n]));
        let best = possible
            .filter(|(_, e)| e.group == group && e.is_for(port))
            .filter_map(|(n, e)| Some((e.host_rank(request.host())?, n, e)))
            .filter(|(_, _, e)| e.matcher.matches(request))
            // Entries are in order already, only the host name comes before it.
            .min_by_key(|(rank, n, _)| (Reverse(*rank), *n));
        best.map(|(_, _, entry)| entry)
    }
}

/// What is bound to no port is for all of them.
fn is_for(bound: Option<u16>, port: u16) -> bool {
    bound.is_none_or(|bound| bound == port)
}

impl Entry {
    fn is_for(&self, port: u16) -> bool {
        is_for(self.port, port)
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
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
