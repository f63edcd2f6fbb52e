//! What the story plays on: the store, discovery, the shop's pods with their sidecars.
//!
//! Set up from `examples/shop.yaml` and the table below. Fails naming the part that did not come up. Everything ends when
//! the stage is dropped: first who depends on others, then those others.

use super::config::{Flags, Store};
use super::customers::Customers;
use super::say::Say;
use anyhow::Context;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use weft_examples::etcd::EtcdCluster;
use weft_examples::mesh::{Member, Mesh, Options, START_LIMIT, Workload, binary};
use weft_examples::pods::{NameServer, Network, Process, Program};

/// Where everything of the shop is.
pub const NAMESPACE: &str = "shop";
/// What the operator applies.
const DOCUMENTS: &str = include_str!("../../shop.yaml");
/// The replica of `ranking` that is slow, and how slow.
pub const SLOW: &str = "ranking-2";
pub const DELAY: Duration = Duration::from_millis(50);

const ZONES: [&str; 2] = ["east", "west"];

/// A service of the shop.
pub struct Service {
    pub name: &'static str,
    pub replicas: u32,
    /// Port name and number in the pod.
    port: (&'static str, u16),
    health_check: &'static str,
}

pub const SERVICES: [Service; 6] = [
    Service { name: "frontend", replicas: 2, port: ("http", 8080), health_check: "http:8080/healthz" },
    Service { name: "search", replicas: 2, port: ("grpc", 8080), health_check: "tcp:8080" },
    Service { name: "ranking", replicas: 3, port: ("grpc", 8080), health_check: "tcp:8080" },
    Service { name: "features", replicas: 2, port: ("http2", 8080), health_check: "tcp:8080" },
    Service { name: "cart", replicas: 2, port: ("http", 8080), health_check: "http:8080/healthz" },
    Service { name: "cache", replicas: 2, port: ("redis", 6379), health_check: "tcp:6379" },
];

pub struct Stage {
    members: BTreeMap<String, Member>,
    pub mesh: Mesh,
    _etcd: Option<EtcdCluster>,
    _names: NameServer,
    network: Network,
}

impl Stage {
    /// Sets everything up, saying how far it is.
    pub fn set(flags: &Flags, say: &Say) -> anyhow::Result<Self> {
        let network = Network::new().context("no pods here")?;
        let names = NameServer::start(network.node())?;
        say.started("network", "a node with a bridge, in a namespace of its own");
        let etcd = match flags.store {
            Store::Embedded => None,
            Store::Etcd => Some(EtcdCluster::start_on(network.node(), 3).context("etcd")?),
        };
        if let Some(etcd) = &etcd {
            say.started("etcd", &format!("three members: {}", etcd.endpoints().join(" ")));
        }
        let store = etcd.as_ref().map(|etcd| format!("etcd:{}", etcd.endpoints().join(",")));
        let mesh = Mesh::start_on(network.clone(), &Options { store, ..Options::default() })?;
        mesh.apply(DOCUMENTS).context("apply examples/shop.yaml")?;
        say.started("discovery", "ready, examples/shop.yaml applied");
        let mut stage = Self { members: BTreeMap::new(), mesh, _etcd: etcd, _names: names, network };
        let replicas = SERVICES.iter().flat_map(|service| (0..service.replicas).map(|index| workload(service, index)));
        let customers = Workload::new(NAMESPACE, "customers", "customers");
        let workloads = replicas.chain([Ok(customers)]).collect::<anyhow::Result<Vec<_>>>()?;
        say.started("pods", &format!("joining {}: a namespace, a redirect, a proxy, a program each", workloads.len()));
        stage.join(workloads)?;
        let servers = stage.members().filter(|member| member.is_registered()).map(Member::name);
        stage.mesh.wait_endpoints(NAMESPACE, &servers.collect::<Vec<_>>(), START_LIMIT)?;
        say.started("shop", "six services are ready");
        Ok(stage)
    }

    /// More pods, with ready sidecars and started applications.
    pub fn join(&mut self, workloads: Vec<Workload>) -> anyhow::Result<()> {
        let joined = self.mesh.join_all(workloads)?;
        self.members.extend(joined.into_iter().map(|member| (member.name().to_owned(), member)));
        Ok(())
    }

    pub fn network(&self) -> &Network {
        &self.network
    }

    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// The pod called `name`, which the table above promises.
    pub fn member(&self, name: &str) -> anyhow::Result<&Member> {
        self.members.get(name).with_context(|| format!("no pod {name}"))
    }

    /// What `service` stands behind, as an application finds out.
    pub fn virtual_address(&self, service: &str) -> anyhow::Result<IpAddr> {
        resolve(self.member("customers")?, service)
    }

    /// After the story: the mesh stays up under a little load, with hints at what to look at. Lasts as long as the result.
    pub fn keep(&self, say: &Say) -> anyhow::Result<Customers> {
        let customers = Customers::start(self.member("customers")?, 10, Duration::from_secs(24 * 3600))?;
        say.title("The mesh stays up until Ctrl-C. Worth trying, in another terminal:");
        say.plain(&format!("    export WEFT_DISCOVERY=unix://{}", self.mesh.discovery()[0].socket().display()));
        let weftctl = binary("weftctl")?;
        let here = std::env::current_dir().unwrap_or_default();
        let weftctl = weftctl.strip_prefix(here).unwrap_or(&weftctl);
        for command in COMMANDS {
            // What is printed works: it has just been tried.
            self.mesh.weftctl(&command.split(' ').collect::<Vec<_>>())?;
            say.plain(&format!("    {} {command}", weftctl.display()));
        }
        Ok(customers)
    }

    /// What might explain a failure: the last words of whoever ended, and the warnings of everybody else.
    pub fn autopsy(&self, say: &Say) {
        for member in self.members() {
            for process in [member.with_proxy(tail), member.with_application(tail)] {
                report(say, process.flatten());
            }
        }
        for replica in self.mesh.discovery() {
            let log = replica.log();
            report(say, notable(replica.name(), &log, !replica.is_running()));
        }
    }
}

/// What `--keep` suggests.
const COMMANDS: [&str; 5] =
    ["status", "get endpoints -n shop", "get certificates -n shop", "proxy dump search-0 -n shop", "check"];

/// The `index`th replica of `service`.
pub fn workload(service: &Service, index: u32) -> anyhow::Result<Workload> {
    let name = format!("{}-{index}", service.name);
    let (port_name, port) = service.port;
    let workload = Workload::new(NAMESPACE, &name, service.name)
        .zone(ZONES[index as usize % ZONES.len()])
        .registers(format!("{}={port_name}:{port}", service.name))
        .health_check(service.health_check)
        .proxy_arg("--drain-timeout=3s");
    let program = if service.name == "cache" {
        Program::new("redis-server").args(["--port", &port.to_string(), "--protected-mode", "no", "--save", ""])
    } else {
        let shop = Program::new(binary("weft-shop")?).label(service.name).args([service.name, "--name", &name]);
        let delay = if name == SLOW { DELAY } else { Duration::ZERO };
        if service.name == "ranking" { shop.args(["--delay", &format!("{}ms", delay.as_millis())]) } else { shop }
    };
    Ok(workload.application(program))
}

/// Asks the system's own resolver in the pod.
pub fn resolve(member: &Member, name: &str) -> anyhow::Result<IpAddr> {
    let ask = Program::new("getent").args(["ahostsv4", name]);
    let answer = member.pod().run_ok(ask).with_context(|| format!("resolve {name}"))?;
    let address = answer.split_whitespace().next().with_context(|| format!("{name} has no address"))?;
    address.parse().with_context(|| format!("{name} has a strange address: {address}"))
}

fn tail(process: &Process) -> Option<(String, Vec<String>)> {
    notable(process.name(), &process.log(), !process.is_running())
}

/// The lines of a log that stand out; all of the last ones when its writer has ended.
fn notable(name: &str, log: &str, ended: bool) -> Option<(String, Vec<String>)> {
    let stands_out =
        |line: &&str| ended || line.contains("ERROR ") || line.contains(" WARN ") || line.contains("panicked");
    let lines: Vec<_> = log.lines().filter(stands_out).map(str::to_owned).collect();
    let last = lines[lines.len().saturating_sub(8)..].to_vec();
    let name = if ended { format!("{name} (ended)") } else { name.to_owned() };
    (ended || !last.is_empty()).then_some((name, last))
}

fn report(say: &Say, found: Option<(String, Vec<String>)>) {
    let Some((name, lines)) = found else { return };
    say.plain(&format!("  {name}"));
    for line in lines {
        say.plain(&format!("    {line}"));
    }
}
