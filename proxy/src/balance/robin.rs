//! In turn, by weight, smoothly: `a a b a c a a` rather than `a a a a a b c`.
//!
//! nginx's way: each pick gives every usable endpoint its weight in credit, takes the richest, and charges it what was given
//! out. State of one worker; whoever is not usable earns nothing meanwhile, and so does not catch up afterwards.

use std::cell::{Cell, RefCell};

/// Whose turn it is.
#[derive(Debug)]
pub struct Robin {
    credits: RefCell<Vec<i64>>,
    /// Where looking begins, so that many proxies that start together do not all begin with the same endpoint.
    first: Cell<usize>,
}

impl Robin {
    /// For `n` endpoints; `seed` says where to begin.
    pub fn new(n: usize, seed: u64) -> Self {
        let first = usize::try_from(seed % n.max(1) as u64).unwrap_or(0);
        Self { credits: RefCell::new(vec![0; n]), first: Cell::new(first) }
    }

    /// The next in turn among the `usable`.
    pub fn next(&self, usable: &impl Fn(usize) -> bool, weight: &impl Fn(usize) -> u32) -> Option<usize> {
        let mut credits = self.credits.borrow_mut();
        let mut given = 0;
        let mut richest: Option<usize> = None;
        let (before, from) = (0..self.first.get(), self.first.get()..credits.len());
        for at in from.chain(before).filter(|at| usable(*at)) {
            let weight = i64::from(weight(at));
            credits[at] += weight;
            given += weight;
            if richest.is_none_or(|richest| credits[at] > credits[richest]) {
                richest = Some(at);
            }
        }
        credits[richest?] -= given;
        richest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_smooth() {
        let robin = Robin::new(3, 0);
        let weights = [5, 1, 1];
        let turns: Vec<_> = (0..7).filter_map(|_| robin.next(&|_| true, &|at| weights[at])).collect();
        assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0], "the example of nginx's own documentation");
    }

    proptest! {
        #[test]
        fn after_a_round_each_has_had_exactly_its_weight(weights in prop::collection::vec(1u32..20, 1..12), seed: u64) {
            let robin = Robin::new(weights.len(), seed);
            for _ in 0..3 {
                let mut turns = vec![0; weights.len()];
                (0..weights.iter().sum()).for_each(|_: u32| turns[robin.next(&|_| true, &|at| weights[at]).unwrap()] += 1);
                prop_assert_eq!(&turns, &weights);
            }
        }

        #[test]
        fn equals_are_never_more_than_one_apart(n in 1usize..20, picks in 0usize..200, seed: u64) {
            let robin = Robin::new(n, seed);
            let mut turns = vec![0; n];
            (0..picks).for_each(|_| turns[robin.next(&|_| true, &|_| 1).unwrap()] += 1);
            prop_assert!(turns.iter().max().unwrap() - turns.iter().min().unwrap() <= 1);
        }

        #[test]
        fn only_the_usable_have_turns(usable in prop::collection::vec(any::<bool>(), 0..12), seed: u64) {
            let robin = Robin::new(usable.len(), seed);
            let next = robin.next(&|at| usable[at], &|_| 3);
            prop_assert_eq!(next.is_some(), usable.contains(&true));
            prop_assert!(next.is_none_or(|at| usable[at]));
        }
    }
}
