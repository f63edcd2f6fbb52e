//! Latencies of many events, and what share of them was no slower than what.
//!
//! Below whoever measures some. Percentiles are by nearest rank: each of them was really measured.

use anyhow::ensure;
use std::time::Duration;

/// Latencies in order of size; at least one.
#[derive(Debug)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Fails when there are none.
    pub fn of(mut all: Vec<Duration>) -> anyhow::Result<Self> {
        ensure!(!all.is_empty(), "nothing was measured");
        all.sort_unstable();
        Ok(Self(all))
    }

    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// The smallest latency that this share of the events did not exceed.
    pub fn percentile(&self, share: f64) -> Duration {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let latencies = Latencies::of((1..=1000).rev().map(Duration::from_micros).collect()).unwrap();
        let at = |share| latencies.percentile(share).as_micros();
        assert_eq!((at(0.5), at(0.99), at(0.999), at(1.0)), (500, 990, 999, 1000));
        assert_eq!(Latencies::of(vec![Duration::from_micros(7)]).unwrap().percentile(0.5).as_micros(), 7);
        assert!(Latencies::of(vec![]).is_err());
    }
}
