//! What every Weft program says about itself: log lines, metrics, the admin endpoint that shows them, and OTLP, which sends them.
//!
//! Nothing here may slow a request down: metrics are atomics, log lines and spans go elsewhere through bounded queues and
//! are dropped (and counted) rather than waited for, and the admin endpoint runs wherever its caller spawns it.

pub mod logs;
pub mod lines;
pub mod metrics;
pub mod traces;
pub mod records;
pub mod otlp;
pub mod admin;
