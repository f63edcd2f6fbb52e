//! No proxy at all: what the machine, the load generator and the server cost by themselves.
//!
//! The figure that the others' latency and throughput are to be read against.

use super::ends::Ends;
use super::pair::Contender;
use crate::traffic::Traffic;
use anyhow::bail;
use std::net::SocketAddr;
use std::time::Instant;
use weft_examples::pods::{Network, Pod};

pub const NAME: &str = "direct";

pub struct Direct {
    ends: Ends,
}

impl Direct {
    pub fn start(network: Network) -> anyhow::Result<Self> {
        Ok(Self { ends: Ends::start(network)? })
    }
}

impl Contender for Direct {
    fn name(&self) -> &'static str {
        NAME
    }

    fn client(&self) -> &Pod {
        &self.ends.client
    }

    fn server(&self) -> &Pod {
        &self.ends.server
    }

    fn target(&self, traffic: Traffic) -> Option<SocketAddr> {
        Some((self.ends.server.ip(), traffic.port()).into())
    }

    fn proxies(&self) -> Vec<u32> {
        vec![]
    }

    fn restart(&mut self) -> anyhow::Result<Instant> {
        bail!("there is no proxy to start again")
    }
}
