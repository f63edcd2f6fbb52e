//! One worker's balancer of one service: what its policy asks for, made once for a set of endpoints, asked for every try.
//!
//! Admits endpoints in tiers, the best first (own zone, reachable, not yet tried), and lets the balancer choose within the
//! first tier that has anybody: whoever is out is passed over by every balancer in the same way. Picks allocate nothing.
//! `None` only when no endpoint takes work.

use super::admission::Admission;
use super::load::Load;
use super::member::{Candidate, Member};
use super::part::{Part, Pick};
use super::prequal::Probe;
use super::subset::Client;
use fastrand::Rng;
use std::collections::BTreeSet;
use std::time::Instant;
use weft_model::policy::{Balancer, Spread};

/// The balancer of one service.
#[derive(Debug)]
pub struct Chooser {
    balancer: Balancer,
    pub(super) spread: Spread,
    pub(super) members: Box<[Member]>,
    /// The members that this client is to use.
    pub(super) own: Part,
    /// All, should there be more than its own.
    all: Option<Part>,
    /// In force, and somebody is near.
    pub(super) zoned: bool,
    /// Of priority and fail-over, as far as there are members on them, the first one first.
    pub(super) levels: Box<[u64]>,
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
        let before = before.filter(|before| before.balancer == *balancer).map(|before| &before.own);
        let reports = spread.load_reports.as_ref();
        let own = Part::new(&members, subset(&members, spread, client), reports);
        let own = own.built(balancer, &members, before, seed);
        let all = (own.len() < members.len()).then(|| Part::new(&members, (0..members.len()).collect(), reports));
        let levels: BTreeSet<u64> = members.iter().filter(|member| member.weight > 0).map(|m| m.level).collect();
        Self {
            zoned: spread.zone.is_some() && members.iter().any(|member| member.near),
            levels: levels.into_iter().collect(),
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
        let leveled = self.levels.len() > 1;
        let coin = match self.spread.slow_start.is_some() || leveled {
            true => key.unwrap_or_else(|| rng.u64(..)),
            false => 0,
        };
        let who = Admission::new(&self.spread, &self.members, &self.levels, candidates, now, coin);
        let fresh = |at: usize| who.up(at) && !tried(at);
        let in_turn = |at: usize| who.in_turn(at) && fresh(at);
        let ripe = |at: usize| in_turn(at) && who.ripe(at);
        let near = |at: usize| who.near(at) && ripe(at);
        let on = |level: u64| move |at: usize| self.members[at].level == level && fresh(at);
        let max_load_percent = self.spread.max_load_percent;
        let pick = Pick { balancer: &self.balancer, candidates, now, key, max_load_percent };
        let own = |usable: &dyn Fn(usize) -> bool, rng: &mut Rng| self.own.pick(&pick, usable, rng);
        let all = self.all.as_ref().unwrap_or(&self.own);
        let all = |usable: &dyn Fn(usize) -> bool, rng: &mut Rng| all.pick(&pick, usable, rng);
        None.or_else(|| if self.zoned { own(&near, rng) } else { None })
            .or_else(|| own(&ripe, rng))
            .or_else(|| own(&in_turn, rng))
            .or_else(|| all(&in_turn, rng))
            .or_else(|| if leveled { self.levels.iter().find_map(|level| all(&on(*level), rng)) } else { None })
            .or_else(|| all(&|at| who.admitted(at) && !tried(at), rng))
            .or_else(|| all(&|at| who.up(at), rng))
            .or_else(|| all(&|at| who.admitted(at), rng))
    }
}

impl Chooser {
    /// Whether it goes by answers to probes.
    pub fn probes(&self) -> bool {
        matches!(self.balancer, Balancer::Prequal { .. })
    }

    /// After a request has been given out: calls `ask` with the index of each member that is to be asked how busy it is.
    pub fn to_probe(&self, rng: &mut Rng, ask: impl FnMut(usize)) {
        self.own.to_probe(&self.balancer, rng, ask);
    }

    /// The member `at` this index, with this `load` as seen from here, has answered.
    pub fn probed(&self, at: usize, load: &Load, probe: Probe, now: Instant) {
        self.own.probed(at, load, probe, now);
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
