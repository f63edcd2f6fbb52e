//! Discovery with two replicas on a real etcd: the same answers, a failover, and proxies that go on when all of it is away.
//!
//! Cases come in the order of the story: first all is well, then one thing after the other is taken away.

use anyhow::{Context, ensure};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weft_examples::etcd::EtcdCluster;
use weft_examples::mesh::{Options, get};
use weft_examples::pods::{Network, Program, poll_until};
use weft_tests::client::Http1;
use weft_tests::fleet::{self, Arrivals, Fleet, Membership, Wire, Writer};
use weft_tests::ports::service_document;
use weft_tests::programs::{curl, run};
use weft_tests::suite::Stage;
use weft_tests::world::{SOON, server, workload};
use weft_tests::{Outcome, Plan, Suite, World};

/// How long a hundred proxies may take for anything on a busy machine.
const LONG: Duration = Duration::from_secs(50);

/// A world whose store is an etcd of its own.
struct Kept {
    world: World,
    etcd: EtcdCluster,
}

impl Stage for Kept {
    fn testimony(&self) -> String {
        self.world.testimony()
    }
}

fn start() -> anyhow::Result<Kept> {
    let network = Network::new()?;
    let etcd = EtcdCluster::start_on(network.node(), 1).context("etcd")?;
    let store = Some(format!("etcd:{}", etcd.endpoints().join(",")));
    let options = Options { store, replicas: 2, ..Options::default() };
    let world = Plan::new().options(options).echo("echo", 2).client("client").start_on(network)?;
    Ok(Kept { world, etcd })
}

fn main() -> ExitCode {
    Suite::on("etcd", start)
        .case("both replicas give the same answers", same_answers)
        .case("what one is told the other knows", told_once)
        .case("a hundred proxies at once hear of every change", a_fleet)
        .case("a corrupt value in the store is skipped and counted", corrupt_value)
        .case("a replica dies: proxies go to the other and hear of changes", failover)
        .case("without any discovery traffic goes on", without_discovery)
        .case("a sidecar restarted meanwhile comes back from its snapshot", from_snapshot)
        .case("a corrupt snapshot is ignored", corrupt_snapshot)
        .case("discovery comes back and so do changes", comes_back)
        .run()
}

async fn same_answers(kept: &Kept) -> Outcome {
    let world = &kept.world;
    world.wait_replicas("echo", &["echo-0", "echo-1"])?;
    let [one, other] = world.mesh().discovery() else { anyhow::bail!("not two replicas") };
    for kind in ["services", "endpoints"] {
        let args = ["get", kind, "-A", "-o", "json"];
        let mut differ = String::new();
        let same = || {
            let answers = one.weftctl(&args).and_then(|a| Ok((a, other.weftctl(&args)?)));
            differ = format!("{answers:?}");
            answers.is_ok_and(|(a, b)| a == b && a.contains("echo")).then_some(())
        };
        poll_until(Instant::now() + SOON, kind, same).with_context(|| differ)?;
    }
    Ok(())
}

async fn told_once(kept: &Kept) -> Outcome {
    let [one, other] = kept.world.mesh().discovery() else { anyhow::bail!("not two replicas") };
    let document = service_document("test", "rumour");
    run(kept.world.network().node(), one.weftctl_program()?.args(["apply", "-f", "-"]).input(document))?;
    let heard = || other.weftctl(&["get", "services", "-n", "test"]).ok().filter(|said| said.contains("rumour"));
    poll_until(Instant::now() + SOON, "the other replica to hear of it", heard)?;
    other.weftctl(&["delete", "service", "rumour", "-n", "test"])?;
    let forgotten = || one.weftctl(&["get", "services", "-n", "test"]).ok().filter(|said| !said.contains("rumour"));
    poll_until(Instant::now() + SOON, "the first replica to forget it", forgotten)?;
    Ok(())
}

async fn a_fleet(kept: &Kept) -> Outcome {
    const SERVICES: usize = 100;
    let (world, replica) = (&kept.world, &kept.world.mesh().discovery()[0]);
    let document = |n| {
        let name = fleet::service(n);
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: {} }}\n\
             spec:\n  ports: [{{ name: http, port: 80 }}]\n",
            fleet::NAMESPACE
        )
    };
    let numbers: Vec<usize> = (0..SERVICES).collect();
    for some in numbers.chunks(50) {
        world.mesh().apply(&some.iter().map(|n| document(*n)).collect::<String>())?;
    }
    // Each proxy has ten neighbours on a ring, so that each service has ten proxies; and changes once, so that none can be passed over.
    let subscriptions =
        (0..SERVICES).map(|proxy| (proxy..proxy + 10).map(|n| fleet::service(n % SERVICES)).collect()).collect();
    let course = async || {
        let (arrivals, wire) = (Arc::new(Arrivals::new(SERVICES, 10)), Arc::new(Wire::default()));
        let membership = Membership::obtain(replica).await?;
        let writer = Writer::start(&membership, SERVICES).await?;
        let mut fleet = Fleet::start(&membership, subscriptions, &arrivals, &wire, LONG).await?;
        writer.change(&arrivals, 200).await?;
        let complete = async {
            while !arrivals.complete() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let heard = tokio::time::timeout(LONG, fleet.until(complete)).await;
        heard.with_context(|| format!("(complete, of all): {:?}", arrivals.progress()))??;
        ensure!(wire.received() > 0 && wire.sent() > 0, "{wire:?}");
        anyhow::Ok(())
    };
    world
        .network()
        .node()
        .within(|| tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(course()))?
}

async fn corrupt_value(kept: &Kept) -> Outcome {
    let world = &kept.world;
    let endpoint = &kept.etcd.endpoints()[0];
    let node = world.network().node();
    let call = |method: &str, body: String| -> anyhow::Result<serde_json::Value> {
        let said = run(node, Program::new("curl").args(["-sS", "-d", &body, &format!("{endpoint}/v3/kv/{method}")]))?;
        Ok(serde_json::from_str(&said)?)
    };
    // Every key below /weft/, base64; then garbage in the place of the first one that holds the service.
    let all = call("range", r#"{"key":"L3dlZnQv","range_end":"L3dlZnQw"}"#.to_owned())?;
    let pairs = all["kvs"].as_array().context("no keys")?;
    let decode = |text: &str| node.run_ok(Program::new("base64").arg("-d").input(text));
    let mut victim = None;
    for pair in pairs {
        let key = pair["key"].as_str().context("a key")?;
        let name = decode(key)?;
        if name.contains("service") && name.contains("echo") {
            victim = Some((key.to_owned(), pair["value"].as_str().unwrap_or("").to_owned()));
            break;
        }
    }
    let (key, good) = victim.context("the service has no key of its own")?;
    let skipped = || {
        world.mesh().discovery().iter().all(|replica| {
            replica
                .weftctl(&["status"])
                .is_ok_and(|said| said.contains("skipped") || said.contains("could not be read"))
        })
    };
    call("put", format!(r#"{{"key":"{key}","value":"Z2FyYmFnZQ=="}}"#))?;
    let seen = poll_until(Instant::now() + SOON, "the garbage to be noticed", || skipped().then_some(()));
    let said = curl(world.client(), &[&world.url("/name")]);
    call("put", format!(r#"{{"key":"{key}","value":"{good}"}}"#))?;
    seen?;
    ensure!(said?.starts_with("echo-"), "the last good value was lost");
    Ok(())
}

async fn failover(kept: &Kept) -> Outcome {
    let world = &kept.world;
    world.mesh().discovery()[0].kill();
    let other = &world.mesh().discovery()[1];
    let both = |said: &String| ["client", "echo-0", "echo-1"].iter().all(|name| said.contains(name));
    let moved = || other.weftctl(&["status", "-o", "json"]).ok().filter(both);
    poll_until(Instant::now() + Duration::from_secs(20), "all proxies to move", moved)?;
    // A new replica becomes known through the one that is left.
    let newcomer = world.mesh().join(workload("echo", 5).application(server("echo-5")))?;
    world.wait_replicas("echo", &["echo-5"])?;
    drop(newcomer);
    Ok(())
}

async fn without_discovery(kept: &Kept) -> Outcome {
    let world = &kept.world;
    world.mesh().discovery().iter().for_each(|replica| replica.kill());
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    for _ in 0..50 {
        ensure!(client.get("/name").await?.status() == 200);
    }
    let said = curl(world.client(), &["http://echo.test/name"])?;
    ensure!(said.starts_with("echo-"), "DNS or balancing was lost: {said}");
    Ok(())
}

async fn from_snapshot(kept: &Kept) -> Outcome {
    let world = &kept.world;
    let client = world.member("client");
    client.kill_proxy();
    client.start_proxy()?;
    client.wait_ready(SOON)?;
    let said = curl(world.client(), &["http://echo.test/name"])?;
    ensure!(said.starts_with("echo-"), "{said}");
    Ok(())
}

async fn corrupt_snapshot(kept: &Kept) -> Outcome {
    let client = kept.world.member("client");
    client.kill_proxy();
    let snapshot = std::fs::read_dir(client.state_dir())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().contains("snapshot") || path.to_string_lossy().contains("catalog"))
        .context("no snapshot on disk")?;
    let good = std::fs::read(&snapshot)?;
    std::fs::write(&snapshot, &good[..good.len() / 2])?;
    client.start_proxy()?;
    let log = || client.with_proxy(|proxy| proxy.log()).filter(|log| log.contains("the catalog on disk is not used"));
    let warned = poll_until(Instant::now() + SOON, "a warning of the snapshot", log);
    let alive = get(client.pod(), client.admin(), "/livez").is_ok_and(|reply| reply.status == 200);
    client.kill_proxy();
    std::fs::write(&snapshot, good)?;
    client.start_proxy()?;
    client.wait_ready(SOON)?;
    ensure!(alive, "it does not live");
    warned?;
    Ok(())
}

async fn comes_back(kept: &Kept) -> Outcome {
    let world = &kept.world;
    for replica in world.mesh().discovery() {
        replica.start_again()?;
        replica.wait_ready(SOON)?;
    }
    let newcomer = world.mesh().join(workload("echo", 6).application(server("echo-6")))?;
    world.wait_replicas("echo", &["echo-6"])?;
    drop(newcomer);
    Ok(())
}
