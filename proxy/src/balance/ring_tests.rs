//! Rings: shares by weight, few keys move, whoever is out is passed over, and no ring outgrows its bound.
//!
//! The properties hold for every set of endpoints; shares are counted over many keys.

use super::*;
use proptest::prelude::*;

const KEYS: u64 = 20_000;

fn hashes(names: std::ops::Range<u32>) -> Vec<u64> {
    names.map(|n| hash::of(format!("cart-{n}").as_bytes())).collect()
}

fn homes(ring: &Ring, hashes: &[u64]) -> Vec<usize> {
    (0..KEYS).filter_map(|key| ring.find(hash::mix(key), hashes, &|_| true)).collect()
}

#[test]
fn shares_follow_weights() {
    let (hashes, weights) = (hashes(0..4), [1, 2, 4, 1]);
    let ring = Ring::new(&hashes, &weights, 65_536);
    let homes = homes(&ring, &hashes);
    for (at, weight) in weights.iter().enumerate() {
        let share = homes.iter().filter(|home| **home == at).count() as f64 / KEYS as f64;
        let due = f64::from(*weight) / 8.0;
        assert!((share / due - 1.0).abs() < 0.3, "{at} has {share} of {due}");
    }
}

#[test]
fn when_one_goes_only_its_keys_move() {
    let all = hashes(0..10);
    let before = homes(&Ring::new(&all, &[1; 10], 65_536), &all);
    let rest = &all[..9];
    let after = homes(&Ring::new(rest, &[1; 9], 65_536), rest);
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert_eq!(moved, before.iter().filter(|home| **home == 9).count());
    assert!((moved as f64) < 1.3 * KEYS as f64 / 10.0, "{moved} moved");
}

proptest! {
    #[test]
    fn the_bound_is_kept(weights in prop::collection::vec(0u32..1000, 0..60), limit in 1024u32..8192) {
        let hashes = hashes(0..weights.len() as u32);
        let ring = Ring::new(&hashes, &weights, limit);
        // Rounding up to one point each, at most.
        prop_assert!(ring.len() <= limit as usize + weights.len());
        prop_assert_eq!(ring.is_empty(), weights.iter().all(|weight| *weight == 0));
    }

    #[test]
    fn the_unusable_are_passed_over_and_nobody_elses_keys_move(out in 0usize..6, key: u64) {
        let hashes = hashes(0..6);
        let ring = Ring::new(&hashes, &[1, 2, 3, 1, 2, 3], 4096);
        let home = ring.find(key, &hashes, &|_| true);
        let without = ring.find(key, &hashes, &|at| at != out);
        prop_assert!(without.is_some() && without != Some(out));
        prop_assert!(home == Some(out) || home == without);
    }

    #[test]
    fn one_who_is_left_gets_all(left in 0usize..300, key: u64) {
        let hashes = hashes(0..300);
        let ring = Ring::new(&hashes, &[1; 300], 4096);
        prop_assert_eq!(ring.find(key, &hashes, &|at| at == left), Some(left));
        prop_assert_eq!(ring.find(key, &hashes, &|_| false), None);
    }
}
