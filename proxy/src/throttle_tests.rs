//! Throttling in simulated time, against services that accept all, nothing, or as much as they can.
//!
//! Chance is seeded and time handed in; a second is played request by request.

use super::*;
use proptest::prelude::*;

/// What one second brought.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Second {
    sent: u32,
    accepted: u32,
}

/// A client that has `offered` requests a second for a service that accepts `capacity(second)` of those it gets.
fn play(k: f64, offered: u32, seconds: u64, capacity: impl Fn(u64) -> u32) -> Vec<Second> {
    let (throttle, begun, mut rng) = (Throttle::default(), Instant::now(), fastrand::Rng::with_seed(7));
    let second = |n| {
        let mut second = Second::default();
        for request in 0..offered {
            let now = begun + Duration::from_secs(n) + Duration::from_secs(1) * request / offered;
            if throttle.admits(k, now, rng.f64()) {
                second.sent += 1;
                match second.accepted < capacity(n) {
                    true => second.accepted += 1,
                    false => throttle.refused(now),
                }
            }
        }
        second
    };
    (0..seconds).map(second).collect()
}

fn mean(seconds: &[Second]) -> f64 {
    seconds.iter().map(|second| f64::from(second.sent)).sum::<f64>() / seconds.len() as f64
}

#[test]
fn the_formula_is_the_books() {
    let of = |requests, lost| probability(Counts { requests, lost }, 2.0);
    assert_eq!(of(0, 0), 0.0);
    assert_eq!(of(100, 50), 0.0);
    assert_eq!(of(99, 99), 0.99);
    assert_eq!(of(99, 74), 0.49);
    // Refusals of requests that have left the window already.
    assert_eq!(of(1, 5), 0.5);
}

#[test]
fn a_service_that_refuses_everything_is_spared_nine_in_ten_and_found_well_again() {
    let seconds = play(2.0, 100, 600, |second| if second < 200 { 0 } else { u32::MAX });
    assert!((8.0..12.0).contains(&mean(&seconds[60..200])), "{:?}", &seconds[60..200]);
    // The window is full of refusals at first.
    let back = |share| seconds[200..].iter().position(|second| second.sent >= share).unwrap();
    assert!(back(50) <= 200 && back(95) <= 260, "half after {} s, all after {} s", back(50), back(95));
    assert!(seconds[500..].iter().all(|second| second.sent == 100), "{:?}", &seconds[500..]);
}

#[test]
fn the_window_is_two_minutes() {
    let (throttle, begun) = (Throttle::default(), Instant::now());
    for _ in 0..50 {
        throttle.admits(2.0, begun, 1.0);
        throttle.refused(begun);
    }
    assert!(!throttle.admits(2.0, begun + Duration::from_secs(114), 0.5));
    assert!(throttle.admits(2.0, begun + Duration::from_secs(240), 0.0));
    // A clock that jumps far ahead, or back, breaks nothing.
    assert!(throttle.admits(2.0, begun + Duration::from_secs(1_000_000), 0.0));
    assert!(throttle.admits(2.0, begun, 0.0));
}

proptest! {
    /// A service that accepts everything is never held back, whatever the clients' chances.
    #[test]
    fn the_well_are_left_alone(k in 1.0f64..10.0, requests in proptest::collection::vec((0u64..2_000_000, 0.0f64..1.0), 1..500)) {
        let (throttle, mut now) = (Throttle::default(), Instant::now());
        for (micros, chance) in requests {
            now += Duration::from_micros(micros);
            prop_assert!(throttle.admits(k, now, chance));
        }
    }

    /// A service that can do less than it is asked sees about K times what it accepts, however much is offered. K near 1 leaves
    /// too little over to fill the seconds in which chance sends few, so that less is accepted, and then less is sent.
    #[test]
    fn an_overload_is_cut_to_k_times_what_is_accepted(k in 1.5f64..4.0, capacity in 5u32..30, offered in 50u32..200) {
        let seconds = play(k, offered, 360, |_| capacity);
        let sent = mean(&seconds[240..]);
        let offered = f64::from(offered);
        let expected = (k * f64::from(capacity)).clamp(0.1 * offered, offered);
        prop_assert!((0.8..1.2).contains(&(sent / expected)), "{} sent a second, {} expected", sent, expected);
    }
}
