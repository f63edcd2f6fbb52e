//! The choice in simulated time: who gets how much when endpoints differ in speed, fail, or come back.
//!
//! The simulated servers are a queue of events, and chance is seeded, so that each run is the same. The properties hold that
//! only usable endpoints are chosen, and that the unreachable are left alone while there are others.

use super::*;
use crate::balance::Load;
use proptest::prelude::*;
use std::collections::BinaryHeap;
use std::time::Duration;

const DECAY: Duration = Duration::from_secs(10);

struct Server {
    load: Load,
    latency: Duration,
    fails: bool,
}

impl Candidate for Server {
    fn score(&self, now: Instant) -> f64 {
        self.load.score(now, DECAY)
    }

    fn shunned(&self, now: Instant) -> bool {
        self.load.shunned(now)
    }
}

/// Sends 1,000 requests a second for `seconds`; returns how many each server got.
fn simulate(servers: &[Server], start: Instant, seconds: u64) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(7);
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
        let chosen = choose(servers, |_| true, now, |n| random.usize(..n)).unwrap();
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
        let mut random = fastrand::Rng::with_seed(seed);
        let chosen = choose(&servers, |at| usable[at], start, |n| random.usize(..n));
        prop_assert_eq!(chosen.is_some(), usable.contains(&true));
        if let Some(at) = chosen {
            prop_assert!(usable[at]);
        }
    }

    #[test]
    fn the_unreachable_are_left_alone_while_others_are_there(shunned in 0usize..5, seed: u64) {
        let start = Instant::now();
        let servers: Vec<_> = (0..5).map(|_| server(start, Duration::from_millis(1), false)).collect();
        servers[shunned].load.begin(start).unreached(start);
        let mut random = fastrand::Rng::with_seed(seed);
        prop_assert_ne!(choose(&servers, |_| true, start, |n| random.usize(..n)), Some(shunned));
    }
}
