//! A pair of Weft's sidecars as anybody gets them: discovery, certificates, interception by iptables, defaults throughout.
//!
//! The load dials the service's virtual address, so that the whole outbound story is part of the figure.

use super::pair::Contender;
use crate::responder;
use crate::scenario::Scenario;
use std::net::SocketAddr;
use weft_examples::mesh::Workload;
use weft_examples::pods::{Network, Pod, Process};
use weft_tests::{Plan, World};

pub struct Weft {
    world: World,
    target: SocketAddr,
}

impl Weft {
    pub fn start(scenario: &Scenario, network: Network) -> anyhow::Result<Self> {
        let responder = responder::program(scenario)?;
        let with_responder = |workload: Workload, _| (workload, responder);
        let world = Plan::new().echo("server", 0).replica("server", 0, with_responder).client("client");
        let world = world.start_on(network)?;
        world.wait_served("server")?;
        let target = world.at("server", 80);
        Ok(Self { world, target })
    }
}

impl Contender for Weft {
    fn name(&self) -> &'static str {
        "weft"
    }

    fn client(&self) -> &Pod {
        self.world.client()
    }

    fn target(&self) -> SocketAddr {
        self.target
    }

    fn proxies(&self) -> Vec<u32> {
        self.world.members().filter_map(|member| member.with_proxy(Process::pid)).collect()
    }
}
