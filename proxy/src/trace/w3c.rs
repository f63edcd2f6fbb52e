//! `traceparent` and `tracestate` as W3C Trace Context (level 1, and what level 2 allows) has them.
//!
//! One form of the headers that `trace` reads. A version that is not known is read as far as version 00 goes (section 4.3);
//! anything that is not exactly right says nothing, as the specification asks for.

use super::parent::{Decision, Parent, Said};
use crate::hex;
use crate::request::RequestView;
use std::num::{NonZeroU64, NonZeroU128};

pub(super) const TRACEPARENT: &str = "traceparent";
pub(super) const TRACESTATE: &str = "tracestate";

/// Length of version 00.
const LENGTH: usize = 55;
/// Most entries of `tracestate` (section 3.3.1.1).
const MOST_MEMBERS: usize = 32;
/// Beyond this it is dropped; 512 have to be passed on.
const MOST_STATE: usize = 8 * 1024;

/// What `traceparent` says; `None`: it is not there.
pub(super) fn read(request: &impl RequestView) -> Option<Said> {
    let (mut found, mut said) = (0, Said::default());
    request.headers(TRACEPARENT, &mut |value| {
        found += 1;
        said = parse(value).unwrap_or_default();
        found > 1
    });
    match found {
        0 => None,
        1 => Some(said),
        // Two callers cannot both be the parent.
        _ => Some(Said::default()),
    }
}

/// `traceparent` of version 00; `records`: the last digit of its flags.
pub(super) fn written(trace: &[u8; 32], span: &[u8; 16], records: u8) -> [u8; LENGTH] {
    let mut value = [b'0'; LENGTH];
    for dash in [2, 35, 52] {
        value[dash] = b'-';
    }
    value[3..35].copy_from_slice(trace);
    value[36..52].copy_from_slice(span);
    value[LENGTH - 1] = records;
    value
}

fn parse(value: &[u8]) -> Option<Said> {
    let (version, rest) = value.split_at_checked(2)?;
    let version = hex::number(version, 2)?;
    let known = value.len() == LENGTH;
    // Later versions may add fields behind a dash.
    let later = version != 0 && value.len() > LENGTH && value[LENGTH] == b'-';
    if version == 0xff || !(known || later) || [0, 33, 50].iter().any(|at| rest[*at] != b'-') {
        return None;
    }
    let trace = NonZeroU128::new(hex::number(&rest[1..33], 32)?)?;
    let span = NonZeroU64::new(u64::try_from(hex::number(&rest[34..50], 16)?).ok()?)?;
    let flags = hex::number(&rest[51..53], 2)?;
    Some(Said { parent: Some(Parent { trace, span }), decision: Some(Decision::of(flags & 1 == 1)) })
}

/// Whether `tracestate` can be passed on: no more entries and bytes than allowed, each with a key.
pub(super) fn state_is_sound(request: &impl RequestView) -> bool {
    let (mut members, mut bytes, mut sound) = (0, 0, true);
    request.headers(TRACESTATE, &mut |value| {
        bytes += value.len();
        for member in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty()) {
            members += 1;
            sound &= is_member(member);
        }
        sound &= members <= MOST_MEMBERS && bytes <= MOST_STATE;
        !sound
    });
    sound
}

fn is_member(member: &[u8]) -> bool {
    let Some(at) = member.iter().position(|byte| *byte == b'=') else { return false };
    let (key, value) = (&member[..at], &member[at + 1..]);
    let in_key = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(byte);
    let in_value = |byte: &u8| (0x20..0x7f).contains(byte) && *byte != b'=';
    let begins = key.first().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    begins
        && key.len() <= 256
        && key.iter().all(in_key)
        && (1..=256).contains(&value.len())
        && value.iter().all(in_value)
}

/// All `tracestate` fields as one, if there are any that can be passed on.
pub(super) fn state(request: &impl RequestView) -> Option<String> {
    if !state_is_sound(request) {
        return None;
    }
    let mut all = String::new();
    request.headers(TRACESTATE, &mut |value| {
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(&String::from_utf8_lossy(value));
        false
    });
    (!all.is_empty()).then_some(all)
}
