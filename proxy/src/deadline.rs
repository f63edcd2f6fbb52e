//! When a request has to be over, as its client says: `grpc-timeout` (gRPC over HTTP/2 protocol) or `x-request-deadline`.
//!
//! Pure. Read before anything else is decided about a request, at the client's side and at the server's. Of two deadlines
//! the earlier one holds. What cannot be read is no deadline and is passed on as it came: the application judges it.

use crate::request::RequestView;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What is left, in the client's words: up to 8 digits and a unit.
pub const GRPC_TIMEOUT: &str = "grpc-timeout";
/// The moment itself: seconds since 1970-01-01T00:00:00Z, with up to 9 digits after the point.
pub const ABSOLUTE: &str = "x-request-deadline";

/// The most that 8 digits can say.
const MOST: u128 = 99_999_999;
/// Units of `grpc-timeout` in nanoseconds.
const UNITS: [(u8, u128); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60 * 1_000_000_000),
    (b'H', 3600 * 1_000_000_000),
];
/// Digits of the longest moment: the year 5138. Milliseconds by mistake have more.
const SECONDS_DIGITS: usize = 11;
const FRACTION_DIGITS: usize = 9;

/// The end of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    pub at: Instant,
    /// The request has a `grpc-timeout`, which has to tell the endpoint what is left until then.
    told: Option<Instant>,
}

impl Deadline {
    /// The deadline that `request` carries; `wall` is asked only for one that needs a clock.
    pub fn of(request: &impl RequestView, now: Instant, wall: impl FnOnce() -> SystemTime) -> Option<Self> {
        let relative = only(request, GRPC_TIMEOUT, timeout).and_then(|left| now.checked_add(left));
        let absolute = only(request, ABSOLUTE, since_epoch).and_then(|moment| {
            let passed = wall().duration_since(UNIX_EPOCH).unwrap_or_default();
            now.checked_add(moment.saturating_sub(passed))
        });
        let at = relative.into_iter().chain(absolute).min()?;
        Some(Self { at, told: relative.map(|_| at) })
    }

    /// The same for an endpoint that need not be told of more than `limit`, which its proxy waits at most.
    pub fn within(self, now: Instant, limit: Option<Duration>) -> Self {
        let end = limit.and_then(|limit| now.checked_add(limit)).unwrap_or(self.at);
        Self { told: self.told.map(|told| told.min(end)), ..self }
    }

    /// The same where a rule of its own says what the endpoint is told.
    pub fn untold(self) -> Self {
        Self { told: None, ..self }
    }

    pub fn passed(&self, now: Instant) -> bool {
        self.at <= now
    }

    /// What the endpoint is told in `grpc-timeout`, if the client has said anything there.
    pub fn grpc_timeout(&self, now: Instant) -> Option<String> {
        self.told.map(|until| words(until.saturating_duration_since(now)))
    }
}

/// The field's value, if it is there once and can be read.
fn only(request: &impl RequestView, name: &str, read: fn(&[u8]) -> Option<Duration>) -> Option<Duration> {
    let (mut found, mut lines) = (None, 0);
    request.headers(name, &mut |value| {
        lines += 1;
        found = read(value);
        lines > 1
    });
    found.filter(|_| lines == 1)
}

fn timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    let (_, nanos) = UNITS.iter().find(|(letter, _)| letter == unit)?;
    let nanos = u128::from(number(digits, 8)?) * nanos;
    Some(Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32))
}

fn since_epoch(value: &[u8]) -> Option<Duration> {
    let (seconds, fraction) = match value.iter().position(|byte| *byte == b'.') {
        Some(point) => (&value[..point], Some(&value[point + 1..])),
        None => (value, None),
    };
    let seconds = number(seconds, SECONDS_DIGITS)?;
    let nanos = match fraction {
        // Below 10^9, so it fits.
        Some(digits) => number(digits, FRACTION_DIGITS)? as u32 * 10u32.pow((FRACTION_DIGITS - digits.len()) as u32),
        None => 0,
    };
    Some(Duration::new(seconds, nanos))
}

/// One to `most` digits and nothing else.
fn number(digits: &[u8], most: usize) -> Option<u64> {
    let valid = (1..=most).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    valid.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// In the finest unit that 8 digits have room for, rounded down: nobody works past the deadline.
fn words(left: Duration) -> String {
    let nanos = left.as_nanos();
    let fits = |(_, unit): &&(u8, u128)| nanos / unit <= MOST;
    let (letter, unit) = UNITS.iter().find(fits).unwrap_or(&UNITS[UNITS.len() - 1]);
    format!("{}{}", (nanos / unit).min(MOST), char::from(*letter))
}

#[cfg(test)]
#[path = "deadline_tests.rs"]
mod tests;
