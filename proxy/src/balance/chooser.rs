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

    /// Active checks have nothing against it; as if not ready otherwise.
    fn is_healthy(&self) -> bool {
        true
    }
}

impl<C: Candidate> Candidate for Rc<C> {
    fn load(&self) -> &Load {
        (**self).load()
    }

    fn is_healthy(&self) -> bool {
        (**self).is_healthy()
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
    /// The members that this client is to use.
    own: Part,
    /// All, should there be more than its own.
    all: Option<Part>,
    /// In force, and somebody is near.
    zoned: bool,
}

/// Members that are chosen among, and what the balancer has made of them.
#[derive(Debug)]
struct Part {
    /// Indices of the members.
    at: Box<[usize]>,
    /// Their hashes and weights, in the same order.
    hashes: Box<[u64]>,
    weights: Box<[u32]>,
    heaviest: f64,
    lightest: f64,
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
        let own = Part::new(&members, subset(&members, spread, client), |part| {
            let same =
                |b: &&Self| b.balancer == *balancer && b.own.hashes == part.hashes && b.own.weights == part.weights;
            before.filter(same).map(|before| Rc::clone(&before.own.strategy)).unwrap_or_else(|| {
                Rc::new(match balancer {
                    Balancer::RoundRobin => Strategy::Robin(Robin::new(part.at.len(), seed)),
                    Balancer::RingHash { points, .. } => {
                        Strategy::Ring(Ring::new(&part.hashes, &part.weights, *points))
                    }
                    Balancer::Maglev { size, .. } => Strategy::Table(Table::new(&part.hashes, &part.weights, *size)),
                    Balancer::P2cEwma { .. } | Balancer::LeastRequest { .. } | Balancer::Random => Strategy::None,
                })
            })
        });
        let all = (own.at.len() < members.len())
            .then(|| Part::new(&members, (0..members.len()).collect(), |_| Rc::new(Strategy::None)));
        Self {
            zoned: spread.zone.is_some() && members.iter().any(|member| member.near),
            balancer: balancer.clone(),
            spread: spread.clone(),
            own,
            all,
            members: members.into(),
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
            false => self.members[at].ready() && candidates[at].is_healthy(),
        };
        let up = |at: usize| admitted(at) && (pick.panic || !candidates[at].load().shunned(now));
        let fresh = |at: usize| up(at) && !tried(at);
        let ripe = |at: usize| fresh(at) && self.takes_part(at, &pick);
        let near = |at: usize| self.members[at].near && self.has_headroom(at, candidates) && ripe(at);
        let own = |usable: &dyn Fn(usize) -> bool, rng: &mut Rng| self.pick(&self.own, &pick, usable, rng);
        let all = self.all.as_ref().unwrap_or(&self.own);
        let all = |usable: &dyn Fn(usize) -> bool, rng: &mut Rng| self.pick(all, &pick, usable, rng);
        None.or_else(|| if self.zoned { own(&near, rng) } else { None })
            .or_else(|| own(&ripe, rng))
            .or_else(|| own(&fresh, rng))
            .or_else(|| all(&fresh, rng))
            .or_else(|| all(&|at| admitted(at) && !tried(at), rng))
            .or_else(|| all(&up, rng))
            .or_else(|| all(&admitted, rng))
    }

    /// An index of a member out of `part`.
    fn pick<C: Candidate>(
        &self,
        part: &Part,
        pick: &Pick<C>,
        usable: &dyn Fn(usize) -> bool,
        rng: &mut Rng,
    ) -> Option<usize> {
        let n = part.at.len();
        let usable = |place: usize| usable(part.at[place]);
        let weight = |place: usize| f64::from(part.weights[place]);
        let share = |place: usize| weight(place) / part.heaviest;
        let load = |place: usize| pick.candidates[part.at[place]].load();
        let place = match (&*part.strategy, pick.key, &self.balancer) {
            (Strategy::Ring(ring), Some(key), _) => ring.find(key, &part.hashes, &usable),
            (Strategy::Table(table), Some(key), _) => table.find(key, &part.hashes, &usable),
            (Strategy::Robin(robin), ..) => robin.next(&usable, &|place| part.weights[place]),
            (_, _, Balancer::Random) => draw::draw(n, &usable, &share, rng),
            (_, _, Balancer::LeastRequest { choices }) => {
                let cost = |place: usize| f64::from(load(place).pending()) / weight(place);
                p2c::choose(n, *choices, &usable, &share, &|_| 1.0, &cost, rng)
            }
            _ => {
                let decay = self.balancer.decay();
                let size = |place: usize| weight(place) / part.lightest;
                let cost = |place: usize| load(place).score_of(size(place), pick.now, decay);
                p2c::choose(n, 2, &usable, &share, &size, &cost, rng)
            }
        };
        place.map(|place| part.at[place])
    }

    /// Too few are usable to carry the load of all.
    fn panics<C: Candidate>(&self, candidates: &[C], now: Instant) -> bool {
        if self.spread.panic_percent == 0 {
            return false;
        }
        let mut counted = [0u64; 2];
        for (member, candidate) in self.members.iter().zip(candidates).filter(|(member, _)| member.present()) {
            counted[0] += 1;
            let usable = member.ready() && candidate.is_healthy() && !candidate.load().shunned(now);
            counted[1] += u64::from(usable);
        }
        let [present, usable] = counted;
        usable * 100 < present * u64::from(self.spread.panic_percent)
    }

    fn has_headroom<C: Candidate>(&self, at: usize, candidates: &[C]) -> bool {
        self.spread.zone.as_ref().is_some_and(|zone| {
            let most = u64::from(zone.max_in_flight.get()) * u64::from(self.members[at].weight);
            u64::from(candidates[at].load().pending()) < most
        })
    }

    /// A new endpoint takes part in a growing share of the picks.
    fn takes_part<C>(&self, at: usize, pick: &Pick<C>) -> bool {
        let (Some(window), Some(since)) = (self.spread.slow_start, self.members[at].since) else { return true };
        let ramp = ramp(pick.now.saturating_duration_since(since), window);
        ramp >= 1.0 || hash::fraction(hash::mix(pick.coin ^ self.members[at].hash)) < ramp
    }
}

fn ramp(age: Duration, window: Duration) -> f64 {
    (age.as_secs_f64() / window.as_secs_f64()).max(RAMP_START)
}

impl Part {
    fn new(members: &[Member], at: Vec<usize>, strategy: impl FnOnce(&Self) -> Rc<Strategy>) -> Self {
        let weights: Box<[u32]> = at.iter().map(|at| members[*at].weight).collect();
        let positive = || weights.iter().copied().filter(|weight| *weight > 0);
        let mut part = Self {
            hashes: at.iter().map(|at| members[*at].hash).collect(),
            heaviest: f64::from(positive().max().unwrap_or(1)),
            lightest: f64::from(positive().min().unwrap_or(1)),
            strategy: Rc::new(Strategy::None),
            at: at.into(),
            weights,
        };
        part.strategy = strategy(&part);
        part
    }
}

/// Which members the client is to use, in their order.
fn subset(members: &[Member], spread: &Spread, client: Client) -> Vec<usize> {
    let Some(size) = spread.subset else { return (0..members.len()).collect() };
    // By weight, not by health: an endpoint that is out for a moment must not shuffle everybody's connections.
    let eligible: Vec<usize> = (0..members.len()).filter(|at| members[*at].weight > 0).collect();
    let size = usize::try_from(size.get()).unwrap_or(usize::MAX);
    let mut chosen: Vec<usize> = client.subset(eligible.len(), size).into_iter().map(|at| eligible[at]).collect();
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
#[path = "chooser_tests.rs"]
mod tests;
