//! Which trace a request belongs to: what its headers say, whether it is recorded, and what is written for the next hop.
//!
//! Pure, below the stories. Reading never fails: headers that are malformed or contradict each other are as if they were not
//! there, and a new trace begins. A request is answered in the forms it came in, and in the first configured one if in none.

mod b3;
mod parent;
mod sample;
mod w3c;

pub use parent::{Decision, Parent};
pub use sample::Sampler;

use crate::config::Form;
use crate::hex::{digits, wide_digits};
use crate::request::RequestView;

/// A set of forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forms(u8);

impl Forms {
    fn with(self, form: Form) -> Self {
        Self(self.0 | 1 << form as u8)
    }

    pub fn contains(self, form: Form) -> bool {
        self.0 & 1 << form as u8 != 0
    }
}

/// What the headers of a request say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Incoming {
    pub parent: Option<Parent>,
    pub decision: Option<Decision>,
    /// Those whose headers are there, sound or not.
    forms: Forms,
    /// `tracestate` belongs to no trace that goes on, or cannot be read.
    drop_state: bool,
}

/// Reads the headers of `request`. Of several forms the first of `forms` counts that says anything.
pub fn read(request: &impl RequestView, forms: &[Form]) -> Incoming {
    let mut incoming = Incoming::default();
    for form in forms {
        let found = match form {
            Form::TraceContext => w3c::read(request),
            Form::B3 => b3::read_single(request),
            Form::B3Multi => b3::read_multi(request),
        };
        let Some(said) = found else { continue };
        incoming.forms = incoming.forms.with(*form);
        if *form == Form::TraceContext {
            incoming.drop_state = said.parent.is_none() || !w3c::state_is_sound(request);
        }
        if incoming.parent.is_none() && incoming.decision.is_none() {
            (incoming.parent, incoming.decision) = (said.parent, said.decision);
        }
    }
    incoming
}

/// What the next hop is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing {
    pub trace: u128,
    /// The span that the next hop's is a child of.
    pub span: u64,
    /// Of that span.
    pub parent: Option<u64>,
    pub decision: Decision,
    forms: Forms,
    drop_state: bool,
}

impl Incoming {
    /// The trace goes on, or begins, at the span `span`, whose parent is `parent`.
    pub fn onward(&self, trace: u128, span: u64, parent: Option<u64>, decision: Decision, first: Form) -> Outgoing {
        let forms = if self.forms == Forms::default() { Forms::default().with(first) } else { self.forms };
        Outgoing { trace, span, parent, decision, forms, drop_state: self.drop_state }
    }
}

impl Outgoing {
    /// The header fields that must not be passed on as they came.
    pub fn replaced(&self) -> impl Iterator<Item = &'static str> {
        let has = |form| self.forms.contains(form);
        let w3c = has(Form::TraceContext).then_some(w3c::TRACEPARENT);
        let state = (has(Form::TraceContext) && self.drop_state).then_some(w3c::TRACESTATE);
        let single = has(Form::B3).then_some(b3::SINGLE);
        let multi = if has(Form::B3Multi) { &b3::MULTI[..] } else { &[] };
        w3c.into_iter().chain(state).chain(single).chain(multi.iter().copied())
    }

    /// Gives `line` each header field, name and value.
    pub fn write(&self, mut line: impl FnMut(&'static str, &[u8])) {
        let records = b'0' + u8::from(self.decision.records());
        let (trace, span) = (wide_digits(self.trace), digits(self.span));
        if self.forms.contains(Form::TraceContext) {
            line(w3c::TRACEPARENT, &w3c::written(&trace, &span, records));
        }
        if self.forms.contains(Form::B3) {
            let flag = if self.decision == Decision::Debug { b'd' } else { records };
            let mut value = [&trace[..], b"-", &span, b"-", &[flag]].concat();
            if let Some(parent) = self.parent {
                value.push(b'-');
                value.extend_from_slice(&digits(parent));
            }
            line(b3::SINGLE, &value);
        }
        if self.forms.contains(Form::B3Multi) {
            let [trace_id, span_id, parent_id, sampled, flags] = b3::MULTI;
            line(trace_id, &trace);
            line(span_id, &span);
            if let Some(parent) = self.parent {
                line(parent_id, &digits(parent));
            }
            match self.decision {
                Decision::Debug => line(flags, b"1"),
                _ => line(sampled, &[records]),
            }
        }
    }
}

/// `tracestate` of `request`, several of them as one.
pub fn state(request: &impl RequestView) -> Option<String> {
    w3c::state(request)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
