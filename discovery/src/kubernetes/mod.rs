//! Kubernetes as a source: what its API server says becomes records, and what became of routes is written back.
//!
//! A source beside `apply` and `register`; it owns the records that name it as theirs and touches no others. While the
//! API server is away, the records stay as they are.

mod connect;

pub use connect::{ConnectError, Connection, connect};
