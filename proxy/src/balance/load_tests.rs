//! What one endpoint's load makes of answers, failures and silence.
//!
//! Time is handed in, so minutes pass in no time. The properties at the end hold for every history: scores are sound,
//! slower is never cheaper, and everything is forgiven in the end.

use super::*;
use proptest::prelude::*;

const DECAY: Duration = Duration::from_secs(10);
const MS: Duration = Duration::from_millis(1);

fn served(load: &Load, at: Instant, took: Duration, ok: bool) {
    load.begin(at).end(at + took, ok, DECAY);
}

/// A load that has been answering within `took` for some time, and the time it is then.
fn known(took: Duration) -> (Load, Instant) {
    let start = Instant::now();
    let load = Load::new(start);
    (0..100).for_each(|n| served(&load, start + n * took, took, true));
    (load, start + 100 * took)
}

#[test]
fn slow_answers_count_at_once_and_fade() {
    let (load, now) = known(MS);
    served(&load, now, 100 * MS, true);
    let later = now + 100 * MS;
    assert!(load.latency(later, DECAY) > 99 * MS);
    assert!(load.latency(later + 3 * DECAY, DECAY) < 6 * MS);
}

#[test]
fn quick_answers_count_slowly() {
    let (load, now) = known(100 * MS);
    served(&load, now, MS, true);
    assert!(load.latency(now + MS, DECAY) > 95 * MS);
}

#[test]
fn the_first_answer_is_not_held_against_an_endpoint() {
    let start = Instant::now();
    let load = Load::new(start);
    served(&load, start, 300 * MS, true);
    served(&load, start + 300 * MS, MS, true);
    assert!(load.latency(start + 301 * MS, DECAY) <= MS);
}

#[test]
fn a_handshake_is_not_the_endpoints_latency() {
    let (load, now) = known(MS);
    let begun = load.begin(now);
    begun.connected(now + 50 * MS);
    begun.end(now + 51 * MS, true, DECAY);
    assert!(load.latency(now + 51 * MS, DECAY) <= MS);
}

#[test]
fn a_fast_failure_is_no_recommendation() {
    let (load, now) = known(MS);
    let good = load.score(now, DECAY);
    served(&load, now, MS / 10, false);
    assert!(load.score(now + MS, DECAY) > 100.0 * good);
}

#[test]
fn one_failure_is_soon_forgiven_and_many_are_not() {
    let (once, now) = known(MS);
    let (often, _) = known(MS);
    served(&once, now, MS, false);
    (0..8).for_each(|n| served(&often, now + n * MS, MS, false));
    let later = now + 10 * FORGIVE;
    assert!(once.penalty(later, DECAY) < MS, "{:?}", once.penalty(later, DECAY));
    assert!(often.penalty(later, DECAY) > 100 * MS, "{:?}", often.penalty(later, DECAY));
    assert!(often.penalty(later + 10 * DECAY, DECAY) < MS);
}

#[test]
fn a_failure_in_a_slow_service_costs_more_than_an_answer() {
    let (load, now) = known(Duration::from_secs(3));
    let good = load.score(now, DECAY);
    served(&load, now, MS, false);
    assert!(load.score(now + MS, DECAY) > 4.0 * good);
}

#[test]
fn what_is_in_flight_makes_an_endpoint_dearer() {
    let (load, now) = known(MS);
    let idle = load.score(now, DECAY);
    let held: Vec<_> = (0..9).map(|_| load.serving()).collect();
    assert!(load.score(now, DECAY) > 9.0 * idle);
    drop(held);
    assert_eq!(load.pending(), 0);
}

#[test]
fn a_new_endpoint_costs_nothing_until_it_is_asked() {
    let now = Instant::now();
    let load = Load::new(now);
    assert_eq!(load.score(now, DECAY), 0.0);
    let _first = load.begin(now);
    assert!(load.score(now, DECAY) >= 2.0 * UNKNOWN.as_secs_f64());
}

#[test]
fn an_endpoint_that_hangs_is_known_by_the_clients_that_left() {
    let (load, now) = known(MS);
    load.begin(now).abandon(now + 500 * MS);
    assert!(load.latency(now + 500 * MS, DECAY) > 499 * MS);
    // A client that leaves early says nothing.
    let before = load.latency(now + 500 * MS, DECAY);
    load.begin(now).abandon(now + 2 * MS);
    assert_eq!(load.latency(now + 500 * MS, DECAY), before);
    assert_eq!(load.pending(), 0);
    // Neither does one that leaves by being dropped, but it is no longer in flight.
    drop(load.begin(Instant::now()));
    assert_eq!(load.pending(), 0);
}

#[test]
fn an_unreachable_endpoint_is_passed_over_for_longer_each_time() {
    let (load, now) = known(MS);
    load.unreachable(now);
    assert!(load.shunned(now) && !load.shunned(now + SHUN_FIRST));
    let again = now + SHUN_FIRST;
    load.unreachable(again);
    assert!(load.shunned(again + SHUN_FIRST) && !load.shunned(again + 2 * SHUN_FIRST));
    served(&load, again, MS, true);
    assert!(!load.shunned(again));
    load.unreachable(again);
    assert!(!load.shunned(again + SHUN_FIRST), "the count starts over after an answer");
}

#[test]
fn attempts_that_fail_together_count_once() {
    let (load, now) = known(MS);
    (0..20).for_each(|_| load.begin(now).unreached(now));
    assert!(!load.shunned(now + SHUN_FIRST));
    // Requests that were under way when an endpoint died: it is welcome again soon after it has come back.
    let under_way: Vec<_> = (0..20).map(|_| load.begin(now)).collect();
    under_way.into_iter().for_each(|begun| begun.end(now + MS, false, DECAY));
    assert!(load.penalty(now + 10 * FORGIVE, DECAY) < MS, "{:?}", load.penalty(now + 10 * FORGIVE, DECAY));
}

#[test]
fn an_endpoint_that_was_unreachable_is_as_good_as_before_once_it_answers() {
    let (load, now) = known(MS);
    let good = load.score(now, DECAY);
    load.begin(now).unreached(now);
    served(&load, now + SHUN_FIRST, MS, true);
    assert!(load.score(now + SHUN_FIRST + MS, DECAY) <= good * 1.01);
}

/// What can happen to an endpoint: after a pause, a request of some length ends in some way.
#[derive(Debug, Clone, Copy)]
enum End {
    Answered,
    Failed,
    Left,
    Unreachable,
}

proptest! {
    /// Whatever happens, the score is a number, not negative, and comes back to that of a good endpoint.
    #[test]
    fn the_score_is_sound_and_everything_is_forgiven(
        history in prop::collection::vec((0u64..5000, 0u64..30_000, 0u8..4), 0..60),
    ) {
        let mut now = Instant::now();
        let load = Load::new(now);
        for (pause, took, end) in history {
            now += Duration::from_millis(pause);
            let begun = load.begin(now);
            now += Duration::from_millis(took);
            let end = [End::Answered, End::Failed, End::Left, End::Unreachable][usize::from(end)];
            match end {
                End::Answered => begun.end(now, true, DECAY),
                End::Failed => begun.end(now, false, DECAY),
                End::Left => begun.abandon(now),
                End::Unreachable => {
                    begun.unreached(now);
                }
            }
            let score = load.score(now, DECAY);
            prop_assert!(score.is_finite() && score >= 0.0, "{:?}", score);
            prop_assert!(!load.shunned(now + SHUN_MOST));
            prop_assert_eq!(load.pending(), 0);
        }
        let calm = load.score(now + 20 * DECAY, DECAY);
        prop_assert!(calm <= FLOOR + 1e-3, "{}", calm);
    }

    /// The longer an answer takes, the dearer its endpoint is afterwards, and never cheaper than by the peak alone.
    #[test]
    fn slower_is_never_cheaper(a in 1u32..2000, b in 1u32..2000) {
        let score = |took: u32| {
            let (load, now) = known(10 * MS);
            served(&load, now, took * MS, true);
            load.score(now + took * MS, DECAY)
        };
        let (quick, slow) = (a.min(b), a.max(b));
        prop_assert!(score(quick) <= score(slow) * (1.0 + f64::from(slow) / 10_000.0) + 1e-9);
    }
}
