//! A running pair of pods: what the benchmark has to know of a contender in order to load it.
//!
//! Below the contenders, which each make one in their own way.

use crate::load::scrape::Page;
use crate::traffic::Traffic;
use std::net::SocketAddr;
use std::time::Instant;
use weft_examples::pods::Pod;

/// Services that [`Contender::know`] is about, and the endpoints of each.
pub const KNOWN_SERVICES: usize = 1_000;
pub const KNOWN_ENDPOINTS: usize = 10;

/// A running pair, ready to be loaded.
pub trait Contender {
    fn name(&self) -> &'static str;
    /// Where the load comes from.
    fn client(&self) -> &Pod;
    /// Where it goes.
    fn server(&self) -> &Pod;
    /// What the client dials; `None` when this contender does not carry such traffic, or not differently from another one.
    fn target(&self, traffic: Traffic) -> Option<SocketAddr>;
    /// The processes between client and server, the client's first.
    fn proxies(&self) -> Vec<u32>;
    /// Ends the client's proxy and starts it again; the moment in which the new process began to run.
    fn restart(&mut self) -> anyhow::Result<Instant>;
    /// Makes the client's proxy know [`KNOWN_SERVICES`] more; `false`: there is no fair way, and nothing was done.
    fn know(&mut self) -> anyhow::Result<bool> {
        Ok(false)
    }
    /// Metrics that are scraped while it is loaded.
    fn scraped(&self) -> Vec<Page> {
        vec![]
    }
}
