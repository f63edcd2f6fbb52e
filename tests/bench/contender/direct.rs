//! No proxy at all: what the machine, the load generator and the server cost by themselves.
//!
//! The figure that the others' latency and throughput are to be read against.

use super::pair::Contender;
use crate::responder::{self, PORT};
use crate::scenario::Scenario;
use std::net::SocketAddr;
use std::time::Duration;
use weft_examples::pods::{Network, Pod, Process};

pub struct Direct {
    client: Pod,
    server: Pod,
    _responder: Process,
    // The wires between the pods.
    _network: Network,
}

impl Direct {
    pub fn start(scenario: &Scenario, network: Network) -> anyhow::Result<Self> {
        let (client, server) = (network.pod("client")?, network.pod("server")?);
        let responder = server.spawn(responder::program(scenario)?)?;
        responder.wait_log("is ready", Duration::from_secs(10))?;
        Ok(Self { client, server, _responder: responder, _network: network })
    }
}

impl Contender for Direct {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn client(&self) -> &Pod {
        &self.client
    }

    fn target(&self) -> SocketAddr {
        (self.server.ip(), PORT).into()
    }

    fn proxies(&self) -> Vec<u32> {
        vec![]
    }
}
