//! When reports count, and what endpoints then weigh.
//!
//! Time is handed in.

use super::*;

fn terms() -> LoadReports {
    LoadReports::default()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn in_force(weights: &Weights) -> Vec<f64> {
    (0..weights.configured.len()).map(|place| weights.of(place)).collect()
}

#[test]
fn a_report_counts_after_the_blackout_and_until_it_expires() {
    let start = Instant::now();
    let reported = Reported::default();
    assert_eq!(reported.capacity(start, &terms()), None);
    reported.note(50.0, start, &terms());
    assert_eq!(reported.capacity(start + seconds(9), &terms()), None, "in the blackout");
    reported.note(60.0, start + seconds(9), &terms());
    assert_eq!(reported.capacity(start + seconds(10), &terms()), Some(60.0));
    assert_eq!(reported.capacity(start + seconds(188), &terms()), Some(60.0));
    assert_eq!(reported.capacity(start + seconds(189), &terms()), None, "expired");
    // Who was silent for so long begins anew.
    reported.note(70.0, start + seconds(200), &terms());
    assert_eq!(reported.capacity(start + seconds(205), &terms()), None);
    assert_eq!(reported.capacity(start + seconds(210), &terms()), Some(70.0));
}

#[test]
fn weights_follow_reports_once_a_second_and_the_silent_follow_the_others() {
    let start = Instant::now();
    let terms = LoadReports { blackout: Duration::ZERO, ..terms() };
    let reported: [Reported; 4] = Default::default();
    let weights = Weights::new([1, 3, 2, 0].into(), Some(terms.clone()));
    let fold = |now| weights.fold(now, |place| &reported[place]);
    reported[0].note(100.0, start, &terms);
    fold(start);
    assert_eq!(in_force(&weights), [1.0, 3.0, 2.0, 0.0], "one report is nothing to compare with");
    reported[1].note(60.0, start, &terms);
    reported[3].note(1000.0, start, &terms);
    fold(start + Duration::from_millis(999));
    assert_eq!(in_force(&weights), [1.0, 3.0, 2.0, 0.0]);
    fold(start + seconds(1));
    // The mean of a unit of weight is (100 + 60) / (1 + 3); who is at 0 stays there.
    assert_eq!(in_force(&weights), [100.0, 60.0, 80.0, 0.0]);
    assert_eq!([weights.share(0), weights.size(2), weights.share(1)], [1.0, 80.0 / 60.0, 0.6]);
    assert_eq!([0, 1, 2, 3].map(|place| weights.whole(place)), [1000, 600, 800, 0]);
    fold(start + seconds(300));
    assert_eq!(in_force(&weights), [1.0, 3.0, 2.0, 0.0], "expired");
}

#[test]
fn without_terms_reports_change_nothing() {
    let weights = Weights::new([2, 5].into(), None);
    weights.fold(Instant::now(), |_| unreachable!("nobody reads reports"));
    assert_eq!((weights.whole(0), weights.whole(1), weights.share(0)), (2, 5, 0.4));
}
