//! How much is let through: rates by key, and requests under way, fixed or found out from latencies.
//!
//! Pure decisions over atomic state that all workers share: a limit holds for the whole proxy, and nobody waits for anybody.
//! The service's `gate` asks them for each request; what they refuse is said to the client there.

mod concurrency;
mod gradient;
mod rate;
mod table;

pub use concurrency::{Concurrency, Place};
pub use gradient::Gradient;
pub use rate::{Rate, Standing};
