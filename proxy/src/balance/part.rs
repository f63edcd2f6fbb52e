//! Members that are chosen among, and the balancer's choice between those of them that are usable.
//!
//! What a balancer builds (turns, ring, table) lives here, and is kept for as long as members and weights are the same. A
//! pick allocates nothing; `None` only when nobody is usable.

use super::maglev::Table;
use super::member::{Candidate, Member};
use super::ring::Ring;
use super::robin::Robin;
use super::{draw, p2c};
use fastrand::Rng;
use std::rc::Rc;
use std::time::Instant;
use weft_model::policy::Balancer;

/// Some of a service's members.
#[derive(Debug)]
pub struct Part {
    /// Indices of the members.
    at: Box<[usize]>,
    /// Their hashes and weights, in the same order.
    hashes: Box<[u64]>,
    weights: Box<[u32]>,
    heaviest: f64,
    lightest: f64,
    pub(super) strategy: Rc<Strategy>,
}

/// What lives between requests.
#[derive(Debug)]
pub enum Strategy {
    None,
    Robin(Robin),
    Ring(Ring),
    Table(Table),
}

/// One pick's circumstances.
pub struct Pick<'a, C> {
    pub balancer: &'a Balancer,
    /// In the order of the members.
    pub candidates: &'a [C],
    pub now: Instant,
    /// What the request is hashed by.
    pub key: Option<u64>,
}

impl Part {
    /// The members `at` these indices, with nothing built for them.
    pub fn new(members: &[Member], at: Vec<usize>) -> Self {
        let weights: Box<[u32]> = at.iter().map(|at| members[*at].weight).collect();
        let positive = || weights.iter().copied().filter(|weight| *weight > 0);
        Self {
            hashes: at.iter().map(|at| members[*at].hash).collect(),
            heaviest: f64::from(positive().max().unwrap_or(1)),
            lightest: f64::from(positive().min().unwrap_or(1)),
            strategy: Rc::new(Strategy::None),
            at: at.into(),
            weights,
        }
    }

    /// The same with what `balancer` needs, taken from `before` if that was built for the same members.
    pub fn built(mut self, balancer: &Balancer, before: Option<&Self>, seed: u64) -> Self {
        let same = |before: &&Self| before.hashes == self.hashes && before.weights == self.weights;
        self.strategy = match before.filter(same) {
            Some(before) => Rc::clone(&before.strategy),
            None => Rc::new(Strategy::new(balancer, &self.hashes, &self.weights, seed)),
        };
        self
    }

    /// Whether the member at this index is one of them.
    pub fn has(&self, at: usize) -> bool {
        self.at.contains(&at)
    }

    /// How many members it has.
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// The index of a usable member, as the balancer chooses.
    pub fn pick<C: Candidate>(&self, pick: &Pick<C>, usable: &dyn Fn(usize) -> bool, rng: &mut Rng) -> Option<usize> {
        let n = self.at.len();
        let usable = |place: usize| usable(self.at[place]);
        let weight = |place: usize| f64::from(self.weights[place]);
        let share = |place: usize| weight(place) / self.heaviest;
        let load = |place: usize| pick.candidates[self.at[place]].load();
        let place = match (&*self.strategy, pick.key, pick.balancer) {
            (Strategy::Ring(ring), Some(key), _) => ring.find(key, &self.hashes, &usable),
            (Strategy::Table(table), Some(key), _) => table.find(key, &self.hashes, &usable),
            (Strategy::Robin(robin), ..) => robin.next(&usable, &|place| self.weights[place]),
            (_, _, Balancer::Random) => draw::draw(n, &usable, &share, rng),
            (_, _, Balancer::LeastRequest { choices }) => {
                let cost = |place: usize| f64::from(load(place).pending()) / weight(place);
                p2c::choose(n, *choices, &usable, &share, &|_| 1.0, &cost, rng)
            }
            _ => {
                let decay = pick.balancer.decay();
                let size = |place: usize| weight(place) / self.lightest;
                let cost = |place: usize| load(place).score_of(size(place), pick.now, decay);
                p2c::choose(n, 2, &usable, &share, &size, &cost, rng)
            }
        };
        place.map(|place| self.at[place])
    }
}

impl Strategy {
    fn new(balancer: &Balancer, hashes: &[u64], weights: &[u32], seed: u64) -> Self {
        match balancer {
            Balancer::RoundRobin => Self::Robin(Robin::new(hashes.len(), seed)),
            Balancer::RingHash { points, .. } => Self::Ring(Ring::new(hashes, weights, *points)),
            Balancer::Maglev { size, .. } => Self::Table(Table::new(hashes, weights, *size)),
            Balancer::P2cEwma { .. } | Balancer::LeastRequest { .. } | Balancer::Random => Self::None,
        }
    }
}
