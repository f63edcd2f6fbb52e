//! Rows, rates, times and shares of ejection, without a network.
//!
//! Time is made up; what must hold for all numbers is tested with random ones.

use super::*;
use proptest::prelude::*;
use std::num::NonZeroU32;

fn policy() -> OutlierDetection {
    let secs = Duration::from_secs;
    OutlierDetection {
        gateway_errors: NonZeroU32::new(3),
        local_failures: NonZeroU32::new(2),
        base_time: secs(30),
        max_time: secs(100),
        interval: secs(10),
        ..OutlierDetection::default()
    }
}

#[test]
fn rows_are_counted_apart_and_broken_by_a_good_answer() {
    let (record, policy) = (Record::default(), policy());
    let all = |seen: &[Seen]| seen.iter().filter_map(|seen| record.note(*seen, &policy)).collect::<Vec<_>>();
    use Seen::*;
    assert_eq!(all(&[GatewayError, GatewayError, Good, GatewayError, GatewayError]), []);
    assert_eq!(
        all(&[LocalFailure, GatewayError]),
        [Cause::GatewayErrors],
        "a failure to connect breaks no row of answers"
    );
    assert_eq!(
        all(&[LocalFailure, GatewayError, LocalFailure]),
        [],
        "but an answer breaks a row of failures to connect"
    );
    assert_eq!(all(&[LocalFailure]), [Cause::LocalFailures]);
    assert_eq!(
        all(&[Good, GatewayError, GatewayError, ServerError, GatewayError, GatewayError]),
        [],
        "500 is an answer"
    );
    assert_eq!(all(&[Good]), []);
}

#[test]
fn rows_that_are_off_eject_nobody() {
    let (record, off) =
        (Record::default(), OutlierDetection { gateway_errors: None, local_failures: None, ..policy() });
    for _ in 0..100 {
        assert_eq!(record.note(Seen::GatewayError, &off), None);
        assert_eq!(record.note(Seen::LocalFailure, &off), None);
    }
}

#[test]
fn only_what_the_endpoint_did_counts() {
    assert_eq!(Seen::of(None), Some(Seen::Good));
    assert_eq!(Seen::of(Some(&Failure::Unwelcome(503))), Some(Seen::GatewayError));
    assert_eq!(Seen::of(Some(&Failure::Unwelcome(500))), Some(Seen::ServerError));
    assert_eq!(Seen::of(Some(&Failure::ConnectRefused)), Some(Seen::LocalFailure));
    for innocent in [Failure::ClientGone, Failure::GoAway, Failure::StaleConnection, Failure::RefusedStream] {
        assert_eq!(Seen::of(Some(&innocent)), None, "{innocent}");
    }
}

#[test]
fn one_far_below_the_others_is_found() {
    let rate = SuccessRate::default();
    let mut rates = vec![(1000, 1000); 9];
    rates.push((900, 1000));
    assert_eq!(below(&rates, &rate), [9]);
    assert_eq!(below(&rates[..9], &rate), [0usize; 0], "all are the same");
    assert_eq!(below(&rates[6..], &rate), [0usize; 0], "four are too few to compare");
    rates[9] = (0, 99);
    assert_eq!(below(&rates, &rate), [0usize; 0], "99 requests are too few to judge by");
}

#[test]
fn times_grow_with_each_ejection_up_to_the_longest_and_shrink_with_good_behaviour() {
    let (start, policy) = (Instant::now(), policy());
    let (mark, mut now) = (Mark::new(start), start + Duration::from_secs(1));
    assert!(!mark.is_out(now) && !mark.was_out());
    for expected in [30, 60, 90, 100, 100, 100] {
        let time = mark.eject(Cause::LocalFailures, &policy, now);
        assert_eq!(time.as_secs(), expected);
        assert_eq!(mark.ejection(now).map(|e| (e.cause, e.until)), Some((Cause::LocalFailures, now + time)));
        now += time;
        assert!(!mark.is_out(now), "it is back when its time is over");
    }
    now += policy.interval * 2;
    assert_eq!(mark.eject(Cause::GatewayErrors, &policy, now).as_secs(), 90, "two of four are forgotten");
    now += Duration::from_secs(10_000);
    assert_eq!(mark.eject(Cause::GatewayErrors, &policy, now).as_secs(), 30);
}

proptest! {
    /// Never more than the share, but for the one that always may be out.
    #[test]
    fn the_share_holds(endpoints in 1usize..200, percent in 1u32..=100, asked in 1usize..300) {
        let policy = OutlierDetection { max_percent: percent, ..policy() };
        let out = (0..asked).fold(0, |out, _| out + usize::from(may_eject(out, endpoints, &policy)));
        prop_assert!(out >= 1);
        prop_assert!(out == 1 || out * 100 <= endpoints * percent as usize, "{out} of {endpoints} at {percent} %");
        prop_assert!(out <= endpoints);
    }

    /// An endpoint never stays out longer than the policy says, nor shorter than the base.
    #[test]
    fn times_stay_within_bounds(gaps in prop::collection::vec(0u64..400, 1..40)) {
        let (start, policy) = (Instant::now(), policy());
        let (mark, mut now) = (Mark::new(start), start);
        for gap in gaps {
            now += Duration::from_secs(gap);
            if !mark.is_out(now) {
                let time = mark.eject(Cause::SuccessRate, &policy, now);
                prop_assert!(time >= policy.base_time && time <= policy.max_time);
            }
        }
    }

    /// However rates lie, somebody always stays.
    #[test]
    fn not_all_are_below(rates in prop::collection::vec((0u32..500, 500u32..501), 2..30)) {
        let policy = SuccessRate { min_endpoints: 2, ..SuccessRate::default() };
        prop_assert!(below(&rates, &policy).len() < rates.len());
    }
}
