//! Worlds to test in: the same test server and the same client pod, either side by side on a wire or with a mesh between them.
//!
//! A behaviour that has to be the same with and without the mesh is written once and runs in both. Every world has a network
//! of its own; all of it goes when the world is dropped.

use crate::ports;
use crate::suite::Stage;
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use weft_examples::mesh::{Member, Mesh, Metrics, Options, Workload, binary, get};
use weft_examples::pods::{Network, Pod, Process, Program, poll_until};

/// The namespace that tests live in.
pub const NAMESPACE: &str = "test";
/// How long anything in a test may take to come about.
pub const SOON: Duration = Duration::from_secs(30);

/// What a world is to hold. Starts empty.
#[derive(Default)]
pub struct Plan {
    documents: Vec<String>,
    workloads: Vec<Workload>,
    options: Options,
}

/// Pods, the programs in them and, if meshed, everything between them.
pub struct World {
    servers: Vec<Process>,
    members: BTreeMap<String, Member>,
    pods: BTreeMap<String, Pod>,
    addresses: Mutex<BTreeMap<String, IpAddr>>,
    mesh: Option<Mesh>,
    network: Network,
}

impl Plan {
    pub fn new() -> Self {
        Self::default()
    }

    /// A service with all the test server's ports and `replicas` pods called `name-0`, `name-1`, ...
    pub fn echo(mut self, name: &str, replicas: u32) -> Self {
        self.documents.push(ports::service_document(NAMESPACE, name));
        (0..replicas).fold(self, |plan, index| plan.replica(name, index, |workload, server| (workload, server)))
    }

    /// One more pod `service-index`, changed before it starts.
    pub fn replica(
        mut self,
        service: &str,
        index: u32,
        change: impl FnOnce(Workload, Program) -> (Workload, Program),
    ) -> Self {
        let (workload, server) = change(workload(service, index), server(&format!("{service}-{index}")));
        self.workloads.push(workload.application(server));
        self
    }

    /// A pod of any kind.
    pub fn workload(mut self, workload: Workload) -> Self {
        self.workloads.push(workload);
        self
    }

    /// A pod that only calls others.
    pub fn client(mut self, name: &str) -> Self {
        self.workloads.push(Workload::new(NAMESPACE, name, name));
        self
    }

    /// More documents to apply.
    pub fn documents(mut self, yaml: impl Into<String>) -> Self {
        self.documents.push(yaml.into());
        self
    }

    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Brings up the mesh, the pods, their sidecars and servers, until every service has a ready endpoint.
    pub fn start(self) -> anyhow::Result<World> {
        self.start_on(Network::new()?)
    }

    /// The same on a network that exists, for a store that lives there.
    pub fn start_on(self, network: Network) -> anyhow::Result<World> {
        let mesh = Mesh::start_on(network.clone(), &self.options)?;
        mesh.apply(&self.documents.join("---\n")).context("apply the plan's documents")?;
        let mut world = World::empty(network);
        world.mesh = Some(mesh);
        world.join(self.workloads)?;
        Ok(world)
    }
}

/// The workload of the `index`th replica of `service`, registered and checked on the HTTP port.
pub fn workload(service: &str, index: u32) -> Workload {
    Workload::new(NAMESPACE, &format!("{service}-{index}"), service)
        .registers(format!("{service}=http:{}", ports::HTTP))
        .health_check(format!("tcp:{}", ports::HTTP))
}

/// The test server under the name `name`. It fails to start, naming the file, when it was not built.
pub fn server(name: &str) -> Program {
    let path = binary("weft-test-server").unwrap_or_else(|_| "weft-test-server".into());
    Program::new(path).label("server").args(["--name", name])
}

impl World {
    fn empty(network: Network) -> Self {
        let (servers, members, pods) = Default::default();
        Self { servers, members, pods, addresses: Mutex::default(), mesh: None, network }
    }

    /// A client `client` and a server `echo-0` on a wire, without a mesh.
    pub fn direct() -> anyhow::Result<Self> {
        let network = Network::new()?;
        let mut world = Self::empty(network);
        for name in ["client", "echo-0"] {
            world.pods.insert(name.to_owned(), world.network.pod(name)?);
        }
        let pod = world.pods["echo-0"].clone();
        let process = pod.spawn(server("echo-0"))?;
        process.wait_log("is ready", SOON)?;
        world.servers.push(process);
        world.pin("echo", pod.ip().into());
        Ok(world)
    }

    /// The same two with a sidecar each.
    pub fn meshed() -> anyhow::Result<Self> {
        Plan::new().echo("echo", 1).client("client").start()
    }

    /// More pods with sidecars, until their servers take requests.
    pub fn join(&mut self, workloads: Vec<Workload>) -> anyhow::Result<()> {
        let mesh = self.mesh.as_ref().context("a world without a mesh")?;
        for member in mesh.join_all(workloads)? {
            self.pods.insert(member.name().to_owned(), member.pod().clone());
            self.members.insert(member.name().to_owned(), member);
        }
        self.members.values().try_for_each(wait_application)?;
        self.wait_registered()
    }

    /// Waits until discovery tells of every server that runs, so that a case that begins finds somebody to serve it.
    fn wait_registered(&self) -> anyhow::Result<()> {
        let serves = |member: &&Member| {
            member.is_registered() && member.with_application(|server| server.is_running()).unwrap_or(false)
        };
        let names: Vec<&str> = self.members.values().filter(serves).map(Member::name).collect();
        Ok(self.mesh().wait_endpoints(NAMESPACE, &names, SOON)?)
    }

    pub fn is_meshed(&self) -> bool {
        self.mesh.is_some()
    }

    /// The mesh of a meshed world.
    pub fn mesh(&self) -> &Mesh {
        self.mesh.as_ref().expect("this case is for meshed worlds")
    }

    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The pod called `name`.
    pub fn pod(&self, name: &str) -> &Pod {
        self.pods.get(name).unwrap_or_else(|| panic!("the plan has no pod {name}"))
    }

    /// The pod `client`, which every world for comparisons has.
    pub fn client(&self) -> &Pod {
        self.pod("client")
    }

    /// The meshed workload called `name`.
    pub fn member(&self, name: &str) -> &Member {
        self.members.get(name).unwrap_or_else(|| panic!("the plan has no member {name}"))
    }

    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Where a client dials `port` of `service`: the virtual address when meshed, the pod's otherwise.
    pub fn at(&self, service: &str, port: u16) -> SocketAddr {
        let ip = self.address(service).unwrap_or_else(|error| panic!("no address for {service}: {error:#}"));
        (ip, if self.is_meshed() { port } else { ports::target(port) }).into()
    }

    /// [`World::at`] for the service `echo`.
    pub fn echo(&self, port: u16) -> SocketAddr {
        self.at("echo", port)
    }

    /// `http://address` of the service `echo`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.echo(80))
    }

    fn pin(&self, service: &str, address: IpAddr) {
        self.addresses.lock().expect("nobody panics inside").insert(service.to_owned(), address);
    }

    /// The virtual address of a service, as the mesh's DNS answers inside the first pod.
    fn address(&self, service: &str) -> anyhow::Result<IpAddr> {
        if let Some(known) = self.addresses.lock().expect("nobody panics inside").get(service) {
            return Ok(*known);
        }
        let asker = self.members.values().next().context("nobody to ask")?.pod();
        let name = format!("{service}.{NAMESPACE}.svc.cluster.local");
        let mut said = String::new();
        let look = || {
            let dig = Program::new("dig").args(["+short", "+time=1", "+tries=1", &name, "A"]);
            said = asker.run(dig).map(|output| output.text()).unwrap_or_else(|error| error.to_string());
            said.lines().find_map(|line| line.trim().parse().ok())
        };
        let Ok(address) = poll_until(Instant::now() + SOON, "DNS", look) else { bail!("dig {name} says {said:?}") };
        self.pin(service, address);
        Ok(address)
    }

    /// The metrics of the sidecar beside `name`.
    pub fn metrics(&self, name: &str) -> Metrics {
        self.member(name).metrics()
    }

    /// Waits until somebody answers behind the name `service`.
    pub fn wait_served(&self, service: &str) -> anyhow::Result<()> {
        let at = self.at(service, 80);
        let mut said = String::new();
        let answers = || {
            let reply = get(self.client(), at, "/");
            said = format!("{reply:?}");
            reply.is_ok_and(|reply| reply.status == 200).then_some(())
        };
        let answered = poll_until(Instant::now() + SOON, "an answer", answers);
        answered.with_context(|| format!("{service} at {at} says {said}"))
    }

    /// Waits until `name` has this many endpoints that are ready, as the client's requests see it.
    pub fn wait_replicas(&self, service: &str, names: &[&str]) -> anyhow::Result<()> {
        let at = self.at(service, 80);
        let mut missing: Vec<&str> = names.to_vec();
        let ask = || {
            let answer = get(self.client(), at, "/name").ok().filter(|reply| reply.status == 200);
            answer.map(|reply| reply.body.trim().to_owned()).unwrap_or_default()
        };
        let all = || {
            // Many at once: one after the other, whoever was slowest of three would never be asked.
            let names: Vec<String> = std::thread::scope(|scope| {
                let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
                asking.into_iter().filter_map(|thread| thread.join().ok()).collect()
            });
            missing.retain(|wanted| !names.iter().any(|name| name == wanted));
            missing.is_empty().then_some(())
        };
        let found = poll_until(Instant::now() + SOON, "every replica to answer", all);
        found.with_context(|| format!("never heard of {missing:?}"))
    }
}

/// The application is up when its pod accepts connections on the HTTP port.
fn wait_application(member: &Member) -> anyhow::Result<()> {
    let Some(running) = member.with_application(|server| server.is_running()) else { return Ok(()) };
    if !running {
        return Ok(());
    }
    let ready = member.with_application(|server| server.wait_log("is ready", SOON)).transpose();
    ready.with_context(|| format!("the server in {}", member.name())).map(drop)
}

impl Stage for World {
    fn testimony(&self) -> String {
        let member = |member: &Member| [member.with_proxy(notable), member.with_application(notable)];
        let mut lines: Vec<String> = self.members.values().flat_map(member).flatten().flatten().collect();
        for replica in self.mesh.iter().flat_map(|mesh| mesh.discovery()) {
            lines.extend(stand_out(replica.name(), &replica.log(), replica.is_running()));
        }
        lines.join("\n")
    }
}

fn notable(process: &Process) -> Vec<String> {
    stand_out(process.name(), &process.log(), process.is_running())
}

/// The last warnings of a log; the last lines of any kind when its writer has ended.
fn stand_out(name: &str, log: &str, running: bool) -> Vec<String> {
    let stands_out = |line: &&str| !running || ["WARN", "ERROR", "panicked"].iter().any(|word| line.contains(word));
    let lines: Vec<String> = log.lines().filter(stands_out).map(|line| format!("  {name}: {line}")).collect();
    lines[lines.len().saturating_sub(6)..].to_vec()
}
