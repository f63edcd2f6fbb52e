//! What checks in a row amount to, and when the next one is due.
//!
//! Pure. An endpoint changes sides only after as many findings against its present one, in a row, as its policy wants.

use std::time::Duration;
use weft_model::health::HealthCheck;

/// The findings so far.
#[derive(Debug)]
pub struct Streak {
    good: bool,
    /// In a row against what is held true.
    against: u32,
    healthy: u32,
    unhealthy: u32,
}

impl Streak {
    pub fn new(check: &HealthCheck, good: bool) -> Self {
        Self { good, against: 0, healthy: check.healthy.get(), unhealthy: check.unhealthy.get() }
    }

    /// One more finding; `Some` when it changes what is held true.
    pub fn observe(&mut self, passed: bool) -> Option<bool> {
        if passed == self.good {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = if passed { self.healthy } else { self.unhealthy };
        if self.against < needed {
            return None;
        }
        self.good = passed;
        self.against = 0;
        Some(passed)
    }
}

/// How long to wait before the next check; `chance` is a number in 0..1.
pub fn pause(check: &HealthCheck, chance: f64) -> Duration {
    check.interval + check.interval.mul_f64(f64::from(check.jitter_percent) / 100.0 * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::num::NonZeroU32;
    use weft_model::health::Probe;

    fn check(healthy: u32, unhealthy: u32) -> HealthCheck {
        let count = |n| NonZeroU32::new(n).unwrap();
        HealthCheck { healthy: count(healthy), unhealthy: count(unhealthy), ..HealthCheck::of(Probe::Tcp) }
    }

    #[test]
    fn only_findings_in_a_row_count() {
        let mut streak = Streak::new(&check(2, 3), true);
        let found = [false, false, true, false, false, false, true, false, true, true];
        let said = found.map(|passed| streak.observe(passed));
        let expected = [None, None, None, None, None, Some(false), None, None, None, Some(true)];
        assert_eq!(said, expected);
    }

    proptest! {
        /// Whatever is found: the side changes exactly when the last so many findings were all against it.
        #[test]
        fn the_thresholds_hold(healthy in 1u32..5, unhealthy in 1u32..5, found: Vec<bool>) {
            let mut streak = Streak::new(&check(healthy, unhealthy), true);
            let (mut good, mut since) = (true, 0usize);
            for (n, passed) in found.iter().enumerate() {
                let needed = if good { unhealthy } else { healthy } as usize;
                let due = n + 1 - since >= needed && found[n + 1 - needed..=n].iter().all(|f| *f != good);
                let said = streak.observe(*passed);
                prop_assert_eq!(said, due.then_some(!good));
                if due {
                    (good, since) = (!good, n + 1);
                }
            }
        }

        #[test]
        fn pauses_are_spread(jitter in 0u32..=100, chance in 0.0f64..1.0) {
            let check = HealthCheck { jitter_percent: jitter, ..check(1, 1) };
            let pause = pause(&check, chance);
            prop_assert!(pause >= check.interval && pause <= check.interval * (100 + jitter) / 100 + Duration::from_micros(1));
        }
    }
}
