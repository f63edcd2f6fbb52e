//! What a caller says of the trace it belongs to: its span, and what it has decided.
//!
//! Below the forms of headers, which all come down to this, and below the sampler.

use std::num::{NonZeroU64, NonZeroU128};

/// The caller's span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    pub trace: NonZeroU128,
    pub span: NonZeroU64,
}

/// What a caller has decided about recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Drop,
    Record,
    /// Record, whatever any sampler says (B3 alone has this).
    Debug,
}

impl Decision {
    pub fn records(self) -> bool {
        self != Self::Drop
    }

    pub(super) fn of(records: bool) -> Self {
        if records { Self::Record } else { Self::Drop }
    }
}

/// One form's headers, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Said {
    pub parent: Option<Parent>,
    pub decision: Option<Decision>,
}
