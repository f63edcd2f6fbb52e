//! An imaginary request and what a proxy says it would do with it: question and answer of `weftctl explain`.
//!
//! Asked by weftctl, answered by a data worker of a proxy, carried as JSON. Data only; what is not there did not apply.

pub mod access;
mod imagined;

pub use imagined::{Imagined, Refusal};

use crate::policy::{HashKey, Retry};
use crate::route::{HeaderEdit, RouteKind};
use crate::{EndpointState, Port, Protocol, ServiceName, SpiffeId};
use access::Access;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Endpoints that an explanation lists of one service; the others are counted.
pub const MAX_LISTED: usize = 200;

/// What becomes of it, step by step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    pub from: Asked,
    pub service: Addressed,
    pub routing: Routing,
    /// Where it may be sent: one way for each backend with a share.
    #[serde(default)]
    pub ways: Vec<Way>,
    pub outcome: Outcome,
}

/// The proxy that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub proxy: String,
    pub namespace: String,
    #[serde(default)]
    pub zone: Option<String>,
    /// As it shows itself to other proxies; `None`: it is too old to say.
    #[serde(default)]
    pub identity: Option<SpiffeId>,
    /// Where its connections come from; one of each family at most.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Of the store, as far as this proxy has heard.
    pub revision: u64,
    /// Whether its stream from discovery is up.
    pub connected: bool,
    /// Loads are those of one worker of so many.
    pub workers: usize,
}

/// What the dialled address stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addressed {
    pub service: ServiceName,
    pub virtual_addresses: Vec<IpAddr>,
    pub port: Port,
    pub protocol: Protocol,
    /// Dialled by its own address or name: this endpoint alone, past all routes.
    #[serde(default)]
    pub endpoint: Option<String>,
}

/// What the service's routes say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Routing {
    /// Why routes were not looked at.
    #[serde(default)]
    pub skipped: Option<String>,
    /// Matches, in the order in which they are tried.
    #[serde(default)]
    pub considered: Vec<Considered>,
    /// The rule that matched, as metrics call it.
    #[serde(default)]
    pub rule: Option<String>,
    #[serde(default)]
    pub mirrors: Vec<Mirrored>,
}

/// One match of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Considered {
    pub kind: RouteKind,
    /// `route/rule`.
    pub rule: String,
    /// Which match of the rule, from 0.
    pub number: usize,
    /// Of the client's namespace rather than the service's.
    pub consumer: bool,
    pub verdict: Verdict,
    /// What did not match.
    #[serde(default)]
    pub missed: Vec<Mismatch>,
}

/// What became of a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Chosen,
    /// It matches; one that comes before it matches as well.
    Outranked,
    Unmatched,
    /// It is for another port of the service.
    OtherPort,
    /// Routes of another group take this port: a consumer's, or GRPCRoutes.
    NotInForce,
}

/// A part of a match that the request does not meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// `path`, `header user`, ...
    pub part: String,
    pub asked: String,
    /// `None`: the request has no such part.
    #[serde(default)]
    pub found: Option<String>,
}

/// Who gets a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirrored {
    pub service: ServiceName,
    pub port: Port,
    pub numerator: u32,
    pub denominator: u32,
    pub refused: bool,
}

/// One backend that the request may fall to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Way {
    pub service: ServiceName,
    pub port: Port,
    /// Of the rule's requests, in percent.
    pub share: f64,
    /// Why requests that fall here are refused.
    #[serde(default)]
    pub refused: Option<Refusal>,
    /// In place of the host that was asked for.
    #[serde(default)]
    pub host: Option<String>,
    /// In place of the path and query that were asked for.
    #[serde(default)]
    pub target: Option<String>,
    #[serde(default)]
    pub request_headers: HeaderEdit,
    #[serde(default)]
    pub response_headers: HeaderEdit,
    #[serde(default)]
    pub tries: Option<Tries>,
    /// What the other end says, asked there; `None`: nothing is sent this way.
    #[serde(default)]
    pub access: Option<Access>,
}

/// How requests that take a way are tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tries {
    pub balancer: String,
    #[serde(default)]
    pub hash: Option<Hashed>,
    #[serde(default)]
    pub session: Option<Session>,
    /// Those that the first try chooses among first.
    pub endpoints: Vec<Candidate>,
    /// Endpoints that are not listed.
    #[serde(default)]
    pub unlisted: usize,
    pub retry: InForce<Retry>,
    /// The whole request.
    pub request: InForce<Option<Duration>>,
    /// One try, to the head of the answer.
    pub each_try: InForce<Option<Duration>>,
    /// TCP and TLS.
    pub connect: InForce<Duration>,
    /// By its method.
    pub idempotent: bool,
    /// How long the answer would be waited for just now before another endpoint is asked as well; `None`: none is.
    #[serde(default)]
    pub hedged_after: Option<Duration>,
}

/// By what a balancer that hashes tells requests apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hashed {
    pub on: HashKey,
    /// The endpoint that the hash leads to; `None`: the request does not have the key, and is balanced without it.
    #[serde(default)]
    pub endpoint: Option<String>,
}

/// The session that the request would belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Of the cookie, or of the header.
    pub name: String,
    #[serde(default)]
    pub header: bool,
    /// The endpoint that the request's token names; `None`: a new session, whose endpoint is named in the answer.
    #[serde(default)]
    pub endpoint: Option<String>,
}

/// Something in force, and where it was said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InForce<T> {
    pub value: T,
    pub origin: Origin,
}

/// Where something in force was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// By the rule that matched.
    Rule,
    /// By the TrafficPolicy of the backend's service.
    Policy,
    /// Nowhere, or as it is anyway.
    Default,
}

/// An endpoint, as one worker of the proxy sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub id: String,
    pub address: Option<SocketAddr>,
    pub state: EndpointState,
    pub weight: u32,
    #[serde(default)]
    pub zone: Option<String>,
    /// Whom its certificate has to name; `None`: not encrypted.
    #[serde(default)]
    pub identity: Option<SpiffeId>,
    /// Requests of this worker that are under way there.
    pub in_flight: u32,
    /// Estimated from its answers; zero until there are any.
    pub latency: Duration,
    /// What failures add to that.
    pub penalty: Duration,
    pub standing: Standing,
}

/// Whether an endpoint takes part in the choice for the first try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Chosen among.
    Candidate,
    /// Only when those before it are gone.
    Later(Behind),
    /// Never.
    Out(Unfit),
}

/// Why others are chosen first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Behind {
    /// Another zone's, or without headroom, while the proxy's own zone has some.
    Zone,
    /// It is new, and this request falls to the share that it does not take yet.
    SlowStart,
    /// Beyond the subset of this proxy.
    Subset,
    /// Of a later priority or zone, while those before it can carry the traffic.
    Priority,
    /// It could not be reached; it is passed over for so long.
    Unreached(Duration),
    /// Its answers were bad; it is left out for so long.
    Ejected { cause: String, left: Duration },
    /// Others are chosen among for this request alone: those of a session, or of an address.
    NotNamed,
}

/// Why an endpoint takes no requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unfit {
    NotReady,
    /// It fails the checks that its policy asks for.
    Unhealthy,
    Terminating,
    NoWeight,
}

/// How it ends, as far as it can be told without sending it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Sent one of the ways.
    Forwarded,
    Redirected {
        status: u16,
        location: String,
    },
    Refused(Refusal),
}

impl Imagined {
    /// As it is sent once `way` has edited it.
    pub fn sent(&self, way: &Way) -> Self {
        let mut sent = self.clone();
        let edit = &way.request_headers;
        let replaced = |name: &String| edit.remove.contains(name) || edit.set.iter().any(|(set, _)| set == name);
        sent.headers.retain(|(name, _)| !replaced(name));
        sent.headers.extend(edit.set.iter().chain(&edit.add).cloned());
        if let Some(host) = &way.host {
            sent.headers.retain(|(name, _)| name != "host");
            sent.headers.push(("host".to_owned(), host.clone()));
        }
        if let Some(target) = &way.target {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            (sent.path, sent.query) = (path.to_owned(), query.to_owned());
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_arrives_is_what_its_way_makes_of_it() {
        let request: Imagined =
            serde_json::from_value(json!({"method": "GET", "host": "a.b", "port": 80, "path": "/old",
            "query": "q=x", "headers": [["user", "ann"], ["gone", "1"], ["host", "a.b"]]}))
            .unwrap();
        let mut way: Way = serde_json::from_value(json!({"service": {"namespace": "b", "name": "a"}, "port": 80,
            "share": 100.0, "host": "c.b", "target": "/new?r=y", "request_headers":
            {"set": [["user", "bob"]], "add": [["more", "2"]], "remove": ["gone"]}}))
        .unwrap();
        let sent = request.sent(&way);
        assert_eq!((&*sent.path, &*sent.query), ("/new", "r=y"));
        let fields: Vec<String> = sent.headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(fields, ["user=bob", "more=2", "host=c.b"]);
        (way.host, way.target, way.request_headers) = Default::default();
        assert_eq!(request.sent(&way), request);
    }
}
