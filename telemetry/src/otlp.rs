//! The way to an OpenTelemetry Collector, one for all three signals: flags, TLS, the transport, and the queue before it.
//!
//! Below spans, log records and metrics, which say what is sent and when. Nothing here is on the request path but a queue that
//! is never waited for.

mod flags;
mod tls;
mod queue;
mod collector;
mod signal;

pub(crate) use collector::text;
pub use collector::{Collector, Protocol, Settings};
pub use flags::{Checked, Flags, Pushing, bounded, exporter, wait};
pub(crate) use queue::{Counts, channel};
pub use queue::{Export, Limits, Queue};
