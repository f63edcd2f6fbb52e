//! A running pair of pods: what the benchmark has to know of a contender in order to load it.
//!
//! Below the contenders, which each make one in their own way. Nothing here can fail: who could not start is no pair.

use std::net::SocketAddr;
use weft_examples::pods::Pod;

/// A running pair, ready to be loaded.
pub trait Contender {
    fn name(&self) -> &'static str;
    /// Where the load comes from.
    fn client(&self) -> &Pod;
    /// What it dials.
    fn target(&self) -> SocketAddr;
    /// The processes between client and server.
    fn proxies(&self) -> Vec<u32>;
}
