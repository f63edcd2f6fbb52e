//! Limits and faults of every shape, and what is refused of them.
//!
//! The strategies are used for whole policies, which go through the bytes and back.

use super::*;
use std::num::NonZeroU32;
use weft_model::faults::{Abort, Answer, Delay, Faults};
use weft_model::limits::{Concurrency, Limits, RateKey, RateLimit};

prop_compose! {
    fn any_rate()(
        name in LABEL,
        requests: NonZeroU32,
        per in 1..=u32::MAX,
        burst: NonZeroU32,
        key in prop::sample::select(vec![RateKey::Service, RateKey::Identity, RateKey::Address]),
        matches in vec(any_match(), 0..3),
    ) -> RateLimit { RateLimit { name, requests, per: Duration::from_secs(per.into()), burst, key, matches } }
}

fn any_concurrency() -> impl Strategy<Value = Concurrency> {
    prop_oneof![
        any::<NonZeroU32>().prop_map(|max| Concurrency::Fixed { max }),
        any::<(NonZeroU32, NonZeroU32)>().prop_map(|(a, b)| Concurrency::Adaptive { min: a.min(b), max: a.max(b) }),
    ]
}

prop_compose! {
    pub fn any_limits()(
        rate in vec(any_rate(), 0..3), concurrency in of(any_concurrency()), connections: Option<NonZeroU32>,
    ) -> Limits { Limits { rate, concurrency, connections } }
}

prop_compose! {
    pub fn any_faults()(
        delay in of((1u32..=100, any_duration())),
        abort in of((1u32..=100, prop_oneof![
            (400u16..=599).prop_map(Answer::Status),
            (1u16..=16).prop_map(Answer::GrpcStatus),
        ])),
        matches in vec(any_match(), 0..3),
    ) -> Faults {
        let delay = delay.map(|(percent, duration)| Delay { percent, duration });
        Faults { delay, abort: abort.map(|(percent, answer)| Abort { percent, answer }), matches }
    }
}

#[test]
fn limits_of_nothing_are_refused() {
    let good = v1::RateLimit { name: "a".into(), requests: 1, per_seconds: 1, burst: 1, ..Default::default() };
    let refused = |limit: v1::RateLimit| RateLimit::try_from(limit).unwrap_err().field;
    assert!(RateLimit::try_from(good.clone()).is_ok());
    assert_eq!(refused(v1::RateLimit { requests: 0, ..good.clone() }), "requests");
    assert_eq!(refused(v1::RateLimit { per_seconds: 0, ..good.clone() }), "per_seconds");
    assert_eq!(refused(v1::RateLimit { burst: 0, ..good.clone() }), "burst");
    assert_eq!(refused(v1::RateLimit { name: "A b".into(), ..good }), "name");
    let concurrency = |max, adaptive_min| Concurrency::try_from(v1::Concurrency { max, adaptive_min });
    assert_eq!(concurrency(0, 0).unwrap_err().field, "max");
    assert_eq!(concurrency(1, 2).unwrap_err().field, "adaptive_min");
}

#[test]
fn faults_beyond_reason_are_refused() {
    let refused = |wire: v1::Faults| Faults::try_from(wire).unwrap_err().field;
    assert_eq!(refused(v1::Faults { delay_percent: 101, delay_us: 1, ..Default::default() }), "delay_percent");
    assert_eq!(refused(v1::Faults { delay_percent: 1, ..Default::default() }), "delay_us");
    assert_eq!(refused(v1::Faults { abort_percent: 1, ..Default::default() }), "answer");
    let answer = Some(v1::faults::Answer::Status(200));
    assert_eq!(refused(v1::Faults { abort_percent: 1, answer, ..Default::default() }), "status");
}
