//! The `Discovery` gRPC service: proxies subscribe to what they dial and register what they run.
//!
//! Stands between the registry and the proxies: service (the calls) -> stream (one proxy's) -> difference (what to say).

mod service;
mod stream;
mod difference;
mod guard;
mod confirm;
mod proxies;
mod questions;
mod taps;

pub use proxies::{Proxies, Session};
pub use questions::{Said, Subject};
pub use service::Serve;
pub use stream::{Settings, Supply};
pub use taps::{Order, Told};
