//! Rates over any pattern of arrivals, from many threads, and from more clients than are remembered.
//!
//! Time is an argument; only the threads are real.

use super::*;
use proptest::prelude::*;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

fn limit(requests: u32, per: u64, burst: u32, key: RateKey) -> RateLimit {
    let some = |number| NonZeroU32::new(number).unwrap();
    let (name, matches) = (String::new(), vec![]);
    RateLimit { name, requests: some(requests), per: Duration::from_secs(per), burst: some(burst), key, matches }
}

#[test]
fn a_burst_and_then_the_rate() {
    let start = Instant::now();
    let rate = Rate::new(&limit(10, 1, 3, RateKey::Service), start, 7);
    let at = |ms| rate.take(0, start + Duration::from_millis(ms));
    assert_eq!(at(0), Standing { remaining: 2, reset: Duration::from_millis(100), wait: None });
    assert_eq!((at(0).remaining, at(0).remaining), (1, 0));
    let refused = at(0);
    assert_eq!(refused.wait, Some(Duration::from_millis(100)));
    assert_eq!(refused.reset, Duration::from_millis(300));
    assert_eq!(at(99).wait, Some(Duration::from_millis(1)));
    assert_eq!(at(100).wait, None);
    assert!(at(150).wait.is_some());
    assert_eq!(at(5000).remaining, 2);
}

#[test]
fn a_year_of_burst_does_not_overflow() {
    let start = Instant::now();
    let rate = Rate::new(&limit(1, 86_400, 1_000_000, RateKey::Service), start, 7);
    for _ in 0..3 {
        assert_eq!(rate.take(0, start).wait, None);
    }
}

#[test]
fn threads_together_take_no_more_than_one() {
    let start = Instant::now();
    let rate = Rate::new(&limit(1, 60, 500, RateKey::Address), start, 7);
    let taken = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    taken.fetch_add(u32::from(rate.take(42, start).wait.is_none()), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(taken.into_inner(), 500);
}

/// The first request of a key is when threads fight for its slot: what one has counted, no other may forget.
#[test]
fn the_first_request_of_a_key_is_taken_once() {
    const KEYS: u64 = 2_000;
    let start = Instant::now();
    let rate = Rate::new(&limit(1, 60, 1, RateKey::Address), start, 7);
    let (taken, together) = (AtomicU32::new(0), std::sync::Barrier::new(4));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                // Past the two keys that share a slot under this seed.
                for key in 8..8 + KEYS {
                    together.wait();
                    taken.fetch_add(u32::from(rate.take(key, start).wait.is_none()), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(u64::from(taken.into_inner()), KEYS);
}

/// What is remembered has a fixed size. One that keeps asking is held to its rate among 100,000 others, and none of the
/// others is refused its first request.
#[test]
fn a_hundred_thousand_clients_change_nothing_for_the_greedy_one() {
    let start = Instant::now();
    let rate = Rate::new(&limit(10, 1, 10, RateKey::Identity), start, fastrand::u64(..));
    assert_eq!(rate.table.bytes(), 256 * 1024);
    let mut greedy = 0;
    for client in 0..100_000u64 {
        // A hundred thousand in ten seconds.
        let now = start + Duration::from_micros(100 * client);
        assert_eq!(rate.take(client + 1_000, now).wait, None, "client {client}");
        greedy += u32::from(rate.take(1, now).wait.is_none());
    }
    assert!((100..=115).contains(&greedy), "the greedy one got {greedy} in ten seconds");
}

proptest! {
    /// In no span of time more than the burst and the rate.
    #[test]
    fn the_rate_holds(requests in 1u32..50, burst in 1u32..20, steps in prop::collection::vec(0u64..200, 1..300)) {
        let start = Instant::now();
        let rate = Rate::new(&limit(requests, 1, burst, RateKey::Service), start, 7);
        let (mut now, mut admitted) = (0, vec![]);
        for step in steps {
            now += step;
            if rate.take(0, start + Duration::from_millis(now)).wait.is_none() {
                admitted.push(now);
            }
        }
        for (n, first) in admitted.iter().enumerate() {
            for (m, last) in admitted.iter().enumerate().skip(n) {
                let most = f64::from(burst) + f64::from(requests) * (last - first) as f64 / 1000.0;
                prop_assert!((m - n + 1) as f64 <= most + 1e-6, "{} in {} ms", m - n + 1, last - first);
            }
        }
    }
}
