//! Consistent hashing on a ring, after Karger et al. and ketama: an endpoint's points are where its keys end.
//!
//! Each endpoint has points by its weight; a key belongs to the next point clockwise. When an endpoint goes, only its own
//! keys move, each to whoever is next. Built when endpoints change, at most as big as the policy says.

use super::hash;

/// Points of an endpoint of weight 1 when there is room: shares are then within a fifth of each other, nearly always.
const POINTS: u64 = 256;
/// Points looked at before all endpoints are.
const STEPS: usize = 64;

/// The ring of one service.
#[derive(Debug)]
pub struct Ring {
    points: Box<[(u64, u32)]>,
}

impl Ring {
    /// Of endpoints by `hashes` of their names and `weights`; weight 0 has no points, any other at least one.
    pub fn new(hashes: &[u64], weights: &[u32], limit: u32) -> Self {
        let count = weights.iter().filter(|weight| **weight > 0).count() as u64;
        let total: u64 = weights.iter().copied().map(u64::from).sum();
        let room = (count * POINTS).min(u64::from(limit)).max(1);
        // Points per unit of weight in steps of two: an endpoint more or less then seldom changes those of the others.
        let scale = (room as f64 / total.max(1) as f64).log2().floor().exp2();
        let mut points = Vec::new();
        for (at, (hash, weight)) in hashes.iter().zip(weights).enumerate().filter(|(_, (_, weight))| **weight > 0) {
            let own = (f64::from(*weight) * scale).round().max(1.0) as u64;
            points.extend((0..own).map(|n| (hash::mix(hash ^ hash::mix(n)), at as u32)));
        }
        points.sort_unstable();
        Self { points: points.into() }
    }

    /// Whose `key` is: the first usable endpoint from its place on.
    pub fn find(&self, key: u64, hashes: &[u64], usable: &impl Fn(usize) -> bool) -> Option<usize> {
        let start = self.points.partition_point(|(place, _)| *place < key);
        let (before, from) = self.points.split_at(start);
        let near = from.iter().chain(before).take(STEPS).map(|(_, at)| *at as usize);
        near.into_iter().find(|at| usable(*at)).or_else(|| hash::rendezvous(key, hashes, usable))
    }

    /// How many points there are.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
