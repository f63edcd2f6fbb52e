//! The chart and the shop on a real node: installed as the quick start says, under load, upgraded, and taken away.
//!
//! The cases are one story on one cluster, because a control plane takes a while to come up: each begins where the one before
//! ended, or makes up for it. What is typed is typed as users do, by kubectl, helm and weftctl.

mod commands;
mod remains;
mod shop;

use commands::Shell;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;
use weft_examples::pods::poll_until_async;
use weft_tests::cluster::{Images, Node, helm, missing_node};
use weft_tests::suite::Stage;
use weft_tests::{Outcome, Suite};

/// How long a case may take: pods are pulled up by a busy machine.
const LONG: Duration = Duration::from_secs(600);
const IMAGES: [&str; 6] = ["weft-proxy", "weft-discovery", "weft-injector", "weft-shop", "weft-etcd", "redis"];
/// The mesh's own namespace.
const MESH: &str = "weft-system";

struct Cluster {
    node: Node,
    shell: Shell,
    /// What there was before anything was installed.
    before: Vec<String>,
    installed: OnceCell<()>,
    opened: OnceCell<()>,
}

impl Cluster {
    /// The mesh, and the shop without its routes and policies: a case that is run alone begins here, too.
    async fn install(&self) -> anyhow::Result<()> {
        self.installed.get_or_try_init(|| quick_start(self)).await.copied()
    }

    /// All of the shop's manifests.
    async fn open(&self) -> anyhow::Result<()> {
        self.install().await?;
        self.opened.get_or_try_init(|| shop::open(self)).await.copied()
    }
}

impl Stage for Cluster {
    fn testimony(&self) -> String {
        let logs = [("weft-discovery", MESH), ("weft-injector", MESH)].map(|(name, namespace)| {
            let label = format!("app.kubernetes.io/name={name}");
            let logs = self.node.kubectl(&["-n", namespace, "logs", "-l", &label, "--tail=8", "--prefix"]);
            logs.unwrap_or_else(|error| error.to_string())
        });
        format!("{}\n{}", self.node.testimony(), logs.join("\n"))
    }
}

fn start() -> anyhow::Result<Cluster> {
    let node = Node::start(&Images::packed(&IMAGES)?.and(Images::tools()?))?;
    let shell = Shell::on(&node)?;
    let before = remains::everything(&shell)?;
    Ok(Cluster { node, shell, before, installed: OnceCell::new(), opened: OnceCell::new() })
}

fn main() -> ExitCode {
    Suite::on("node", start)
        .limit(LONG)
        .unless(missing_node().or_else(|| helm().err()))
        .case("the quick start, word by word, on an empty cluster", Cluster::install)
        .case("one request in ten goes to the canary", shop::canary)
        .case("who may not call is refused", shop::authorization)
        .case("a Job ends and a CronJob's pods do, with sidecars", shop::jobs)
        .case("each replica of the StatefulSet has a name", shop::replicas_by_name)
        .case("without an injector no pod is made", no_injector)
        .case("etcd speaks to nobody who has no certificate", shop::etcd)
        .case("etcd gets new certificates under load, as the docs say, and no request fails", shop::etcd_certificates)
        .case("a replica of discovery without its store harms no new pod", shop::replica_without_store)
        .case("a rolling update under load fails no request", shop::rolling_update)
        .case("an upgrade of the mesh under load fails no request", upgrade)
        .case("uninstalled, nothing is left but what the docs say", uninstall)
        .run()
}

/// The commands of docs/quick-start.md, as they stand there.
async fn quick_start(cluster: &Cluster) -> Outcome {
    for command in commands::of_page("quick-start.md")? {
        let said = cluster.shell.run(&command)?;
        // For whoever keeps the page's output up to date: `-- --nocapture`.
        println!("$ {command}\n{said}");
    }
    for (name, count) in [("weft-discovery", 2), ("weft-injector", 2), ("weft-etcd", 3)] {
        cluster.node.wait_pods(MESH, &format!("app.kubernetes.io/name={name}"), count).await?;
    }
    let bound = cluster.shell.run("kubectl -n weft-system get pvc -o jsonpath='{.items[*].status.phase}'")?;
    anyhow::ensure!(bound == "Bound Bound Bound", "volumes of etcd: {bound}");
    Ok(())
}

/// Nobody makes pods without a sidecar, and what is seen then is in the docs.
async fn no_injector(cluster: &Cluster) -> Outcome {
    cluster.install().await?;
    let shell = &cluster.shell;
    let scale =
        |count: usize| shell.run(&format!("kubectl -n weft-system scale deployment/weft-injector --replicas={count}"));
    scale(0)?;
    cluster.node.wait_pods(MESH, "app.kubernetes.io/name=weft-injector", 0).await?;
    let refused = shell.run("kubectl -n shop run unlucky --image=weft-shop:0.1.0 -- customers");
    scale(2)?;
    commands::quoted("troubleshooting.md", refused, "failed calling webhook \"namespace.injector.weft.dev\"")?;
    cluster.node.wait_pods(MESH, "app.kubernetes.io/name=weft-injector", 2).await?;
    // The node learns a little later than the API server where a service leads.
    let asked = "kubectl -n shop run lucky --image=weft-shop:0.1.0 --dry-run=server -- customers";
    let made = || async { shell.run(asked).ok() };
    Ok(poll_until_async(Instant::now() + LONG / 4, "pods to be made again", made).await.map(drop)?)
}

/// New pods of all parts, etcd's too, while customers are in the shop.
async fn upgrade(cluster: &Cluster) -> Outcome {
    cluster.install().await?;
    let load = shop::Load::start(cluster, "upgrade")?;
    // A new template for each part: without one nothing would be replaced.
    let other = "--set discovery.logLevel=debug,injector.logLevel=debug,etcd.resources.requests.cpu=40m,proxy.redirectBackend=legacy";
    for command in commands::of_section("chart.md", "Upgrade")? {
        let more = if command.starts_with("weftctl") { other } else { "" };
        cluster.shell.run(&format!("{command} {more}"))?;
    }
    load.served_all(50)?;
    // What new pods get is the new release's: here the redirect by the other kind of iptables.
    cluster.shell.run("kubectl -n shop rollout restart deployment/search")?;
    cluster.shell.run("kubectl -n shop rollout status deployment/search --timeout=200s")?;
    let backend = "kubectl -n shop get pods -l app=search -o jsonpath='{.items[*].spec.initContainers[0].args}'";
    let args = cluster.shell.run(backend)?;
    anyhow::ensure!(args.contains("legacy"), "the redirect has {args}");
    shop::Load::start(cluster, "upgraded")?.served_all(50).map(drop)
}

/// Applications stay, and lose nothing but what new pods would get.
async fn uninstall(cluster: &Cluster) -> Outcome {
    cluster.install().await?;
    let shell = &cluster.shell;
    let refused = shell.run("weftctl uninstall");
    commands::quoted("chart.md", refused, "pods have sidecars")?;
    shell.run("kubectl delete namespace shop --wait --timeout=300s")?;
    for command in commands::of_section("chart.md", "Uninstalling")? {
        shell.run(&command)?;
    }
    remains::none(shell, &cluster.before).await
}
