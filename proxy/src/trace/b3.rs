//! B3, Zipkin's headers: `b3`, or one `x-b3-...` for each part.
//!
//! Two of the forms that `trace` reads. Trace identifiers have 16 or 32 digits; a decision may come without any identifier.
//! What is malformed says nothing.

use super::parent::{Decision, Parent, Said};
use crate::hex;
use crate::request::RequestView;
use std::num::{NonZeroU64, NonZeroU128};

pub(super) const SINGLE: &str = "b3";
/// Trace, span, parent span, sampled, flags.
pub(super) const MULTI: [&str; 5] = ["x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"];

/// What `b3` says; `None`: it is not there.
pub(super) fn read_single(request: &impl RequestView) -> Option<Said> {
    only(request, SINGLE, |value| parse(value).unwrap_or_default())
}

/// What the single parts say; `None`: none of them is there.
pub(super) fn read_multi(request: &impl RequestView) -> Option<Said> {
    let [trace, span, _, sampled, flags] = MULTI;
    // Whoever sends identifiers sends this one; whoever sends a decision alone sends one of the other two.
    let trace = only(request, trace, trace_id);
    let sampled = only(request, sampled, |value| match value {
        b"1" | b"true" => Some(Decision::Record),
        b"0" | b"false" => Some(Decision::Drop),
        _ => None,
    });
    let debug = only(request, flags, |value| (value == b"1").then_some(Decision::Debug));
    if trace.is_none() && sampled.is_none() && debug.is_none() {
        return None;
    }
    let span = only(request, span, span_id).flatten();
    let parent = trace.flatten().zip(span).map(|(trace, span)| Parent { trace, span });
    let decision = debug.flatten().or(sampled.flatten());
    // Identifiers that cannot be read take the decision with them: it was about another trace.
    Some(if trace.is_some() && parent.is_none() { Said::default() } else { Said { parent, decision } })
}

/// The one value of a field, read by `parse`; what is there twice says as little as what is malformed.
fn only<T: Default>(request: &impl RequestView, name: &str, parse: impl Fn(&[u8]) -> T) -> Option<T> {
    let (mut found, mut value) = (0, T::default());
    request.headers(name, &mut |text| {
        found += 1;
        value = parse(text);
        found > 1
    });
    match found {
        0 => None,
        1 => Some(value),
        _ => Some(T::default()),
    }
}

fn parse(value: &[u8]) -> Option<Said> {
    let mut parts = value.split(|byte| *byte == b'-');
    let first = parts.next()?;
    let Some(second) = parts.next() else {
        return Some(Said { parent: None, decision: Some(decision(first)?) });
    };
    let parent = Parent { trace: trace_id(first)?, span: span_id(second)? };
    let said = parts.next().map(|flag| decision(flag).ok_or(())).transpose().ok()?;
    if let Some(grand) = parts.next() {
        hex::number(grand, 16)?;
    }
    parts.next().is_none().then_some(Said { parent: Some(parent), decision: said })
}

fn decision(flag: &[u8]) -> Option<Decision> {
    match flag {
        b"0" => Some(Decision::Drop),
        b"1" => Some(Decision::Record),
        b"d" => Some(Decision::Debug),
        _ => None,
    }
}

fn trace_id(text: &[u8]) -> Option<NonZeroU128> {
    NonZeroU128::new(hex::number(text, 32).or_else(|| hex::number(text, 16))?)
}

fn span_id(text: &[u8]) -> Option<NonZeroU64> {
    NonZeroU64::new(u64::try_from(hex::number(text, 16)?).ok()?)
}
