//! How long to wait before discovery is asked again.
//!
//! Used by everything that talks to discovery. Pauses double up to a limit and are jittered, so that a mesh which lost its
//! discovery at one moment does not come back at one moment.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// The pauses of one run of failures.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// The next pause: half to all of a time that doubles from 100 ms up to 5 s.
    pub fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(LONGEST);
        whole.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Whether the next failure is the first of its run: worth a warning, where the following ones are not.
    pub fn is_fresh(&self) -> bool {
        self.next == FIRST
    }

    /// It worked: the next failure starts from the shortest pause.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_over() {
        let mut backoff = Backoff::default();
        let mut whole = FIRST;
        for _ in 0..10 {
            let pause = backoff.pause();
            assert!(whole / 2 <= pause && pause <= whole, "{pause:?} of {whole:?}");
            whole = (whole * 2).min(LONGEST);
        }
        assert!(!backoff.is_fresh());
        backoff.reset();
        assert!(backoff.is_fresh() && backoff.pause() <= FIRST);
    }
}
