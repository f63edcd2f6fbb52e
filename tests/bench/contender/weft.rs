//! A pair of Weft's sidecars as anybody gets them: discovery, certificates, interception by iptables, defaults throughout.
//!
//! The load dials the service's virtual address, so that the whole outbound story is part of the figure.

use super::pair::Contender;
use crate::responder;
use crate::traffic::Traffic;
use std::net::SocketAddr;
use std::time::Instant;
use weft_examples::mesh::Workload;
use weft_examples::pods::{Network, Pod, Process};
use weft_tests::{Plan, World};

/// The service's port of the first kind of traffic; the others follow.
const PORT: u16 = 80;

pub struct Weft {
    world: World,
    target: SocketAddr,
}

impl Weft {
    pub fn start(network: Network) -> anyhow::Result<Self> {
        let responder = responder::program()?;
        let with_responder = |workload: Workload, _| (workload, responder);
        let plan = Plan::new().documents(service()).replica("server", 0, with_responder).client("client");
        let world = plan.start_on(network)?;
        world.wait_served("server")?;
        let target = world.at("server", PORT);
        Ok(Self { world, target })
    }
}

/// The service, whose ports' names declare what travels through them.
fn service() -> String {
    let port = |traffic: Traffic| {
        let name = match traffic {
            Traffic::Http1 => "http",
            Traffic::Http2 => "http2",
            Traffic::Tcp => "tcp",
        };
        format!("    - {{ name: {name}, port: {}, targetPort: {} }}\n", PORT + traffic as u16, traffic.port())
    };
    let ports: String = Traffic::ALL.into_iter().map(port).collect();
    format!("apiVersion: v1\nkind: Service\nmetadata: {{ name: server, namespace: test }}\nspec:\n  ports:\n{ports}")
}

impl Contender for Weft {
    fn name(&self) -> &'static str {
        "weft"
    }

    fn client(&self) -> &Pod {
        self.world.client()
    }

    fn server(&self) -> &Pod {
        self.world.pod("server-0")
    }

    fn target(&self, traffic: Traffic) -> Option<SocketAddr> {
        Some((self.target.ip(), PORT + traffic as u16).into())
    }

    fn proxies(&self) -> Vec<u32> {
        let both = ["client", "server-0"].map(|name| self.world.member(name).with_proxy(Process::pid));
        both.into_iter().flatten().collect()
    }

    fn restart(&mut self) -> anyhow::Result<Instant> {
        let member = self.world.member("client");
        member.kill_proxy();
        member.start_proxy()?;
        Ok(Instant::now())
    }
}
