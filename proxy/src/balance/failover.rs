//! Which level of priority serves a request: the first, as long as enough of it is healthy; the rest goes to the next.
//!
//! After Envoy's priority levels: a level that has less than 100/140 of its endpoints healthy gives away what it cannot
//! carry, in proportion. `None` only when nobody on any level is healthy.

/// How much more than its share a healthy endpoint is taken to carry.
const OVERPROVISIONING: f64 = 1.4;

/// Of `levels`, the first one first, the one whose turn it is when `turn` (from 0 to 1) is drawn. `health` counts the healthy on
/// a level, and all.
pub fn level(levels: &[u64], turn: f64, health: impl Fn(u64) -> (u32, u32)) -> Option<u64> {
    let carries = |level: u64| {
        let (healthy, all) = health(level);
        (OVERPROVISIONING * f64::from(healthy) / f64::from(all.max(1))).min(1.0)
    };
    let mut total = 0.0;
    for level in levels {
        total += carries(*level);
        if total >= 1.0 {
            break;
        }
    }
    // When all levels together are too few, each gets its share of everything.
    let mut left = turn * total.min(1.0);
    let mut last = None;
    for level in levels {
        let carried = carries(*level);
        if carried > 0.0 {
            last = Some(*level);
            left -= carried;
        }
        if left < 0.0 {
            break;
        }
    }
    last
}

/// Those of `levels` that have a share of the requests.
pub fn shared(levels: &[u64], health: impl Fn(u64) -> (u32, u32)) -> Vec<u64> {
    let mut total = 0.0;
    let mut share = |level: u64| {
        let (healthy, all) = health(level);
        let carried = OVERPROVISIONING * f64::from(healthy) / f64::from(all.max(1));
        let takes_part = total < 1.0 && carried > 0.0;
        total += carried;
        takes_part
    };
    levels.iter().copied().filter(|level| share(*level)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The share of each of the levels, which have so many healthy of ten.
    fn shares(healthy: &[u32]) -> Vec<f64> {
        let levels: Vec<u64> = (0..healthy.len() as u64).collect();
        let mut shares = vec![0.0; healthy.len()];
        for turn in 0..1000 {
            if let Some(level) = level(&levels, f64::from(turn) / 1000.0, |level| (healthy[level as usize], 10)) {
                shares[level as usize] += 0.001;
            }
        }
        shares
    }

    #[test]
    fn shares_are_those_of_envoys_documentation() {
        for (healthy, expected) in [
            ([10, 10, 10], [1.0, 0.0, 0.0]),
            ([8, 10, 10], [1.0, 0.0, 0.0]),
            ([7, 10, 10], [0.98, 0.02, 0.0]),
            ([5, 10, 10], [0.7, 0.3, 0.0]),
            ([2, 3, 10], [0.28, 0.42, 0.3]),
            ([0, 10, 10], [0.0, 1.0, 0.0]),
            ([2, 2, 0], [0.5, 0.5, 0.0]),
            ([0, 0, 0], [0.0, 0.0, 0.0]),
        ] {
            let shares = shares(&healthy);
            let close = shares.iter().zip(expected).all(|(share, expected)| (share - expected).abs() < 0.005);
            assert!(close, "{healthy:?}: {shares:?}, not {expected:?}");
        }
    }

    proptest! {
        #[test]
        fn somebody_healthy_serves_if_there_is_anybody(healthy in prop::collection::vec(0u32..=10, 1..6), turn in 0.0..1.0f64) {
            let levels: Vec<u64> = (0..healthy.len() as u64).collect();
            let level = level(&levels, turn, |level| (healthy[level as usize], 10));
            prop_assert_eq!(level.is_some(), healthy.iter().any(|count| *count > 0));
            prop_assert!(level.is_none_or(|level| healthy[level as usize] > 0));
            let shared = shared(&levels, |level| (healthy[level as usize], 10));
            prop_assert!(level.is_none_or(|level| shared.contains(&level)));
        }
    }
}
