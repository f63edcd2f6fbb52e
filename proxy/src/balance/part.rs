//! Members that are chosen among, and the balancer's choice between those of them that are usable.
//!
//! What a balancer builds (turns, ring, table) lives here, and is kept for as long as members and weights are the same. A
//! pick allocates nothing; `None` only when nobody is usable.

use super::load::Load;
use super::maglev::Table;
use super::member::{Candidate, Member};
use super::nearest::Nearest;
use super::prequal::{Prequal, Probe};
use super::ring::Ring;
use super::robin::Robin;
use super::weights::Weights;
use super::{draw, p2c};
use fastrand::Rng;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Instant;
use weft_model::balance::LoadReports;
use weft_model::policy::Balancer;

/// Some of a service's members.
#[derive(Debug)]
pub struct Part {
    /// Indices of the members.
    at: Box<[usize]>,
    /// Their hashes and weights, in the same order.
    hashes: Box<[u64]>,
    weights: Weights,
    pub(super) strategy: Rc<Strategy>,
}

/// What lives between requests.
#[derive(Debug)]
pub enum Strategy {
    None,
    Robin(Robin),
    Ring(Ring),
    Table(Table),
    Nearest(Nearest),
    Prequal(Prequal),
}

/// One pick's circumstances.
pub struct Pick<'a, C> {
    pub balancer: &'a Balancer,
    /// In the order of the members.
    pub candidates: &'a [C],
    pub now: Instant,
    /// What the request is hashed by.
    pub key: Option<u64>,
    /// Of its fair share of what is in flight, by which no endpoint of a hash is exceeded.
    pub max_load_percent: Option<NonZeroU32>,
}

/// Whether the member at a place may be chosen.
type Usable<'a> = dyn Fn(usize) -> bool + 'a;

impl Part {
    /// The members `at` these indices, with nothing built for them.
    pub fn new(members: &[Member], at: Vec<usize>, reports: Option<&LoadReports>) -> Self {
        let weights = at.iter().map(|at| members[*at].weight).collect();
        Self {
            hashes: at.iter().map(|at| members[*at].hash).collect(),
            strategy: Rc::new(Strategy::None),
            at: at.into(),
            weights: Weights::new(weights, reports.cloned()),
        }
    }

    /// The same with what `balancer` needs, taken from `before` if that was built for the same members.
    pub fn built(mut self, balancer: &Balancer, members: &[Member], before: Option<&Self>, seed: u64) -> Self {
        let same = |before: &&Self| {
            // Distances are not remembered, and quickly sorted.
            let kept = !matches!(*before.strategy, Strategy::Nearest(_));
            kept && before.hashes == self.hashes && before.weights.configured() == self.weights.configured()
        };
        self.strategy = match before.filter(same) {
            Some(before) => Rc::clone(&before.strategy),
            None => Rc::new(Strategy::new(balancer, &self, members, seed)),
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
        let load = |place: usize| pick.candidates[self.at[place]].load();
        self.weights.fold(pick.now, |place| load(place).reported());
        let weight = |place: usize| self.weights.of(place);
        let share = |place: usize| self.weights.share(place);
        let place = match (&*self.strategy, pick.key, pick.balancer) {
            (Strategy::Ring(ring), Some(key), _) => {
                self.bounded(pick, &usable, &|usable| ring.find(key, &self.hashes, &usable))
            }
            (Strategy::Table(table), Some(key), _) => {
                self.bounded(pick, &usable, &|usable| table.find(key, &self.hashes, &usable))
            }
            (Strategy::Robin(robin), ..) => robin.next(&usable, &|place| self.weights.whole(place)),
            (_, _, Balancer::Random) => draw::draw(n, &usable, &share, rng),
            (_, _, Balancer::LeastRequest { choices }) => {
                let cost = |place: usize| f64::from(load(place).pending()) / weight(place);
                p2c::choose(n, *choices, &usable, &share, &|_| 1.0, &cost, rng)
            }
            _ => self.by_latency(pick, &usable, rng),
        };
        place.map(|place| self.at[place])
    }

    /// The nearest, the best by probes, or the lower of two costs: a place.
    fn by_latency<C: Candidate>(
        &self,
        pick: &Pick<C>,
        usable: &impl Fn(usize) -> bool,
        rng: &mut Rng,
    ) -> Option<usize> {
        let decay = pick.balancer.decay();
        let load = |place: usize| pick.candidates[self.at[place]].load();
        let weight = |place: usize| self.weights.of(place);
        let (share, size) = (|place: usize| self.weights.share(place), |place: usize| self.weights.size(place));
        let cost = |place: usize| load(place).score_of(size(place), pick.now, decay);
        let best = match (&*self.strategy, pick.balancer) {
            (Strategy::Prequal(prequal), _) => {
                let penalty = |place: usize| load(place).penalty(pick.now, decay);
                let own = |place: usize| f64::from(load(place).pending()) / size(place);
                prequal.choose(usable, &own, &penalty, pick.now)
            }
            (Strategy::Nearest(nearest), Balancer::Nearest { max_in_flight }) => {
                let most = f64::from(max_in_flight.get());
                let roomy = |place: usize| f64::from(load(place).pending()) < most * weight(place);
                nearest.groups().find_map(|group| {
                    let usable = |at: usize| usable(group[at]) && roomy(group[at]);
                    let (share, size) = (|at: usize| share(group[at]), |at: usize| size(group[at]));
                    let cost = |at: usize| cost(group[at]);
                    p2c::choose(group.len(), 2, &usable, &share, &size, &cost, rng).map(|at| group[at])
                })
            }
            _ => None,
        };
        best.or_else(|| p2c::choose(self.at.len(), 2, usable, &share, &size, &cost, rng))
    }

    /// Members to be asked how busy they are, drawn by weight: so many as are asked for each request.
    pub fn to_probe(&self, balancer: &Balancer, rng: &mut Rng, mut ask: impl FnMut(usize)) {
        let Balancer::Prequal { probes } = balancer else { return };
        for _ in 0..*probes {
            let weighs = |place: usize| self.weights.of(place) > 0.0;
            if let Some(place) = draw::draw(self.at.len(), &weighs, &|place| self.weights.share(place), rng) {
                ask(self.at[place]);
            }
        }
    }

    /// The member `at` this index, with this `load` as seen from here, has answered.
    pub fn probed(&self, at: usize, load: &Load, probe: Probe, now: Instant) {
        if let (Strategy::Prequal(prequal), Ok(place)) = (&*self.strategy, self.at.binary_search(&at)) {
            let size = self.weights.size(place);
            prequal.answered(place, size, f64::from(load.pending()) / size, probe, now);
        }
    }

    /// What `find` finds among the `usable` that have room: consistent hashing with bounded loads (Mirrokni, Thorup,
    /// Zadimoghaddam, SODA 2018). An endpoint's room is its fair share of what will be in flight, this request included,
    /// times the bound, rounded up; so somebody always has room.
    fn bounded<C: Candidate>(
        &self,
        pick: &Pick<C>,
        usable: &dyn Fn(usize) -> bool,
        find: &dyn Fn(&Usable) -> Option<usize>,
    ) -> Option<usize> {
        let Some(percent) = pick.max_load_percent else { return find(usable) };
        let pending = |place: usize| pick.candidates[self.at[place]].load().pending();
        let weight = |place: usize| self.weights.configured()[place];
        let (mut in_flight, mut weights) = (1u64, 0u64);
        for place in (0..self.at.len()).filter(|place| usable(*place)) {
            in_flight += u64::from(pending(place));
            weights += u64::from(weight(place));
        }
        let bound = u128::from(percent.get()) * u128::from(in_flight);
        let most = |place: usize| (bound * u128::from(weight(place))).div_ceil(100 * u128::from(weights.max(1)));
        find(&|place| usable(place) && u128::from(pending(place)) < most(place))
    }
}

impl Strategy {
    fn new(balancer: &Balancer, part: &Part, members: &[Member], seed: u64) -> Self {
        let (hashes, weights) = (&part.hashes, part.weights.configured());
        match balancer {
            Balancer::RoundRobin => Self::Robin(Robin::new(hashes.len(), seed)),
            Balancer::RingHash { points, .. } => Self::Ring(Ring::new(hashes, weights, *points)),
            Balancer::Maglev { size, .. } => Self::Table(Table::new(hashes, weights, *size)),
            Balancer::Nearest { .. } => {
                let distances: Vec<f64> = part.at.iter().map(|at| members[*at].distance).collect();
                Self::Nearest(Nearest::new(&distances))
            }
            Balancer::Prequal { probes } => Self::Prequal(Prequal::new(part.at.len(), *probes)),
            Balancer::P2cEwma { .. } | Balancer::LeastRequest { .. } | Balancer::Random => Self::None,
        }
    }
}
