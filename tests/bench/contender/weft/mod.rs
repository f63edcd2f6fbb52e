//! A pair of Weft's sidecars as anybody gets them: discovery, certificates, interception by iptables, defaults throughout.
//!
//! The load dials the service's virtual address, so that the whole outbound story is part of the figure. Variants of the pair have
//! features turned on.

mod features;
mod known;

pub use features::VARIANTS;

use super::pair::Contender;
use crate::load::scrape::Page;
use crate::responder;
use crate::traffic::Traffic;
use anyhow::Context;
use features::Features;
use std::net::SocketAddr;
use std::time::Instant;
use weft_examples::mesh::Workload;
use weft_examples::pods::{Network, Pod, Process, poll_until};
use weft_tests::collector::{self, Collector};
use weft_tests::world::{NAMESPACE, SOON};
use weft_tests::{Plan, World};

pub const NAME: &str = "weft";
/// The same with a full TLS handshake for each connection between the two.
pub const FULL: &str = "weft-full";

/// The service's port of the first kind of traffic; the others follow.
const PORT: u16 = 80;

/// The pods of the two sides.
const PODS: [&str; 2] = ["client", "server-0"];

pub struct Weft {
    name: &'static str,
    features: Features,
    world: World,
    target: SocketAddr,
    // Go with their network.
    _collector: Option<Collector>,
    _tap: Option<Process>,
}

impl Weft {
    pub fn start(network: Network) -> anyhow::Result<Self> {
        Self::start_with(NAME, network, Features::default())
    }

    pub fn start_full(network: Network) -> anyhow::Result<Self> {
        Self::start_with(FULL, network, Features { full_handshakes: true, ..Features::default() })
    }

    /// One of [`VARIANTS`].
    pub fn start_variant(network: Network, variant: &str) -> anyhow::Result<Self> {
        let name = VARIANTS.iter().copied().find(|name| *name == variant);
        let (name, features) = name.zip(Features::of(variant)).context("no such variant")?;
        Self::start_with(name, network, features)
    }

    fn start_with(name: &'static str, network: Network, features: Features) -> anyhow::Result<Self> {
        let responder = responder::program()?;
        let collector = features.tracing.then(|| Collector::start(&network)).transpose()?;
        let spans = collector.as_ref().map(Collector::grpc);
        let configure = |workload| features.configure(workload, spans.as_deref());
        let with_responder = |workload: Workload, _| (configure(workload), responder);
        let plan = Plan::new().documents(service() + &features.documents());
        let plan = plan.replica("server", 0, with_responder);
        let plan = plan.workload(configure(Workload::new(NAMESPACE, "client", "client")));
        let world = plan.start_on(network)?;
        world.wait_served("server")?;
        let target = world.at("server", PORT);
        let tap = features.tap.then(|| watch(&world)).transpose()?;
        Ok(Self { name, features, world, target, _collector: collector, _tap: tap })
    }
}

/// A watcher of requests for a path that nobody asks for, once both sidecars look out for them.
fn watch(world: &World) -> anyhow::Result<Process> {
    let tap = world.mesh().discovery()[0].weftctl_program()?.args(["tap", "-n", NAMESPACE, "--path", "/none"]);
    let process = world.mesh().node().spawn(tap.label("tap"))?;
    let watched = |name: &&str| world.member(name).metrics().sum("weft_taps_open", &[]) > 0.0;
    let both = || PODS.iter().all(watched).then_some(());
    poll_until(Instant::now() + SOON, "sidecars to be tapped", both).with_context(|| process.log())?;
    Ok(process)
}

/// Why this machine cannot have the pair called `name`.
pub fn missing(name: &str) -> Option<String> {
    Features::of(name).filter(|features| features.tracing)?;
    collector::binary().err()
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
        self.name
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
        let both = PODS.map(|name| self.world.member(name).with_proxy(Process::pid));
        both.into_iter().flatten().collect()
    }

    fn restart(&mut self) -> anyhow::Result<Instant> {
        let member = self.world.member("client");
        member.kill_proxy();
        member.start_proxy()?;
        Ok(Instant::now())
    }

    fn know(&mut self) -> anyhow::Result<bool> {
        known::apply(self.world.mesh())?;
        known::dial(self.world.mesh(), self.world.member("client"))?;
        Ok(true)
    }

    fn scraped(&self) -> Vec<Page> {
        let page = |name| (self.world.pod(name).clone(), self.world.member(name).admin());
        if self.features.metrics { PODS.map(page).to_vec() } else { vec![] }
    }
}
