//! The end-to-end harness: suites, the worlds they play in, the server they call and the clients that call it.
//!
//! A suite reads as prose: it names behaviours, and this crate makes the pods, runs the real binaries and looks from outside.
//! A failing case says what it saw and what the proxies had to say about it.
//!
//! ```text
//! suites/*.rs -> suite (runs cases in order) -> world (pods, direct or meshed) -> weft_examples::{mesh, pods}
//!                                            -> client (HTTP/1.1, HTTP/2, gRPC, TCP from inside a pod)
//!           -> pages (the examples in docs/), collector and prometheus (real ones, and what they got)
//!           -> cluster (a real Kubernetes API server)
//!           -> fleet (many proxies that carry nothing)
//! server/*.rs    the application in the pods: `weft-test-server`
//! ```

pub mod suite;
pub mod world;
pub mod programs;
pub mod client;
pub mod wire;
pub mod ports;
pub mod pages;
pub mod cluster;
pub mod collector;
pub mod fleet;
pub mod prometheus;

pub use suite::Suite;
pub use world::{Plan, World};

/// The test service's generated messages, client and server.
#[allow(clippy::all, missing_docs)]
pub mod grpc {
    tonic::include_proto!("weft.test.v1");
}

/// What a case returns.
pub type Outcome = anyhow::Result<()>;
