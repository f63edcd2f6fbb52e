//! One worker's balancer of one service: what its policy asks for, made once for a set of endpoints, asked for every try.
//!
//! Admits endpoints in tiers, the best first (own zone, reachable, not yet tried), and lets the balancer choose within the
//! first tier that has anybody: whoever is out is passed over by every balancer in the same way. Picks allocate nothing.
//! `None` only when no endpoint takes work.

use super::load::Load;
use super::maglev::Table;
use super::ring::Ring;
use super::robin::Robin;
use super::subset::Client;
use super::{draw, hash, p2c};
use fastrand::Rng;
use std::rc::Rc;
use std::time::{Duration, Instant};
use weft_model::policy::{Balancer, Spread};
use weft_model::{Endpoint, EndpointState};

/// The share of its weight with which a new endpoint starts.
const RAMP_START: f64 = 0.1;

/// What the choice needs of an endpoint at the moment of the pick.
pub trait Candidate {
    fn load(&self) -> &Load;
}

impl<C: Candidate> Candidate for Rc<C> {
    fn load(&self) -> &Load {
        (**self).load()
    }
}

/// What is known of an endpoint until endpoints change.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Of its name.
    pub hash: u64,
    pub weight: u32,
    pub state: EndpointState,
    /// In the proxy's own zone.
    pub near: bool,
    /// When it appeared or became ready; `None`: it was there from the start.
    pub since: Option<Instant>,
}

impl Member {
    /// `endpoint` as a proxy in `zone` sees it.
    pub fn of(endpoint: &Endpoint, zone: Option<&str>, since: Option<Instant>) -> Self {
        Self {
            hash: hash::of(endpoint.id.as_bytes()),
            weight: endpoint.weight,
            state: endpoint.state,
            near: zone.is_some() && endpoint.zone.as_deref() == zone,
            since,
        }
    }

    fn ready(&self) -> bool {
        self.state == EndpointState::Ready && self.weight > 0
    }

    /// Ready, or somebody to turn to in a panic.
    fn present(&self) -> bool {
        self.state != EndpointState::Terminating && self.weight > 0
    }
}

/// The balancer of one service.
#[derive(Debug)]
pub struct Chooser {
    balancer: Balancer,
    spread: Spread,
    members: Box<[Member]>,
    /// The members' hashes by themselves.
    hashes: Box<[u64]>,
    weights: Box<[u32]>,
    heaviest: f64,
    /// By member; empty: all.
    subset: Box<[bool]>,
    /// In force, and somebody is near.
    zoned: bool,
    strategy: Rc<Strategy>,
}

/// What lives between requests.
#[derive(Debug)]
enum Strategy {
    None,
    Robin(Robin),
    Ring(Ring),
    Table(Table),
}

/// One pick's circumstances.
#[derive(Clone, Copy)]
struct Pick<'a, C> {
    candidates: &'a [C],
    now: Instant,
    /// What the request is hashed by.
    key: Option<u64>,
    /// Decides which new endpoints take part: by the key if there is one, so that a session moves to one only once.
    coin: u64,
    panic: bool,
}

impl Chooser {
    /// For `members` in the order of their names, on behalf of `client`. What `before` has built is kept as far as it fits.
    pub fn new(
        balancer: &Balancer,
        spread: &Spread,
        members: Vec<Member>,
        client: Client,
        before: Option<&Self>,
        seed: u64,
    ) -> Self {
        let hashes: Box<[u64]> = members.iter().map(|member| member.hash).collect();
        let weights: Box<[u32]> = members.iter().map(|member| member.weight).collect();
        let fits = |b: &&Self| b.balancer == *balancer && b.hashes == hashes && b.weights == weights;
        let strategy = match before.filter(fits) {
            Some(before) => Rc::clone(&before.strategy),
            None => Rc::new(match balancer {
                Balancer::RoundRobin => Strategy::Robin(Robin::new(members.len(), seed)),
                Balancer::RingHash { points, .. } => Strategy::Ring(Ring::new(&hashes, &weights, *points)),
                Balancer::Maglev { size, .. } => Strategy::Table(Table::new(&hashes, &weights, *size)),
                Balancer::P2cEwma { .. } | Balancer::LeastRequest { .. } | Balancer::Random => Strategy::None,
            }),
        };
        Self {
            heaviest: f64::from(weights.iter().copied().max().unwrap_or(1).max(1)),
            subset: subset(&members, spread, client),
            zoned: spread.zone.is_some() && members.iter().any(|member| member.near),
            balancer: balancer.clone(),
            spread: spread.clone(),
            members: members.into(),
            hashes,
            weights,
            strategy,
        }
    }

    /// The endpoint for the next try, as an index into `candidates`, which stand in the order of the members. Those already
    /// `tried` come last. `key` is what the request is hashed by, should it have it.
    pub fn choose<C: Candidate>(
        &self,
        candidates: &[C],
        tried: impl Fn(usize) -> bool,
        key: Option<u64>,
        now: Instant,
        rng: &mut Rng,
    ) -> Option<usize> {
        let coin = match self.spread.slow_start {
            Some(_) => key.unwrap_or_else(|| rng.u64(..)),
            None => 0,
        };
        let pick = Pick { candidates, now, key, coin, panic: self.panics(candidates, now) };
        let admitted = |at: usize| match pick.panic {
            true => self.members[at].present(),
            false => self.members[at].ready(),
        };
        let up = |at: usize| admitted(at) && (pick.panic || !candidates[at].load().shunned(now));
        let fresh = |at: usize| up(at) && !tried(at);
        let own = |at: usize| self.subset.get(at).copied().unwrap_or(true) && fresh(at);
        let ripe = |at: usize| self.takes_part(at, &pick);
        let near = |at: usize| self.members[at].near && self.has_headroom(at, candidates);
        let by = |usable: &dyn Fn(usize) -> bool, rng: &mut Rng| self.pick(&pick, &|at| usable(at), rng);
        None.or_else(|| if self.zoned { by(&|at| near(at) && own(at) && ripe(at), rng) } else { None })
            .or_else(|| by(&|at| own(at) && ripe(at), rng))
            .or_else(|| by(&own, rng))
            .or_else(|| by(&fresh, rng))
            .or_else(|| by(&|at| admitted(at) && !tried(at), rng))
            .or_else(|| by(&up, rng))
            .or_else(|| by(&admitted, rng))
    }

    fn pick<C: Candidate>(&self, pick: &Pick<C>, usable: &impl Fn(usize) -> bool, rng: &mut Rng) -> Option<usize> {
        let n = self.members.len().min(pick.candidates.len());
        let weight = |at: usize| f64::from(self.weights[at]);
        let share = |at: usize| weight(at) / self.heaviest;
        match (&*self.strategy, pick.key, &self.balancer) {
            (Strategy::Ring(ring), Some(key), _) => ring.find(key, &self.hashes, usable),
            (Strategy::Table(table), Some(key), _) => table.find(key, &self.hashes, usable),
            (Strategy::Robin(robin), ..) => robin.next(usable, &|at| self.weights[at]),
            (_, _, Balancer::Random) => draw::draw(n, usable, &share, rng),
            (_, _, Balancer::LeastRequest { choices }) => {
                let cost = |at: usize| f64::from(pick.candidates[at].load().pending()) / weight(at);
                p2c::choose(n, *choices, usable, &share, &cost, rng)
            }
            _ => {
                let decay = self.balancer.decay();
                let cost = |at: usize| pick.candidates[at].load().score(pick.now, decay) / weight(at);
                p2c::choose(n, 2, usable, &|_| 1.0, &cost, rng)
            }
        }
    }

    /// Too few are usable to carry the load of all.
    fn panics<C: Candidate>(&self, candidates: &[C], now: Instant) -> bool {
        if self.spread.panic_percent == 0 {
            return false;
        }
        let mut counted = [0u64; 2];
        for (member, candidate) in self.members.iter().zip(candidates).filter(|(member, _)| member.present()) {
            counted[0] += 1;
            counted[1] += u64::from(member.ready() && !candidate.load().shunned(now));
        }
        let [present, usable] = counted;
        usable * 100 < present * u64::from(self.spread.panic_percent)
    }

    fn has_headroom<C: Candidate>(&self, at: usize, candidates: &[C]) -> bool {
        self.spread.zone.as_ref().is_some_and(|zone| {
            let most = u64::from(zone.max_in_flight.get()) * u64::from(self.weights[at]);
            u64::from(candidates[at].load().pending()) < most
        })
    }

    /// A new endpoint takes part in a growing share of the picks.
    fn takes_part<C>(&self, at: usize, pick: &Pick<C>) -> bool {
        let (Some(window), Some(since)) = (self.spread.slow_start, self.members[at].since) else { return true };
        let ramp = ramp(pick.now.saturating_duration_since(since), window);
        ramp >= 1.0 || hash::fraction(hash::mix(pick.coin ^ self.hashes[at])) < ramp
    }
}

fn ramp(age: Duration, window: Duration) -> f64 {
    (age.as_secs_f64() / window.as_secs_f64()).max(RAMP_START)
}

/// Which members the client is to use; empty for all.
fn subset(members: &[Member], spread: &Spread, client: Client) -> Box<[bool]> {
    let Some(size) = spread.subset else { return Box::default() };
    // By weight, not by health: an endpoint that is out for a moment must not shuffle everybody's connections.
    let eligible: Vec<usize> = (0..members.len()).filter(|at| members[*at].weight > 0).collect();
    let mut chosen = vec![false; members.len()];
    let size = usize::try_from(size.get()).unwrap_or(usize::MAX);
    client.subset(eligible.len(), size).into_iter().for_each(|at| chosen[eligible[at]] = true);
    chosen.into()
}

#[cfg(test)]
#[path = "chooser_tests.rs"]
mod tests;
