//! Draws one endpoint at random, each in proportion to its share.
//!
//! By rejection, which looks at a few endpoints only; when few are usable, by counting. Both give the same distribution.
//! `None` only when nobody is usable.

use fastrand::Rng;

/// Draws before the usable ones are counted instead.
const DRAWS: usize = 8;

/// An index below `n` that is `usable`; `share` gives its share of the greatest, above 0 and at most 1.
pub fn draw(n: usize, usable: &impl Fn(usize) -> bool, share: &impl Fn(usize) -> f64, rng: &mut Rng) -> Option<usize> {
    if n > 2 {
        for _ in 0..DRAWS {
            let at = rng.usize(..n);
            if usable(at) && accepted(share(at), rng) {
                return Some(at);
            }
        }
    }
    let total: f64 = (0..n).filter(|at| usable(*at)).map(share).sum();
    let mut left = total * rng.f64();
    let mut last = None;
    for at in (0..n).filter(|at| usable(*at)) {
        last = Some(at);
        left -= share(at);
        if left < 0.0 {
            break;
        }
    }
    last
}

fn accepted(share: f64, rng: &mut Rng) -> bool {
    share >= 1.0 || rng.f64() < share
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;
    use proptest::prelude::*;

    fn shares(weights: &[f64], usable: &[bool], seed: u64) -> Vec<f64> {
        let mut rng = Rng::with_seed(seed);
        let most = weights.iter().copied().fold(0.0, f64::max);
        let mut counts = vec![0.0; weights.len()];
        for _ in 0..20_000 {
            let at = draw(weights.len(), &|at| usable[at], &|at| weights[at] / most, &mut rng);
            counts[at.expect("somebody is usable")] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn each_gets_its_share_whether_many_are_usable_or_few() {
        let weights = [1.0, 2.0, 4.0, 1.0, 8.0];
        for usable in [[true; 5], [true, true, false, false, false], [true, false, true, false, true]] {
            let total: f64 = (0..5).filter(|at| usable[*at]).map(|at| weights[at]).sum();
            for (at, share) in shares(&weights, &usable, 3).into_iter().enumerate() {
                let due = if usable[at] { weights[at] / total } else { 0.0 };
                assert!((share - due).abs() < 0.02, "{at}: {share} of {due} among {usable:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn somebody_usable_is_drawn_if_there_is_anybody(usable in prop::collection::vec(any::<bool>(), 0..20), seed: u64) {
            let mut rng = Rng::with_seed(seed);
            let drawn = draw(usable.len(), &|at| usable[at], &|at| 1.0 / (at + 1) as f64, &mut rng);
            prop_assert_eq!(drawn.is_some(), usable.contains(&true));
            prop_assert!(drawn.is_none_or(|at| usable[at]));
        }
    }
}
