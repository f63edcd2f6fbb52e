//! The hot-cold rule, and how answers come and go.
//!
//! Time is handed in; every property holds for any answers.

use super::*;
use proptest::prelude::*;

fn probe(in_flight: u32, milliseconds: u64) -> Probe {
    Probe { in_flight, latency: Duration::from_millis(milliseconds) }
}

fn pool(n: usize, probes: &[(usize, Probe)], now: Instant) -> Prequal {
    let prequal = Prequal::new(n, 3);
    probes.iter().for_each(|(place, probe)| prequal.answered(*place, 1.0, 0.0, *probe, now));
    prequal
}

fn choose(prequal: &Prequal, now: Instant) -> Option<usize> {
    prequal.choose(&|_| true, &|_| 0.0, &|_| Duration::ZERO, now)
}

#[test]
fn of_the_cold_the_quickest_is_chosen_and_of_the_hot_the_least_busy() {
    let now = Instant::now();
    // Eleven of the twelve are cold: the quantile is among them.
    let mut answers = vec![(0, probe(2, 30)), (1, probe(3, 10)), (2, probe(3, 20)), (3, probe(9, 1))];
    answers.extend((5..13).map(|place| (place, probe(3, 40))));
    let prequal = pool(100, &answers, now);
    assert_eq!(choose(&prequal, now), Some(1), "3 is quicker, but hot");
    let usable = |place: usize| place == 3 || place == 4;
    answers.push((4, probe(12, 1)));
    let prequal = pool(100, &answers, now);
    assert_eq!(prequal.choose(&usable, &|_| 0.0, &|_| Duration::ZERO, now), Some(3), "both are hot");
}

#[test]
fn answers_grow_old_are_used_up_and_have_to_be_two() {
    let now = Instant::now();
    let prequal = pool(1000, &[(0, probe(0, 1))], now);
    assert_eq!(choose(&prequal, now), None, "one answer is no choice");
    prequal.answered(1, 1.0, 0.0, probe(0, 2), now);
    assert_eq!(choose(&prequal, now + AGE), None, "too old");
    let prequal = pool(1000, &[(0, probe(0, 1)), (1, probe(0, 2))], now);
    let chosen: Vec<_> = (0..4).map(|_| choose(&prequal, now)).collect();
    assert!(chosen.iter().flatten().count() < 4, "an answer is used twice at most: {chosen:?}");
}

#[test]
fn the_pool_is_the_papers_and_in_a_small_service_a_part_of_the_service() {
    let sizes = [3, 10, 20, 64, 100].map(|n| Prequal::new(n, 3).size);
    assert_eq!(sizes, [2, 2, 5, 16, 16]);
    // The paper's own: 2 / ((1 - 16 / 100) * 3 - 1).
    assert!((Prequal::new(100, 3).uses - 2.0 / 1.52).abs() < 1e-9);
    assert_eq!(Prequal::new(3, 3).uses, REUSED, "too few answers to say");
    let prequal = Prequal::new(100, 3);
    let now = Instant::now();
    (0..100).for_each(|place| prequal.answered(place % POOL, 1.0, 0.0, probe(0, 1), now));
    let uses = prequal.answers.borrow().iter().map(|answer| answer.uses).sum::<u32>();
    assert!((20..=22).contains(&uses), "1.3 times 16: {uses}");
}

#[test]
fn who_fails_fast_attracts_nothing() {
    let now = Instant::now();
    let prequal = pool(100, &[(0, probe(0, 0)), (1, probe(0, 20))], now);
    let penalty = |place: usize| Duration::from_millis(if place == 0 { 500 } else { 0 });
    assert_eq!(prequal.choose(&|_| true, &|_| 0.0, &penalty, now), Some(1));
}

#[test]
fn what_has_been_sent_since_counts() {
    let now = Instant::now();
    let prequal = pool(100, &[(0, probe(0, 1)), (1, probe(1, 2)), (2, probe(1, 3))], now);
    assert_eq!(choose(&prequal, now), Some(0));
    let own = |place: usize| if place == 0 { 2.0 } else { 0.0 };
    assert_eq!(prequal.choose(&|_| true, &own, &|_| Duration::ZERO, now), Some(1), "hot by what is on its way");
}

proptest! {
    #[test]
    fn whoever_is_chosen_is_usable_and_no_cold_one_is_quicker(
        answers in prop::collection::vec((0usize..20, 0u32..30, 0u64..100), 0..40),
        unusable in prop::collection::btree_set(0usize..20, 0..10),
        probes in 1u32..10,
    ) {
        let now = Instant::now();
        let prequal = Prequal::new(20, probes);
        answers.iter().for_each(|(place, in_flight, ms)| prequal.answered(*place, 1.0, 0.0, probe(*in_flight, *ms), now));
        prop_assert!(prequal.answers.borrow().len() <= prequal.size);
        let usable = |place: usize| !unusable.contains(&place);
        let before: Vec<Answer> = prequal.answers.borrow().iter().filter(|a| usable(a.place)).copied().collect();
        let hot = prequal.hot();
        let chosen = prequal.choose(&usable, &|_| 0.0, &|_| Duration::ZERO, now);
        prop_assert_eq!(chosen.is_some(), before.len() > 1);
        if let Some(chosen) = before.iter().find(|answer| Some(answer.place) == chosen) {
            let better = |a: &&Answer| a.load <= hot && (chosen.load > hot || a.latency < chosen.latency);
            prop_assert!(before.iter().find(better).is_none());
        }
    }
}
