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
mod namespace;
mod pod;
mod program;
mod process;
mod fault;
mod poll;
mod sweep;

pub use fault::Fault;
pub use network::Network;
pub use pod::{Output, Pod};
pub use poll::{free_port, poll_until, poll_until_async};
pub use process::Process;
pub use program::Program;
pub use sweep::{is_closing, remove_all, remove_on_signals, sweep};

use std::io;

/// Why a pod, or something in it, could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("`{command}` failed: {output}")]
    Command { command: String, output: String },
    #[error("{0:?} is no name for a pod: use 1 to 40 lower-case letters, digits and '-'")]
    Name(String),
    #[error("the network already has a pod {0:?}")]
    Taken(String),
    #[error("waited {waited:.1?} in vain: {what}")]
    Deadline { what: String, waited: std::time::Duration },
    #[error("the process is about to end")]
    Closing,
}

impl Error {
    /// Names the step in which an operating system call failed.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what: what.into(), source }
    }
}

#[cfg(test)]
mod tests;
