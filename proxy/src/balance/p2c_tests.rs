//! The choice in simulated time: who gets how much when endpoints differ in speed, fail, or come back.
//!
//! The simulated servers are a queue of events, and chance is seeded, so that each run is the same. The properties hold that
//! only usable endpoints are chosen, and that shares hold among equals.

use super::*;
use crate::balance::Load;
use fastrand::Rng;
use proptest::prelude::*;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

const DECAY: Duration = Duration::from_secs(10);

struct Server {
    load: Load,
    latency: Duration,
    fails: bool,
}

fn pick(servers: &[Server], usable: impl Fn(usize) -> bool, now: Instant, rng: &mut Rng) -> Option<usize> {
    choose(servers.len(), 2, &usable, &|_| 1.0, &|_| 1.0, &|at| servers[at].load.score(now, DECAY), rng)
}

/// Sends 1,000 requests a second for `seconds`; returns how many each server got.
fn simulate(servers: &[Server], start: Instant, seconds: u64) -> Vec<usize> {
    let mut rng = Rng::with_seed(7);
    let mut shares = vec![0; servers.len()];
    let mut ends: BinaryHeap<std::cmp::Reverse<(Instant, usize, usize)>> = BinaryHeap::new();
    let mut flying = std::collections::HashMap::new();
    for number in 0..seconds as usize * 1000 {
        let now = start + Duration::from_millis(number as u64);
        while let Some(std::cmp::Reverse((at, id, server))) = ends.peek().copied().filter(|e| e.0.0 <= now) {
            ends.pop();
            let begun: crate::balance::load::Begun = flying.remove(&id).unwrap();
            begun.end(at, !servers[server].fails, DECAY);
        }
        let chosen = pick(servers, |_| true, now, &mut rng).unwrap();
        shares[chosen] += 1;
        flying.insert(number, servers[chosen].load.begin(now));
        ends.push(std::cmp::Reverse((now + servers[chosen].latency, number, chosen)));
    }
    shares
}

fn server(start: Instant, latency: Duration, fails: bool) -> Server {
    Server { load: Load::new(start), latency, fails }
}

#[test]
fn a_slow_endpoint_gets_a_small_share() {
    let start = Instant::now();
    let servers = [10, 10, 100].map(|ms| server(start, Duration::from_millis(ms), false));
    let shares = simulate(&servers, start, 10);
    assert!(shares[2] * 5 < shares[0] && shares[2] > 0, "{shares:?}");
    assert!(shares[0].abs_diff(shares[1]) < 1500, "{shares:?}");
}

#[test]
fn an_endpoint_that_fails_fast_attracts_nothing() {
    let start = Instant::now();
    let servers = [
        server(start, Duration::from_millis(10), false),
        server(start, Duration::from_millis(10), false),
        server(start, Duration::from_micros(200), true),
    ];
    let shares = simulate(&servers, start, 10);
    assert!(shares[2] * 20 < shares.iter().sum::<usize>(), "{shares:?}");
}

#[test]
fn a_new_endpoint_gets_traffic_within_a_second_and_not_all_of_it() {
    let start = Instant::now();
    let mut servers: Vec<_> = (0..3).map(|_| server(start, Duration::from_millis(10), false)).collect();
    simulate(&servers, start, 5);
    let later = start + Duration::from_secs(6);
    servers.push(server(later, Duration::from_millis(10), false));
    let shares = simulate(&servers, later, 1);
    assert!(shares[3] > 50 && shares[3] < 600, "{shares:?}");
}

proptest! {
    #[test]
    fn only_usable_endpoints_are_chosen_and_one_is_if_there_is_any(usable in prop::collection::vec(any::<bool>(), 0..12), seed: u64) {
        let start = Instant::now();
        let servers: Vec<_> = usable.iter().map(|_| server(start, Duration::from_millis(1), false)).collect();
        let chosen = pick(&servers, |at| usable[at], start, &mut Rng::with_seed(seed));
        prop_assert_eq!(chosen.is_some(), usable.contains(&true));
        if let Some(at) = chosen {
            prop_assert!(usable[at]);
        }
    }

    #[test]
    fn of_equals_the_first_drawn_is_taken_so_that_shares_hold(seed: u64) {
        let mut rng = Rng::with_seed(seed);
        let drawn = (0..400).filter_map(|_| choose(2, 2, &|_| true, &|at| [1.0, 0.25][at], &|_| 1.0, &|_| 0.0, &mut rng));
        let first = drawn.filter(|at| *at == 0).count();
        prop_assert!((270..=370).contains(&first), "{} of 400, 320 are due", first);
    }

    #[test]
    fn sizes_hold_however_the_comparison_comes_out(seed: u64, luck: u64) {
        let mut rng = Rng::with_seed(seed);
        let mut coin = Rng::with_seed(luck);
        let sizes = [6.0, 3.0, 1.0];
        let mut counts = [0.0; 3];
        for _ in 0..4000 {
            // Costs that say nothing.
            let costs = [coin.f64(), coin.f64(), coin.f64()];
            let at = choose(3, 2, &|_| true, &|at| sizes[at] / 6.0, &|at| sizes[at], &|at| costs[at], &mut rng).unwrap();
            counts[at] += 1.0 / 400.0;
        }
        prop_assert!(counts.iter().zip(sizes).all(|(count, size)| (count - size).abs() < 0.5), "{:?}", counts);
    }
}
