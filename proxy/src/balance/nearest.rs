//! Endpoints in the order of their distance: whoever is about as far away as another is in one group with it.
//!
//! The nearest group that has somebody with headroom serves; within it, and when nobody has headroom, two choices decide. Built
//! when endpoints change.

use std::ops::Range;

/// Kilometres within which distances are the same: light in fibre needs a quarter of a millisecond for them.
const SAME: f64 = 50.0;

/// The groups of one service.
#[derive(Debug)]
pub struct Nearest {
    /// Places, the nearest first.
    order: Box<[usize]>,
    groups: Box<[Range<usize>]>,
}

impl Nearest {
    /// By `distances` in kilometres; infinite ones are one group, the last.
    pub fn new(distances: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..distances.len()).collect();
        order.sort_by(|a, b| distances[*a].total_cmp(&distances[*b]));
        let mut groups: Vec<Range<usize>> = Vec::new();
        for (place, at) in order.iter().enumerate() {
            let near = |group: &Range<usize>| {
                let first = distances[order[group.start]];
                distances[*at] <= first + SAME
            };
            match groups.last_mut().filter(|group| near(group)) {
                Some(group) => group.end = place + 1,
                None => groups.push(place..place + 1),
            }
        }
        Self { order: order.into(), groups: groups.into() }
    }

    /// Groups of places, the nearest first.
    pub fn groups(&self) -> impl Iterator<Item = &[usize]> {
        self.groups.iter().map(|group| &self.order[group.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn neighbours_are_one_group_and_the_unknown_come_last() {
        let nearest = Nearest::new(&[f64::INFINITY, 900.0, 0.0, 30.0, 920.0, f64::INFINITY]);
        let groups: Vec<_> = nearest.groups().map(<[usize]>::to_vec).collect();
        assert_eq!(groups, [vec![2, 3], vec![1, 4], vec![0, 5]]);
    }

    proptest! {
        #[test]
        fn everybody_is_in_one_group_and_nearer_groups_come_first(distances in prop::collection::vec(0.0..20_000.0f64, 0..20)) {
            let nearest = Nearest::new(&distances);
            let mut all: Vec<usize> = nearest.groups().flatten().copied().collect();
            prop_assert!(all.is_sorted_by(|a, b| distances[*a] <= distances[*b]));
            all.sort_unstable();
            prop_assert_eq!(all, (0..distances.len()).collect::<Vec<_>>());
        }
    }
}
