//! Deadlines as clients write them, and as endpoints are told of them.
//!
//! The wall clock is handed in: it shows 1,000 seconds past the epoch.

use super::*;
use proptest::prelude::*;

/// A request with these fields and nothing else.
struct Fields(Vec<(&'static str, String)>);

impl RequestView for Fields {
    fn method(&self) -> &str {
        "GET"
    }

    fn host(&self) -> &str {
        ""
    }

    fn path(&self) -> &str {
        "/"
    }

    fn query(&self) -> &str {
        ""
    }

    fn headers(&self, name: &str, each: &mut dyn FnMut(&[u8]) -> bool) {
        for (_, value) in self.0.iter().filter(|(given, _)| *given == name) {
            if each(value.as_bytes()) {
                break;
            }
        }
    }

    fn fields(&self, _: &mut dyn FnMut(&str, &[u8])) {}
}

/// What is left at 1,000 s past the epoch.
fn left(fields: &[(&'static str, &str)]) -> Option<Duration> {
    let request = Fields(fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect());
    let now = Instant::now();
    let deadline = Deadline::of(&request, now, || UNIX_EPOCH + Duration::from_secs(1000))?;
    Some(deadline.at.duration_since(now))
}

#[test]
fn every_unit_of_grpc_is_understood() {
    let table = [
        ("1H", Duration::from_secs(3600)),
        ("2M", Duration::from_secs(120)),
        ("3S", Duration::from_secs(3)),
        ("4m", Duration::from_millis(4)),
        ("5u", Duration::from_micros(5)),
        ("6n", Duration::from_nanos(6)),
        ("00000007S", Duration::from_secs(7)),
        ("0n", Duration::ZERO),
    ];
    for (value, expected) in table {
        assert_eq!(left(&[(GRPC_TIMEOUT, value)]), Some(expected), "{value}");
    }
}

#[test]
fn a_moment_is_seconds_since_the_epoch() {
    let table = [
        ("1001", Duration::from_secs(1)),
        ("1000.25", Duration::from_millis(250)),
        ("1000.000000001", Duration::from_nanos(1)),
        ("999.9", Duration::ZERO),
        ("0", Duration::ZERO),
    ];
    for (value, expected) in table {
        assert_eq!(left(&[(ABSOLUTE, value)]), Some(expected), "{value}");
    }
}

#[test]
fn what_cannot_be_read_is_no_deadline() {
    for value in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", " 1S", "123456789S", "1SS", "1 S", "\u{661}S"] {
        assert_eq!(left(&[(GRPC_TIMEOUT, value)]), None, "{value:?}");
    }
    for value in ["", ".", "1000.", ".5", "-1", "1e3", "1000.0000000001", "1732191730250000", "2026-01-01T00:00:00Z"] {
        assert_eq!(left(&[(ABSOLUTE, value)]), None, "{value:?}");
    }
    assert_eq!(left(&[(GRPC_TIMEOUT, "1S"), (GRPC_TIMEOUT, "2S")]), None);
    assert_eq!(left(&[]), None);
}

#[test]
fn of_two_deadlines_the_earlier_holds() {
    assert_eq!(left(&[(GRPC_TIMEOUT, "2S"), (ABSOLUTE, "1001")]), Some(Duration::from_secs(1)));
    assert_eq!(left(&[(GRPC_TIMEOUT, "1S"), (ABSOLUTE, "1002")]), Some(Duration::from_secs(1)));
    // One that cannot be read takes nothing from the other.
    assert_eq!(left(&[(GRPC_TIMEOUT, "soon"), (ABSOLUTE, "1001")]), Some(Duration::from_secs(1)));
}

#[test]
fn an_endpoint_is_told_what_is_left_where_the_client_said_so() {
    let now = Instant::now();
    let of = |fields| Deadline::of(&Fields(fields), now, SystemTime::now).unwrap();
    let said = of(vec![(GRPC_TIMEOUT, "1S".to_owned())]);
    assert_eq!(said.grpc_timeout(now).as_deref(), Some("1000000u"));
    assert_eq!(said.grpc_timeout(now + Duration::from_millis(990)).as_deref(), Some("10000000n"));
    assert_eq!(said.grpc_timeout(now + Duration::from_secs(2)).as_deref(), Some("0n"));
    // Nor is it told of more than its proxy waits.
    let bounded = said.within(now, Some(Duration::from_millis(50)));
    assert_eq!((bounded.at, bounded.grpc_timeout(now).as_deref()), (said.at, Some("50000000n")));
    assert_eq!(said.untold().grpc_timeout(now), None);
    let unsaid = of(vec![(ABSOLUTE, "99999999999".to_owned())]);
    assert_eq!(unsaid.grpc_timeout(now), None);
}

proptest! {
    /// Whoever reads what an endpoint is told never takes it for more than what is left, nor for much less.
    #[test]
    fn what_is_told_is_what_is_left(nanos in 0u64..) {
        let left = Duration::from_nanos(nanos);
        let told = timeout(words(left).as_bytes()).unwrap();
        prop_assert!(told <= left, "{told:?} for {left:?}");
        prop_assert!(left - told <= left / 100_000, "{told:?} for {left:?}");
    }

    #[test]
    fn no_value_is_too_odd(value: Vec<u8>) {
        let _ = (timeout(&value), since_epoch(&value));
    }
}
