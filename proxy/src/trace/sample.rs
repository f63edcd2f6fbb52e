//! Whether a trace is recorded: OpenTelemetry's samplers.
//!
//! Asked once for each request, at its start. The ratio looks at the trace's own identifier, so that every proxy decides the
//! same about it.

use super::parent::Decision;
use crate::config::Sampling;

/// Decides about traces.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// Traces whose lower 63 bits are below this are recorded.
    below: u64,
    /// A caller's decision stands.
    parent_based: bool,
}

impl Sampler {
    pub fn new(sampling: Sampling) -> Self {
        // TraceIdRatioBased of the OpenTelemetry specification; 1.0 is all of them.
        let below = (sampling.ratio * (1u64 << 63) as f64) as u64;
        Self { below, parent_based: sampling.parent_based }
    }

    /// About the trace with this identifier, which the request goes on with or begins; `caller`: what its caller has decided.
    pub fn decide(&self, caller: Option<Decision>, trace: u128) -> Decision {
        match caller {
            Some(Decision::Debug) => Decision::Debug,
            Some(decided) if self.parent_based => decided,
            _ => Decision::of((trace as u64 >> 1) < self.below),
        }
    }
}
