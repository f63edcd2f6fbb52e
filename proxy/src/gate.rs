//! What one service's policy admits at this endpoint: its rate limits, its limit of requests under way, and of connections.
//!
//! Asked by `inbound` for each request and connection. Gates are shared by all workers and live as long as their policy has
//! limits; a change of the policy keeps the state of the limits that stay the same. What is refused says why.

mod guard;

pub use guard::Guard;

use crate::balance::hash;
use crate::error::{Failure, RateRefusal};
use crate::limit::{Concurrency, Place, Rate, Standing};
use crate::request::RequestView;
use crate::route::Matches;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use weft_model::ServiceName;
use weft_model::explain::access::{Limited, Occupied, RateLeft};
use weft_model::limits::{Limits, RateKey, RateLimit};

/// The gates of all services that this proxy serves. Locked only when a worker hears of a new view.
#[derive(Debug, Default)]
pub struct Gates(Mutex<HashMap<ServiceName, Arc<Gate>>>);

impl Gates {
    /// The gate of the service `name`, brought up to its `limits`; `None`: it limits nothing.
    fn of(&self, name: &ServiceName, limits: &Limits, now: Instant) -> Option<Arc<Gate>> {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = gates.get(name);
        match before.filter(|gate| gate.limits == *limits) {
            Some(same) => return Some(Arc::clone(same)),
            None if *limits == Limits::default() => {
                gates.remove(name);
                return None;
            }
            None => {}
        }
        let gate = Arc::new(Gate::new(limits, before.map(Arc::as_ref), now));
        gates.insert(name.clone(), Arc::clone(&gate));
        Some(gate)
    }
}

/// Who is at the other end of a connection, as far as limits tell clients apart.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    address: u64,
    identity: Option<u64>,
}

impl Peer {
    pub fn at(address: SocketAddr) -> Self {
        let key = match address.ip().to_canonical() {
            IpAddr::V4(v4) => hash::of(&v4.octets()),
            IpAddr::V6(v6) => hash::of(&v6.octets()),
        };
        Self { address: key, identity: None }
    }

    /// It has shown to be `id`.
    pub fn known_as(&mut self, id: &str) {
        self.identity = Some(hash::of(id.as_bytes()));
    }

    fn key(&self, key: RateKey) -> u64 {
        match key {
            RateKey::Service => 0,
            RateKey::Identity => self.identity.unwrap_or(self.address),
            RateKey::Address => self.address,
        }
    }
}

/// A request that was let in, until it is dropped.
#[derive(Debug)]
pub struct Admission {
    place: Option<Place>,
    /// Fields of the answer, which say how the client stands.
    pub told: Vec<(&'static str, String)>,
}

impl Admission {
    /// The application has begun to answer.
    pub fn answered(&self, now: Instant) {
        if let Some(place) = &self.place {
            place.answered(now);
        }
    }
}

/// What one service's policy admits.
#[derive(Debug)]
pub struct Gate {
    limits: Limits,
    rates: Vec<Arc<Limit>>,
    requests: Option<Arc<Concurrency>>,
    connections: Option<Arc<Concurrency>>,
}

#[derive(Debug)]
struct Limit {
    from: RateLimit,
    matches: Matches,
    rate: Rate,
}

impl Gate {
    fn new(limits: &Limits, before: Option<&Self>, now: Instant) -> Self {
        let rate = |limit: &RateLimit| {
            let same = before.and_then(|gate| gate.rates.iter().find(|before| before.from == *limit));
            same.cloned().unwrap_or_else(|| Arc::new(Limit::new(limit, now)))
        };
        let requests = before.filter(|gate| gate.limits.concurrency == limits.concurrency);
        let connections = before.filter(|gate| gate.limits.connections == limits.connections);
        Self {
            rates: limits.rate.iter().map(rate).collect(),
            requests: match requests {
                Some(same) => same.requests.clone(),
                None => limits.concurrency.map(|limit| Arc::new(Concurrency::new(limit, now))),
            },
            connections: match connections {
                Some(same) => same.connections.clone(),
                None => limits.connections.map(|max| Arc::new(Concurrency::fixed(max))),
            },
            limits: limits.clone(),
        }
    }

    /// Lets `request` of `peer` in, or says why not. Rates come first: who asks too often is told so, and is not sent on
    /// to the other endpoints.
    pub fn admit(&self, request: &impl RequestView, peer: &Peer, now: Instant) -> Result<Admission, Failure> {
        let mut told: Vec<(&'static str, String)> = Vec::new();
        for limit in self.rates.iter().filter(|limit| limit.matches.any(request)) {
            let standing = limit.rate.take(peer.key(limit.from.key), now);
            let fields = limit.fields(&standing);
            if let Some(wait) = standing.wait {
                let retry_after = ("retry-after", seconds(wait).max(1).to_string());
                let fields = fields.into_iter().chain([retry_after]).collect();
                let name = limit.from.name.clone();
                return Err(Failure::RateLimited(Box::new(RateRefusal { name, fields })));
            }
            match &mut told[..] {
                [] => told.extend(fields),
                there => there.iter_mut().zip(fields).for_each(|(field, more)| {
                    field.1.push_str(", ");
                    field.1.push_str(&more.1);
                }),
            }
        }
        let place = match &self.requests {
            None => None,
            Some(requests) => Some(requests.enter(now).ok_or(Failure::Overloaded)?),
        };
        Ok(Admission { place, told })
    }

    /// How the limits stand towards `request` of `peer`, which is not let in.
    pub fn tell(&self, request: &impl RequestView, peer: &Peer, now: Instant) -> Limited {
        let rates = self.rates.iter().filter(|limit| limit.matches.any(request)).map(|limit| RateLeft {
            name: limit.from.name.clone(),
            requests: limit.from.requests.get(),
            per: limit.from.per,
            key: limit.from.key,
            left: limit.rate.left(peer.key(limit.from.key), now),
        });
        let occupied = |places: &Arc<Concurrency>| Occupied { now: places.under_way(), most: places.limit() };
        Limited {
            rates: rates.collect(),
            requests: self.requests.as_ref().map(occupied),
            connections: self.connections.as_ref().map(occupied),
        }
    }

    /// A place for one more connection.
    fn connect(&self, now: Instant) -> Result<Option<Place>, Failure> {
        match &self.connections {
            None => Ok(None),
            Some(connections) => connections.enter(now).ok_or(Failure::TooManyConnections).map(Some),
        }
    }
}

impl Limit {
    fn new(from: &RateLimit, now: Instant) -> Self {
        let rate = Rate::new(from, now, fastrand::u64(..));
        Self { matches: Matches::compile(&from.matches), rate, from: from.clone() }
    }

    /// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10).
    fn fields(&self, standing: &Standing) -> [(&'static str, String); 2] {
        let RateLimit { name, requests, per, .. } = &self.from;
        [
            ("ratelimit-policy", format!("\"{name}\";q={requests};w={}", per.as_secs())),
            ("ratelimit", format!("\"{name}\";r={};t={}", standing.remaining, seconds(standing.reset))),
        ]
    }
}

/// Rounded up: whoever waits so long has waited long enough.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
