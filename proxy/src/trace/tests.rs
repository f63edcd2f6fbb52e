//! What headers make of a request's trace: every form, every way to get them wrong, and what is written in answer.
//!
//! Tables of what is sound and what is not, and properties for whatever comes.

use super::*;
use crate::config::Sampling;
use proptest::prelude::*;
use weft_model::explain::Imagined;

const ALL: [Form; 3] = [Form::TraceContext, Form::B3, Form::B3Multi];
const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const SPAN: u64 = 0x00f0_67aa_0ba9_02b7;

fn request(headers: &[(&str, &str)]) -> Imagined {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    imagined(headers)
}

fn imagined(headers: Vec<(String, String)>) -> Imagined {
    let (method, host, path, query) = Default::default();
    Imagined { method, host, port: 80, path, query, headers }
}

fn said(headers: &[(&str, &str)]) -> (Option<(u128, u64)>, Option<Decision>) {
    let incoming = read(&request(headers), &ALL);
    (incoming.parent.map(|parent| (parent.trace.get(), parent.span.get())), incoming.decision)
}

fn written(headers: &[(&str, &str)], decision: Decision) -> Vec<String> {
    let incoming = read(&request(headers), &ALL);
    let trace = incoming.parent.map_or(7, |parent| parent.trace.get());
    let mut lines = Vec::new();
    let parent = incoming.parent.map(|parent| parent.span.get());
    let out = incoming.onward(trace, 0xab, parent, decision, Form::TraceContext);
    out.write(|name, value| lines.push(format!("{name}: {}", value.escape_ascii())));
    lines
}

#[test]
fn a_parent_is_read_in_every_form() {
    let parent = Some((TRACE, SPAN));
    let (trace, span) = (format!("{TRACE:032x}"), format!("{SPAN:016x}"));
    let w3c = |flags: &str| said(&[("traceparent", &format!("00-{trace}-{span}-{flags}"))]);
    assert_eq!(w3c("01"), (parent, Some(Decision::Record)));
    assert_eq!(w3c("00"), (parent, Some(Decision::Drop)));
    assert_eq!(w3c("03"), (parent, Some(Decision::Record)), "flags that are not known yet");
    let b3 = |rest: &str| said(&[("b3", &format!("{trace}-{span}{rest}"))]);
    assert_eq!(b3(""), (parent, None), "deferred");
    assert_eq!(b3("-1"), (parent, Some(Decision::Record)));
    assert_eq!(b3("-0-00f067aa0ba902b8"), (parent, Some(Decision::Drop)));
    assert_eq!(b3("-d"), (parent, Some(Decision::Debug)));
    assert_eq!(said(&[("b3", "0")]), (None, Some(Decision::Drop)));
    assert_eq!(said(&[("b3", "a3ce929d0e0e4736-00f067aa0ba902b7-1")]).0, Some((0xa3ce_929d_0e0e_4736, SPAN)));
    let multi = |more: &[(&str, &str)]| said(&[&[("x-b3-traceid", &*trace), ("x-b3-spanid", &*span)], more].concat());
    assert_eq!(multi(&[]), (parent, None));
    assert_eq!(multi(&[("x-b3-sampled", "1")]), (parent, Some(Decision::Record)));
    assert_eq!(multi(&[("x-b3-flags", "1")]), (parent, Some(Decision::Debug)));
    assert_eq!(said(&[("x-b3-sampled", "0")]), (None, Some(Decision::Drop)));
}

#[test]
fn what_is_malformed_says_nothing() {
    let sound = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
    for bad in [
        "",
        "00",
        "00-",
        zeros,
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
        "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
        "00-4bf92f3577b34da6a3ce929d0e0e47361-0f067aa0ba902b7-01",
    ] {
        assert_eq!(said(&[("traceparent", bad)]), (None, None), "{bad:?}");
    }
    assert_eq!(said(&[("traceparent", sound), ("traceparent", sound)]), (None, None), "twice");
    for later in ["cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", &format!("01{}-what", &sound[2..])] {
        assert_eq!(said(&[("traceparent", later)]), (Some((TRACE, SPAN)), Some(Decision::Record)), "{later}");
    }
    for bad in
        ["", "2", "x-y", "4bf92f3577b34da6-00f067aa0ba902b7-2", "4bf92f3577b34da6-00f067aa0ba902b7-1-zz", "1-2-3-4-5"]
    {
        assert_eq!(said(&[("b3", bad)]), (None, None), "{bad:?}");
    }
    let short = [("x-b3-traceid", "4bf9"), ("x-b3-spanid", "00f067aa0ba902b7"), ("x-b3-sampled", "1")];
    assert_eq!(said(&short), (None, None));
}

#[test]
fn the_answer_has_the_form_of_the_question() {
    let new = format!("traceparent: 00-{:032x}-00000000000000ab-01", 7);
    assert_eq!(written(&[], Decision::Record), [&*new]);
    assert_eq!(written(&[("traceparent", "nonsense")], Decision::Record), [new]);
    let b3 = ("b3", "a3ce929d0e0e4736-00f067aa0ba902b7-d");
    let single = "b3: 0000000000000000a3ce929d0e0e4736-00000000000000ab-d-00f067aa0ba902b7";
    assert_eq!(written(&[b3], Decision::Debug), [single]);
    assert_eq!(written(&[("b3", "1")], Decision::Record), [format!("b3: {:032x}-00000000000000ab-1", 7)]);
    let multi = [("x-b3-traceid", "a3ce929d0e0e4736"), ("x-b3-spanid", "00f067aa0ba902b7")];
    assert_eq!(
        written(&multi, Decision::Drop),
        [
            "x-b3-traceid: 0000000000000000a3ce929d0e0e4736",
            "x-b3-spanid: 00000000000000ab",
            "x-b3-parentspanid: 00f067aa0ba902b7",
            "x-b3-sampled: 0"
        ]
    );
    let both = [("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), b3];
    let lines = written(&both, Decision::Record);
    assert!(
        lines.len() == 2 && lines.iter().all(|line| line.contains("4bf92f3577b34da6a3ce929d0e0e4736")),
        "{lines:?}"
    );
}

#[test]
fn tracestate_goes_on_with_its_trace_or_not_at_all() {
    let sound = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let dropped = |headers: &[(&str, &str)]| {
        let out = read(&request(headers), &ALL).onward(1, 2, None, Decision::Record, Form::TraceContext);
        out.replaced().any(|name| name == "tracestate")
    };
    let many = |n: usize| (0..n).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
    assert!(!dropped(&[sound, ("tracestate", "a=1,b@c=2"), ("tracestate", "d=3, ,e=4")]));
    assert!(!dropped(&[sound, ("tracestate", &many(32))]));
    assert!(dropped(&[("traceparent", "nonsense"), ("tracestate", "a=1")]));
    for bad in [&*many(33), "novalue", "A=1", "=1", "a=", "a=b=c", &format!("a={}", "x".repeat(257))] {
        assert!(dropped(&[sound, ("tracestate", bad)]), "{bad}");
    }
}

#[test]
fn samplers_follow_the_caller_or_the_trace() {
    let sampler = |ratio, parent_based| Sampler::new(Sampling { ratio, parent_based });
    assert_eq!(sampler(0.0, true).decide(Some(Decision::Record), 1), Decision::Record);
    assert_eq!(sampler(1.0, true).decide(Some(Decision::Drop), 1), Decision::Drop);
    assert_eq!(sampler(1.0, false).decide(Some(Decision::Drop), 1), Decision::Record);
    assert_eq!(sampler(0.0, false).decide(Some(Decision::Debug), 1), Decision::Debug);
    for trace in [0, 1, u128::MAX] {
        assert_eq!(sampler(1.0, true).decide(None, trace), Decision::Record);
        assert_eq!(sampler(0.0, true).decide(None, trace), Decision::Drop);
    }
    let mut random = fastrand::Rng::with_seed(1);
    let hit = (0..100_000).filter(|_| sampler(0.01, true).decide(None, random.u128(..)).records()).count();
    assert!((800..1200).contains(&hit), "{hit} of 100000 at 1 %");
}

proptest! {
    #[test]
    fn whatever_comes_is_read_without_a_fault(
        name in prop::sample::select(vec!["traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled"]),
        value in "[0-9a-fA-FgxX=, -]{0,80}",
    ) {
        let incoming = read(&request(&[(name, &value)]), &ALL);
        // What is written can be read again and says the same.
        let out = incoming.onward(TRACE, SPAN, None, Decision::Record, Form::TraceContext);
        let mut lines: Vec<(String, String)> = Vec::new();
        out.write(|name, value| lines.push((name.to_owned(), value.escape_ascii().to_string())));
        let again = imagined(lines);
        let parent = read(&again, &ALL).parent.map(|parent| (parent.trace.get(), parent.span.get()));
        prop_assert_eq!(parent, Some((TRACE, SPAN)));
    }

    #[test]
    fn what_is_written_is_what_is_read(trace in 1u128.., span in 1u64.., records: bool) {
        for form in ALL {
            let out = Incoming::default().onward(trace, span, None, Decision::of(records), form);
            let mut lines: Vec<(String, String)> = Vec::new();
            out.write(|name, value| lines.push((name.to_owned(), value.escape_ascii().to_string())));
            let read = read(&imagined(lines), &ALL);
            let parent = read.parent.map(|parent| (parent.trace.get(), parent.span.get()));
            prop_assert_eq!((parent, read.decision), (Some((trace, span)), Some(Decision::of(records))));
        }
    }
}
