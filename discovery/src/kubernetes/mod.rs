//! Kubernetes as a source: what its API server says becomes records, and what became of routes is written back.
//!
//! A source beside `apply` and `register`; it owns the records that name it as theirs and touches no others. While the
//! API server is away, the records stay as they are.
//!
//! ```text
//! watch -> facts -> cluster -> describe | document -> plan -> keep -> (store)
//!                                                  -> status -> report -> (API server)
//! ```

mod connect;
mod control;
mod watch;
mod facts;
mod cache;
mod cluster;
mod describe;
mod document;
mod partial;
mod keep;
mod plan;
mod report;
mod status;

pub use connect::{ConnectError, Connection, connect};
pub use control::Controller;
