//! Maglev's tables: even to an entry, by weight, little disruption, whoever is out is passed over.
//!
//! The figures are those of the paper's section 5.3, for smaller tables.

use super::*;
use proptest::prelude::*;

fn hashes(count: usize) -> Vec<u64> {
    (0..count).map(|n| hash::of(format!("cart-{n}").as_bytes())).collect()
}

fn shares(table: &Table, count: usize) -> Vec<usize> {
    let mut shares = vec![0; count];
    table.entries().iter().for_each(|at| shares[*at as usize] += 1);
    shares
}

#[test]
fn the_table_follows_weights() {
    let weights = [1, 2, 4, 1];
    let shares = shares(&Table::new(&hashes(4), &weights, 8009), 4);
    for (share, weight) in shares.iter().zip(weights) {
        assert!(share.abs_diff(weight as usize * 1001) < 10, "{shares:?}");
    }
}

#[test]
fn when_one_goes_few_others_are_disrupted() {
    let all = hashes(20);
    let before = Table::new(&all, &[1; 20], 65_537);
    let after = Table::new(&all[..19], &[1; 19], 65_537);
    let moved = before.entries().iter().zip(after.entries()).filter(|(before, after)| before != after).count();
    let lost = shares(&before, 20)[19];
    assert!(moved - lost < 65_537 / 50, "{} entries moved beside the {lost} lost", moved - lost);
}

proptest! {
    #[test]
    fn equals_have_the_same_number_of_entries_within_one(count in 1usize..100) {
        let shares = shares(&Table::new(&hashes(count), &vec![1; count], 1009), count);
        prop_assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
    }

    #[test]
    fn weight_zero_has_none_and_no_endpoints_make_no_table(weights in prop::collection::vec(0u32..5, 0..20), key: u64) {
        let hashes = hashes(weights.len());
        let table = Table::new(&hashes, &weights, 251);
        let found = table.find(key, &hashes, &|_| true);
        prop_assert_eq!(found.is_some(), weights.iter().any(|weight| *weight > 0));
        prop_assert!(found.is_none_or(|at| weights[at] > 0));
    }

    #[test]
    fn the_unusable_are_passed_over_and_nobody_elses_keys_move(out in 0usize..6, key: u64) {
        let hashes = hashes(6);
        let table = Table::new(&hashes, &[1, 2, 3, 1, 2, 3], 251);
        let home = table.find(key, &hashes, &|_| true);
        let without = table.find(key, &hashes, &|at| at != out);
        prop_assert!(without.is_some() && without != Some(out));
        prop_assert!(home == Some(out) || home == without);
        prop_assert_eq!(table.find(key, &hashes, &|at| at == out), Some(out));
        prop_assert_eq!(table.find(key, &hashes, &|_| false), None);
    }
}
