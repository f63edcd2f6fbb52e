//! The demo's shop with its customers, on a network of its own, and dashboards in front of it.
//!
//! A dashboard lasts as long as its value. The shop keeps up its load for longer than the suite takes.

use anyhow::{Context, ensure};
use std::net::SocketAddr;
use std::time::Duration;
use weft_examples::mesh::{Member, Mesh, Options, START_LIMIT, Workload, binary};
use weft_examples::pods::{NameServer, Network, Process, Program};
use weft_tests::suite::Stage;
use weft_tests::world::SOON;

const SHOP: &str = "shop";
/// Service, port name and number, replicas.
const SERVICES: [(&str, &str, u16, u32); 6] = [
    ("frontend", "http", 8080, 2),
    ("search", "grpc", 8080, 2),
    ("ranking", "grpc", 8080, 3),
    ("features", "http2", 8080, 1),
    ("cart", "http", 8080, 2),
    ("cache", "redis", 6379, 1),
];
/// What an explanation is to find.
const FORBIDDEN: &str = "apiVersion: weft.dev/v1alpha1\nkind: AuthorizationPolicy\n\
    metadata: { name: nobody-forbidden, namespace: shop }\nspec:\n  targetRefs: [{ kind: Service, name: cart }]\n  action: DENY\n\
    \x20 rules: [{ to: [{ ports: [8080], paths: [\"/forbidden\"] }] }]\n";

pub struct Shop {
    members: Vec<Member>,
    mesh: Mesh,
    /// Names that nobody knows cost its programs no time.
    _names: NameServer,
    _customers: Process,
}

impl Shop {
    pub fn open() -> anyhow::Result<Self> {
        let mesh = Mesh::start_on(Network::new()?, &Options::default())?;
        let _names = NameServer::start(mesh.node())?;
        mesh.apply(include_str!("../../../examples/shop.yaml"))?;
        mesh.apply(FORBIDDEN)?;
        let each = |(service, port, number, replicas)| (0..replicas).map(move |at| replica(service, port, number, at));
        let replicas = SERVICES.into_iter().flat_map(each).collect::<anyhow::Result<Vec<_>>>()?;
        let customers = Workload::new(SHOP, "customers", "customers");
        let members = mesh.join_all(replicas.into_iter().chain([customers]).collect())?;
        let servers: Vec<&str> = members.iter().filter(|member| member.is_registered()).map(Member::name).collect();
        mesh.wait_endpoints(SHOP, &servers, START_LIMIT)?;
        let crowd = members.iter().find(|member| member.name() == "customers").context("no customers")?;
        let visits = Program::new(binary("weft-shop")?).label("visits");
        let visits = visits.args(["customers", "--rate", "15", "--customers", "8", "--duration", "1h"]);
        let _customers = crowd.pod().spawn(visits)?;
        Ok(Self { members, mesh, _names, _customers })
    }

    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    pub fn member(&self, name: &str) -> anyhow::Result<&Member> {
        self.members.iter().find(|member| member.name() == name).with_context(|| format!("no pod {name}"))
    }

    /// `weftctl dashboard` on the node.
    pub fn dashboard(&self) -> anyhow::Result<Dashboard> {
        self.dashboard_of(self.mesh.discovery()[0].weftctl_program()?)
    }

    /// The same with a `weftctl` that looks elsewhere.
    pub fn dashboard_of(&self, weftctl: Program) -> anyhow::Result<Dashboard> {
        let process = self.mesh.node().spawn(weftctl.label("dashboard").args(["dashboard", "--no-open"]))?;
        process.wait_log("works once", SOON * 3)?;
        let log = process.log();
        let link = log.lines().find(|line| line.starts_with("http://127.0.0.1:")).context(log.clone())?.to_owned();
        let (origin, token) = link.split_once("/?token=").with_context(|| link.clone())?;
        let address: SocketAddr = origin.trim_start_matches("http://").parse()?;
        ensure!(address.ip().is_loopback(), "{link}");
        let (origin, token) = (origin.to_owned(), token.to_owned());
        Ok(Dashboard { process, link, origin, token, address })
    }
}

/// One run of `weftctl dashboard`.
pub struct Dashboard {
    pub process: Process,
    pub link: String,
    pub origin: String,
    pub token: String,
    pub address: SocketAddr,
}

fn replica(service: &str, port: &str, number: u16, at: u32) -> anyhow::Result<Workload> {
    let name = format!("{service}-{at}");
    let workload = Workload::new(SHOP, &name, service)
        .zone(["east", "west"][at as usize % 2])
        .registers(format!("{service}={port}:{number}"))
        .health_check(format!("tcp:{number}"));
    let program = match service {
        "cache" => Program::new("redis-server").args(["--port", "6379", "--protected-mode", "no", "--save", ""]),
        _ => Program::new(binary("weft-shop")?).label(service).args([service, "--name", &name]),
    };
    Ok(workload.application(program))
}

/// How long a page may take to show what is so, on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(45);

impl Stage for Shop {
    fn testimony(&self) -> String {
        let words = |process: &Process| process.log_tail(3);
        let member = |member: &Member| [member.with_proxy(words), member.with_application(words)];
        self.members
            .iter()
            .flat_map(member)
            .flatten()
            .filter(|said| said.contains("ERROR"))
            .collect::<Vec<_>>()
            .join("\n")
    }
}
