//! The limit in simulated time, before a server with so many slots and a queue.
//!
//! Arrivals and work are random from a seed, the same everywhere.

use super::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

const SLOTS: u32 = 20;
const WORK: Duration = Duration::from_millis(10);

/// What a run came to, after the first half of it.
struct Outcome {
    /// In order.
    latencies: Vec<Duration>,
    refused: u32,
    limits: Vec<u32>,
}

impl Outcome {
    fn p99(&self) -> Duration {
        self.latencies[self.latencies.len() * 99 / 100]
    }
}

/// `rate` requests a second for `length`, at random moments; each is work for about [`WORK`].
fn run(rate: f64, length: Duration) -> Outcome {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut exponential = |mean: f64| Duration::from_secs_f64(-mean * (1.0 - rng.f64()).ln());
    let start = Instant::now();
    let mut gradient = Gradient::new(3, 1000, start);
    let mut slots: BinaryHeap<Reverse<Instant>> = (0..SLOTS).map(|_| Reverse(start)).collect();
    let mut under_way: BinaryHeap<Reverse<(Instant, Instant)>> = BinaryHeap::new();
    let mut outcome = Outcome { latencies: vec![], refused: 0, limits: vec![] };
    let mut now = start;
    while now < start + length {
        now += exponential(1.0 / rate);
        while let Some(Reverse((end, began))) = under_way.peek().copied().filter(|Reverse((end, _))| *end <= now) {
            gradient.answered(began, end, under_way.len() as u32, 0.5);
            under_way.pop();
            if began > start + length / 2 {
                outcome.latencies.push(end - began);
                outcome.limits.push(gradient.limit());
            }
        }
        if under_way.len() as u32 >= gradient.limit() {
            outcome.refused += u32::from(now > start + length / 2);
            continue;
        }
        let Some(Reverse(free)) = slots.pop() else { unreachable!("there are slots") };
        // Half is the same for every request, half is chance.
        let end = free.max(now) + WORK / 2 + exponential(WORK.as_secs_f64() / 2.0);
        slots.push(Reverse(end));
        under_way.push(Reverse((end, now)));
    }
    outcome.latencies.sort();
    outcome
}

#[test]
fn three_times_too_much_finds_a_limit_near_the_capacity() {
    let length = Duration::from_secs(40);
    let outcome = run(6000.0, length);
    let mean = outcome.limits.iter().map(|limit| f64::from(*limit)).sum::<f64>() / outcome.limits.len() as f64;
    assert!((20.0..45.0).contains(&mean), "the limit is {mean}");
    // What 20 slots of 10 ms can do in 20 s is 40,000.
    assert!(outcome.latencies.len() > 36_000, "{} served", outcome.latencies.len());
    assert!(outcome.p99() < Duration::from_millis(60), "{:?}", outcome.p99());
}

#[test]
fn what_fits_is_not_refused() {
    let outcome = run(800.0, Duration::from_secs(40));
    assert!(outcome.refused < 16, "{} refused of 16,000", outcome.refused);
}

#[test]
fn a_limit_that_nobody_needs_does_not_grow() {
    let outcome = run(100.0, Duration::from_secs(40));
    assert!(outcome.limits.iter().all(|limit| *limit < 30), "{:?}", outcome.limits.iter().max());
}

#[test]
fn the_ideal_is_measured_anew() {
    let start = Instant::now();
    let mut gradient = Gradient::new(2, 100, start);
    let mut now = start;
    let mut answer = |gradient: &mut Gradient, took: Duration| {
        let began = now;
        now += took;
        gradient.answered(began, now, gradient.limit(), 0.0);
        now - start
    };
    let mut elapsed = Duration::ZERO;
    while elapsed < EVERY {
        elapsed = answer(&mut gradient, Duration::from_millis(5));
    }
    assert_eq!(gradient.limit(), 100, "latencies are ideal");
    while gradient.limit() == 100 {
        assert!(elapsed < 2 * EVERY, "no measuring after {elapsed:?}");
        elapsed = answer(&mut gradient, Duration::from_millis(5));
    }
    assert_eq!(gradient.limit(), 2);
    // The application has become slower for good: that is its ideal now.
    while gradient.limit() < 100 {
        assert!(elapsed < 2 * EVERY, "still at {}", gradient.limit());
        elapsed = answer(&mut gradient, Duration::from_millis(50));
    }
}
