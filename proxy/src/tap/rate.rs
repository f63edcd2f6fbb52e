//! How many requests a second a watcher is told of.
//!
//! Pure but for one number that all workers share. Seconds are those of the watcher's own clock; each begins with nothing used, so
//! that a burst costs a watcher at most two seconds' worth within one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Rate {
    most: u32,
    /// The second in the upper half, what was used of it in the lower.
    used: AtomicU64,
}

impl Rate {
    pub(super) fn new(most: u32) -> Self {
        Self { most, used: AtomicU64::new(0) }
    }

    /// Takes one, `since` the watcher came, if there is one left.
    pub(super) fn take(&self, since: Duration) -> bool {
        let second = since.as_secs() & u64::from(u32::MAX);
        let next = |used: u64| {
            // A worker that was late must not begin the second anew.
            let count = if used >> 32 < second { 0 } else { used & u64::from(u32::MAX) };
            (count < u64::from(self.most)).then_some((used >> 32).max(second) << 32 | (count + 1))
        };
        self.used.fetch_update(Relaxed, Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_second_has_its_own() {
        let rate = Rate::new(2);
        let took: Vec<bool> = [0, 0, 999, 1_000, 1_500, 1_999, 900, 5_000]
            .iter()
            .map(|ms| rate.take(Duration::from_millis(*ms)))
            .collect();
        assert_eq!(took, [true, true, false, true, true, false, false, true]);
    }

    proptest! {
        #[test]
        fn never_more_than_that(most in 1u32..20, mut times in prop::collection::vec(0u64..5_000, 0..300)) {
            times.sort_unstable();
            let rate = Rate::new(most);
            let mut taken = [0u32; 5];
            for ms in times {
                let since = Duration::from_millis(ms);
                taken[since.as_secs() as usize] += u32::from(rate.take(since));
            }
            prop_assert!(taken.iter().all(|count| *count <= most));
        }
    }
}
