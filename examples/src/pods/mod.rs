//! Pods on one machine: network namespaces joined by a bridge, and the programs that run in them.
//!
//! Everything stands on this: the demo, the end-to-end tests, the benchmarks. Needs root and iproute2; a step that fails names
//! itself. Invariant: the machine's own network is never touched, and whatever was made is removed on drop, on a
//! signal (see [`remove_on_signals`]) or, after a crash, by the next [`sweep`].
//!
//! ```no_run
//! # fn main() -> Result<(), weft_examples::pods::Error> {
//! use weft_examples::pods::{Network, Program};
//! let network = Network::new()?;
//! let (a, b) = (network.pod("a")?, network.pod("b")?);
//! let server = b.spawn(Program::new("redis-server").args(["--port", "6379"]))?;
//! let pong = a.run(Program::new("redis-cli").args(["-h", &b.ip().to_string(), "ping"]))?;
//! server.kill();
//! # Ok(()) }
//! ```

mod network;
mod resolver;
mod pod;
mod fault;
mod process;
mod program;
mod place;
mod sweep;
mod ip;
mod namespace;
mod cgroup;
mod poll;
mod error;

pub use error::Error;
pub use fault::Fault;
pub use network::{BRIDGE, Network};
pub use pod::Pod;
pub use poll::{free_port, poll_until, poll_until_async};
pub use process::{Output, Process};
pub use program::Program;
pub use resolver::NameServer;
pub use sweep::{is_closing, remove_all, remove_on_signals, sweep};

#[cfg(test)]
mod tests;
