//! Whether a client may do what it asks for: what the policies that select this workload say of a connection or a request.
//!
//! Asked by `inbound`. Pure: what a connection settles (identity, address, port) is worked out once ([`Scope`]), the rest for each
//! request. DENY comes before ALLOW. In doubt the safe side: of a path that can be read in several ways DENY takes any
//! reading and ALLOW needs all, and what has no sound reading is an error.

pub mod path;

use crate::prefixes::Prefixes;
use crate::request::RequestView;
use path::{Ambiguous, Readings};
use smallvec::SmallVec;
use std::cell::OnceCell;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use weft_model::authorization::{Action, Mode, Mtls, Operation, Source};
use weft_model::{AuthorizationPolicy, SpiffeId, WorkloadPolicies};

/// Who is at the other end, and which port was dialled.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// `None`: no sidecar at the other end.
    pub identity: Option<&'a SpiffeId>,
    pub address: IpAddr,
    pub port: u16,
}

/// What was decided, and whose decision it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub allowed: bool,
    /// `namespace/policy`; `default`, the namespace's; `mtls`, because the client has no identity.
    pub policy: Arc<str>,
    /// The policy in audit mode that would have denied what was allowed.
    pub audit: Option<Arc<str>>,
}

impl Verdict {
    fn denied(policy: &Arc<str>) -> Self {
        Self { allowed: false, policy: Arc::clone(policy), audit: None }
    }
}

/// One policy, by the name it is told by.
#[derive(Debug)]
struct Policy {
    name: Arc<str>,
    mode: Mode,
    /// Each with the numbers of its operations.
    rules: Vec<(Vec<Source>, Range<u32>)>,
    operations: Vec<Operation>,
    /// The numbers of those that a path with one reading may be asked for by, each under what such a path begins with.
    by_path: Prefixes<u32>,
}

impl Policy {
    fn compile(policy: &AuthorizationPolicy) -> Self {
        let (mut rules, mut operations) = (Vec::new(), Vec::new());
        for rule in &policy.rules {
            let first = operations.len() as u32;
            operations.extend(rule.to.iter().cloned());
            rules.push((rule.from.clone(), first..operations.len() as u32));
        }
        let by_path = Prefixes::new((0..).zip(&operations).flat_map(|(n, operation): (u32, &Operation)| {
            // Hosts can be an error, whatever the path is.
            let anywhere = operation.paths.is_empty() || !operation.hosts.is_empty();
            let paths = if anywhere { &[] } else { &operation.paths[..] };
            let begins = paths.iter().map(|path| path.begins().to_owned());
            begins.chain(anywhere.then(String::new)).map(move |begins| (begins, n))
        }));
        let name = format!("{}/{}", policy.namespace, policy.name).into();
        Self { name, mode: policy.mode, rules, operations, by_path }
    }
}

/// All policies that select this workload.
#[derive(Debug)]
pub struct Table {
    strict: bool,
    default: Action,
    deny: Vec<Policy>,
    allow: Vec<Policy>,
    by_default: Arc<str>,
    by_mtls: Arc<str>,
}

impl Table {
    /// `None`: everything is allowed.
    pub fn compile(policies: &WorkloadPolicies) -> Option<Self> {
        if policies.is_open() {
            return None;
        }
        let of = |action: Action| {
            let of = policies.policies.iter().filter(move |policy| policy.action == action);
            of.map(Policy::compile).collect()
        };
        Some(Self {
            strict: policies.namespace.mtls == Mtls::Strict,
            default: policies.namespace.default_action,
            deny: of(Action::Deny),
            allow: of(Action::Allow),
            by_default: "default".into(),
            by_mtls: "mtls".into(),
        })
    }

    /// What is left to decide of connections of `peer`.
    pub fn scope(self: &Arc<Self>, peer: &Peer<'_>) -> Scope {
        let left = |policies: &[Policy]| policies.iter().map(|policy| Left::of(policy, peer)).collect();
        let mut scope = Scope {
            stranger: self.strict && peer.identity.is_none(),
            deny: left(&self.deny),
            allow: left(&self.allow),
            settled: None,
            table: Arc::clone(self),
        };
        let open = |left: &Left| !left.always && !left.operations.is_empty();
        if scope.stranger || !scope.deny.iter().chain(&scope.allow).any(open) {
            scope.settled = Some(scope.opaque());
        }
        scope
    }
}

/// What a policy still asks of the requests of one connection.
#[derive(Debug)]
struct Left {
    /// It matches whatever they are.
    always: bool,
    /// It matches an opaque connection.
    opaque: bool,
    /// Otherwise one of these of the policy's operations has to match; in their order.
    operations: Vec<u32>,
}

impl Left {
    fn of(policy: &Policy, peer: &Peer<'_>) -> Self {
        let mut left = Self { always: false, opaque: false, operations: Vec::new() };
        let applies = |from: &[Source]| from.is_empty() || from.iter().any(|source| is_from(source, peer));
        for (_, numbers) in policy.rules.iter().filter(|(from, _)| applies(from)) {
            left.always |= numbers.is_empty();
            for n in numbers.clone() {
                let operation = &policy.operations[n as usize];
                let named = operation.ports.iter().any(|port| port.get() == peer.port);
                match operation.needs_http() {
                    _ if !named && !operation.ports.is_empty() => {}
                    false => left.always = true,
                    true => {
                        left.operations.push(n);
                        // A port of which the policy says that HTTP is spoken there: bytes that are none hide something.
                        left.opaque |= named;
                    }
                }
            }
        }
        left
    }

    /// The numbers of those operations that have to be looked at for a path, in their order. `plain`: its one reading, if it has
    /// no others.
    fn possible(&self, policy: &Policy, plain: Option<&str>) -> SmallVec<[u32; 8]> {
        let Some(plain) = plain else { return SmallVec::from_slice(&self.operations) };
        let here = |n: &u32| self.operations.binary_search(n).is_ok();
        let mut possible: SmallVec<_> = policy.by_path.of(plain).copied().filter(here).collect();
        possible.sort_unstable();
        possible.dedup();
        possible
    }
}

fn is_from(source: &Source, peer: &Peer<'_>) -> bool {
    let identified = |holds: &dyn Fn(&SpiffeId) -> bool| peer.identity.is_some_and(holds);
    (source.identities.is_empty() || identified(&|id| source.identities.iter().any(|pattern| pattern.matches(id))))
        && (source.namespaces.is_empty() || identified(&|id| source.namespaces.contains(&id.namespace)))
        && (source.cidrs.is_empty() || source.cidrs.iter().any(|cidr| cidr.contains(peer.address)))
}

/// The table as far as one connection has settled it.
#[derive(Debug)]
pub struct Scope {
    table: Arc<Table>,
    /// Has no identity where one is asked for.
    stranger: bool,
    deny: Vec<Left>,
    allow: Vec<Left>,
    /// Every request has this verdict.
    settled: Option<Verdict>,
}

impl Scope {
    /// Whether it was made of `table`.
    pub fn is_of(&self, table: &Arc<Table>) -> bool {
        Arc::ptr_eq(&self.table, table)
    }

    /// The verdict that holds for whatever comes over the connection, if there is one.
    pub fn settled(&self) -> Option<&Verdict> {
        self.settled.as_ref()
    }

    /// About a connection whose bytes nobody reads. What asks for more of HTTP does not match, but for DENY that names the port.
    pub fn opaque(&self) -> Verdict {
        let deny = |left: &Left, _: &Policy| Ok(left.always || left.opaque);
        let verdict = self.decide(deny, |left, _| Ok(left.always));
        verdict.expect("only a path is ambiguous, and none was looked at")
    }

    /// About one request. An error: it can be read in ways that nobody should rely on, and a policy asks for how it is read.
    pub fn request(&self, request: &impl RequestView) -> Result<Verdict, Ambiguous> {
        if let Some(verdict) = &self.settled {
            return Ok(verdict.clone());
        }
        if becomes_http2(request) {
            return Err(Ambiguous("upgrade to h2c, whose requests nobody would see"));
        }
        let (method, plain) = (request.method(), path::plain(request.path()));
        let asked = Asked { request, method, plain, readings: OnceCell::new() };
        let matches = |left: &Left, policy: &Policy, action| {
            if left.always {
                return Ok(true);
            }
            for n in left.possible(policy, plain) {
                match asked.for_operation(&policy.operations[n as usize], action) {
                    Ok(false) => {}
                    Ok(true) => return Ok(true),
                    // What would be refused is what an audit is to tell.
                    Err(_) if policy.mode == Mode::Audit => return Ok(action == Action::Deny),
                    Err(ambiguous) => return Err(ambiguous),
                }
            }
            Ok(false)
        };
        self.decide(
            |left, policy| matches(left, policy, Action::Deny),
            |left, policy| matches(left, policy, Action::Allow),
        )
    }

    fn decide(
        &self,
        deny: impl Fn(&Left, &Policy) -> Result<bool, Ambiguous>,
        allow: impl Fn(&Left, &Policy) -> Result<bool, Ambiguous>,
    ) -> Result<Verdict, Ambiguous> {
        let table = &*self.table;
        if self.stranger {
            return Ok(Verdict::denied(&table.by_mtls));
        }
        let mut audit = None;
        for (left, policy) in self.deny.iter().zip(&table.deny) {
            if deny(left, policy)? {
                match policy.mode {
                    Mode::Enforce => return Ok(Verdict::denied(&policy.name)),
                    Mode::Audit => audit = audit.or(Some(&policy.name)),
                }
            }
        }
        let granting = |mode: Mode| {
            let all = self.allow.iter().zip(&table.allow);
            all.filter(move |(_, policy)| policy.mode == mode)
        };
        let grant = |mode: Mode| {
            for (left, policy) in granting(mode) {
                if allow(left, policy)? {
                    return Ok(Some(&policy.name));
                }
            }
            Ok(None)
        };
        let first = |mode: Mode| granting(mode).next().map(|(_, policy)| &policy.name);
        let by = match (grant(Mode::Enforce)?, first(Mode::Enforce)) {
            (Some(by), _) => by,
            (None, Some(none)) => return Ok(Verdict::denied(none)),
            (None, None) if table.default == Action::Deny => return Ok(Verdict::denied(&table.by_default)),
            (None, None) => {
                if grant(Mode::Audit)?.is_none() {
                    audit = audit.or(first(Mode::Audit));
                }
                &table.by_default
            }
        };
        Ok(Verdict { allowed: true, policy: Arc::clone(by), audit: audit.cloned() })
    }
}

/// Whether what follows may be requests in a tunnel, which no policy would be asked about.
fn becomes_http2(request: &impl RequestView) -> bool {
    let mut found = false;
    request.headers("upgrade", &mut |value| {
        found |= value.to_ascii_lowercase().windows(3).any(|word| word == b"h2c");
        found
    });
    found
}

/// One request, and what was made of its path if anybody asked: there may be many rules to be held against it.
struct Asked<'a, R> {
    request: &'a R,
    method: &'a str,
    /// The path, if it has one reading.
    plain: Option<&'a str>,
    readings: OnceCell<Result<Vec<String>, Ambiguous>>,
}

impl<R: RequestView> Asked<'_, R> {
    fn for_operation(&self, operation: &Operation, action: Action) -> Result<bool, Ambiguous> {
        let method = self.method;
        let methods = operation.methods.is_empty()
            || operation.methods.iter().any(|wanted| match action {
                // Some servers take any case.
                Action::Deny => wanted.eq_ignore_ascii_case(method),
                Action::Allow => wanted == method,
            });
        let headers = operation.headers.iter().all(|wanted| {
            let (mut any, mut all) = (false, true);
            self.request.headers(&wanted.name, &mut |value| {
                let is = wanted.value.as_ref().is_none_or(|wanted| wanted.as_bytes() == value);
                (any, all) = (any | is, all & is);
                false
            });
            any && (all || action == Action::Deny)
        });
        if !methods || !headers {
            return Ok(false);
        }
        Ok(self.is_for_host(operation, action)? && self.is_at_path(operation, action)?)
    }

    fn is_for_host(&self, operation: &Operation, action: Action) -> Result<bool, Ambiguous> {
        if operation.hosts.is_empty() {
            return Ok(true);
        }
        let mut hosts = vec![path::host(self.request.host())?];
        // HTTP/2 has the authority, and may have another in `host` that applications look at.
        let mut odd = None;
        self.request.headers("host", &mut |value| {
            match std::str::from_utf8(value).map_err(|_| Ambiguous("host")).and_then(path::host) {
                Ok(host) => hosts.push(host),
                Err(ambiguous) => odd = Some(ambiguous),
            }
            false
        });
        let matches = |host: &String| operation.hosts.iter().any(|pattern| pattern.matches(host));
        match (odd, action) {
            (Some(odd), _) => Err(odd),
            (None, Action::Deny) => Ok(hosts.iter().any(matches)),
            (None, Action::Allow) => Ok(hosts.iter().all(matches)),
        }
    }

    fn is_at_path(&self, operation: &Operation, action: Action) -> Result<bool, Ambiguous> {
        if operation.paths.is_empty() {
            return Ok(true);
        }
        let matches = |path: &str| operation.paths.iter().any(|pattern| pattern.matches(path));
        if let Some(path) = self.plain {
            return Ok(matches(path));
        }
        let readings = self.readings.get_or_init(|| path::readings(self.request.path()));
        let readings: &Readings = readings.as_ref().map_err(Clone::clone)?;
        Ok(match action {
            Action::Deny => readings.iter().any(|path| matches(path)),
            Action::Allow => readings.iter().all(|path| matches(path)),
        })
    }
}

#[cfg(test)]
#[path = "authorize_tests.rs"]
mod tests;
