//! What the shop's manifests promise, seen on the cluster.
//!
//! Customers count what their requests came to; who may call whom is tried with curl, from pods of several accounts.

use crate::{Cluster, LONG, commands};
use anyhow::{Context, ensure};
use serde_json::Value;
use std::process::Child;
use std::time::Instant;
use weft_examples::pods::{poll_until, poll_until_async};
use weft_tests::Outcome;
use weft_tests::cluster::Channel;

const SHOP: &str = "shop";

/// Customers who are in the shop while something happens: a pod of them, and what they say.
pub struct Load<'a> {
    cluster: &'a Cluster,
    name: String,
    said: tempfile::NamedTempFile,
    log: Child,
}

impl<'a> Load<'a> {
    /// Returns when they are being served.
    pub fn start(cluster: &'a Cluster, name: &str) -> anyhow::Result<Self> {
        let name = format!("load-{name}");
        let pod = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": name, "namespace": SHOP, "labels": { "app": "customers" } },
            "spec": { "restartPolicy": "Never", "containers": [{
                "name": "customers",
                "image": "weft-shop:0.1.0",
                "args": ["customers", "--duration=30m", "--rate=10", "--customers=10"],
            }] },
        });
        cluster.shell.run(&format!("kubectl apply -f - <<'END'\n{pod}\nEND"))?;
        cluster.shell.run(&format!("kubectl -n {SHOP} wait --for=condition=Ready --timeout=200s pod/{name}"))?;
        let said = tempfile::NamedTempFile::new()?;
        let mut log = cluster.node.kubectl_command(&["-n", SHOP, "logs", "-f", &name, "-c", "customers"])?;
        let log = log.stdout(said.reopen()?).spawn()?;
        let load = Self { cluster, name, said, log };
        let served = || load.lines().ok().filter(|lines| lines.iter().any(|line| line["requests"].as_u64() > Some(0)));
        poll_until(Instant::now() + LONG, "the first customers to be served", served)?;
        Ok(load)
    }

    /// What they have met with, a line for each second.
    fn lines(&self) -> anyhow::Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.said.path())?;
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    fn requests(&self) -> u64 {
        let lines = self.lines().unwrap_or_default();
        lines.iter().filter_map(|line| line["requests"].as_u64()).sum()
    }

    /// Waits for so many more requests; what they met with from first to last, if none of all failed.
    pub fn served_all(mut self, more: u64) -> anyhow::Result<Value> {
        let until = self.requests() + more;
        let waited = poll_until(Instant::now() + LONG, "more requests", || (self.requests() >= until).then_some(()));
        // They finish what they have begun, and say what they met with in all.
        self.cluster.shell.run(&format!("kubectl -n {SHOP} delete pod {} --timeout=200s", self.name))?;
        self.log.wait()?;
        let lines = self.lines()?;
        waited.with_context(|| format!("{:#?}", lines.last()))?;
        let summary = lines.into_iter().rfind(|line| line["summary"] == true).context("they never said how it was")?;
        println!("{}: {summary}", self.name);
        ensure!(summary["failed"] == 0, "requests failed: {summary:#}");
        Ok(summary)
    }
}

/// Requests that replicas whose names begin like this took part in.
fn served_by(summary: &Value, prefix: &str) -> u64 {
    let replicas = summary["by_replica"].as_object().into_iter().flatten();
    replicas.filter(|(name, _)| name.starts_with(prefix)).filter_map(|(_, count)| count.as_u64()).sum()
}

/// Brings the rest of the manifests into force, and pods to try them with.
pub async fn open(cluster: &Cluster) -> Outcome {
    let shell = &cluster.shell;
    let refused = shell.run("kubectl apply -f examples/kubernetes/2-canary.yaml");
    let words = "no matches for kind \"HTTPRoute\" in version \"gateway.networking.k8s.io/v1\"";
    commands::quoted("troubleshooting.md", refused, words)?;
    cluster.node.install_gateway_api(Channel::Standard).await?;
    shell.run(&format!("kubectl apply -f examples/kubernetes -f - <<'END'\n{CALLERS}\nEND"))?;
    shell.run("kubectl -n shop rollout status deployment/frontend-canary --timeout=300s")?;
    let accepted = "{.status.parents[0].conditions[?(@.type==\"Accepted\")].status}";
    shell.run(&format!("kubectl -n shop wait --for=jsonpath='{accepted}'=True --timeout=300s httproute/frontend"))?;
    shell
        .run("kubectl -n shop wait --for=condition=Ready --timeout=300s pod/as-frontend pod/as-default pod/unmeshed")?;
    Ok(())
}

pub async fn canary(cluster: &Cluster) -> Outcome {
    cluster.open().await?;
    let summary = Load::start(cluster, "canary")?.served_all(200)?;
    let (canary, all) = (served_by(&summary, "frontend-canary-"), served_by(&summary, "frontend-"));
    // Of 200 requests 20 are expected, with a standard deviation of 4.
    ensure!(all >= 150 && (2..=60).contains(&(canary * 200 / all)), "{canary} of {all} requests went to the canary");
    Ok(())
}

/// Programs of the test in pods of three accounts: the frontend's, nobody's in particular, and one without a sidecar.
const CALLERS: &str = r#"
{ apiVersion: v1, kind: Pod, metadata: { name: as-frontend, namespace: shop },
  spec: { serviceAccountName: frontend, containers: [ { name: tools, image: "localhost/tools:test",
    imagePullPolicy: Never, command: [sleep, "3600"] } ], terminationGracePeriodSeconds: 1 } }
---
{ apiVersion: v1, kind: Pod, metadata: { name: as-default, namespace: shop },
  spec: { containers: [ { name: tools, image: "localhost/tools:test", imagePullPolicy: Never,
    command: [sleep, "3600"] } ], terminationGracePeriodSeconds: 1 } }
---
{ apiVersion: v1, kind: Pod, metadata: { name: unmeshed, namespace: shop, annotations: { weft.dev/inject: disabled } },
  spec: { containers: [ { name: tools, image: "localhost/tools:test", imagePullPolicy: Never,
    command: [sleep, "3600"] } ], terminationGracePeriodSeconds: 1 } }
"#;

/// The status that `pod` gets for `url`, and the reason that the mesh gives; 000 when the connection is reset.
fn status(cluster: &Cluster, pod: &str, url: &str) -> anyhow::Result<String> {
    let curl = format!("curl -s -m 20 -o /dev/null -w '%{{http_code}} %header{{weft-reason}}' http://{url}");
    cluster.shell.run(&format!("kubectl -n {SHOP} exec {pod} -c tools -- {curl} || true"))
}

pub async fn authorization(cluster: &Cluster) -> Outcome {
    cluster.open().await?;
    let cases = [
        ("as-default", "frontend/healthz", "200"),
        ("as-frontend", "cart:8080/cart", "200"),
        ("as-default", "cart:8080/cart", "403 denied"),
        ("unmeshed", "cart:8080/cart", "403"),
        ("unmeshed", "frontend/healthz", "403"),
    ];
    for (pod, url, expected) in cases {
        let told = || async { status(cluster, pod, url).ok().filter(|said| said.starts_with(expected)) };
        let what = format!("{pod} to get {expected} from {url}");
        let waited = poll_until_async(Instant::now() + LONG / 4, &what, told).await;
        waited.with_context(|| status(cluster, pod, url).unwrap_or_else(|error| error.to_string()))?;
    }
    // Bytes that nobody looks into: the connection ends before Redis has said a word.
    let ping = "kubectl -n shop exec as-default -c tools -- curl -s -m 20 dict://cache:6379/PING || true";
    let said = cluster.shell.run(ping)?;
    ensure!(!said.contains("PONG"), "Redis answers somebody who is not allowed: {said}");
    Ok(())
}

/// Nobody reads the mesh's key, also where nothing enforces NetworkPolicies.
pub async fn etcd(cluster: &Cluster) -> Outcome {
    cluster.open().await?;
    let curl = |url: &str| {
        let place = url.replace("ETCD", "weft-etcd-0.weft-etcd.weft-system.svc.cluster.local");
        cluster.shell.run(&format!("kubectl -n {SHOP} exec unmeshed -c tools -- curl -sSk -m 20 {place}"))
    };
    ensure!(curl("http://ETCD:2381/readyz")?.contains("ok"), "the member cannot be reached at all");
    for url in [
        "https://ETCD:2379/version",
        "http://ETCD:2379/version",
        "https://ETCD:2380/members",
        "http://ETCD:2380/members",
    ] {
        let answer = curl(url);
        ensure!(answer.is_err(), "{url}: {answer:?}");
    }
    Ok(())
}

pub async fn etcd_certificates(cluster: &Cluster) -> Outcome {
    cluster.open().await?;
    let shell = &cluster.shell;
    let certificate = "kubectl -n weft-system get secret weft-etcd-members -o jsonpath='{.data.tls\\.crt}'";
    let (load, before) = (Load::start(cluster, "certificates")?, shell.run(certificate)?);
    for command in commands::of_section("kubernetes.md", "New certificates for the chart's etcd")? {
        shell.run(&command)?;
    }
    ensure!(shell.run(certificate)? != before, "the certificate is the one that it was");
    // New pods get certificates and others are told of them: discovery reads and writes its store again.
    let begun = Instant::now();
    shell.run("kubectl -n shop rollout restart deployment/ranking")?;
    shell.run("kubectl -n shop rollout status deployment/ranking --timeout=300s")?;
    let pod = shell.run("kubectl -n shop get pods -l app=ranking --sort-by=.metadata.creationTimestamp -o name")?;
    let newest = pod.lines().next_back().and_then(|name| name.strip_prefix("pod/")).context("no pod")?;
    let listed = || async { shell.run("weftctl get endpoints -n shop").ok().filter(|all| all.contains(newest)) };
    poll_until_async(Instant::now() + LONG / 2, "discovery to write again", listed).await?;
    println!("two new pods were in the mesh after {:?}", begun.elapsed());
    load.served_all(50).map(drop)
}

/// A replica of discovery without its store knows the world as it was: pods that are new must not live in that one.
pub async fn replica_without_store(cluster: &Cluster) -> Outcome {
    cluster.open().await?;
    let shell = &cluster.shell;
    let replicas = "get pods -l app.kubernetes.io/name=weft-discovery -o jsonpath='{.items[0].metadata.name}'";
    let replica = shell.run(&format!("kubectl -n weft-system {replicas}"))?;
    let load = Load::start(cluster, "without-store")?;
    let wall = "OUTPUT -p tcp --dport 2379 -j REJECT --reject-with tcp-reset";
    let inside = format!("nsenter -t {} -n iptables", process_of(&replica)?);
    shell.run(&format!("{inside} -I {wall}"))?;
    let alone = || async { shell.run("weftctl check").err().filter(|said| said.to_string().contains("known last")) };
    poll_until_async(Instant::now() + LONG / 4, "the replica to miss its store", alone).await?;
    // Which replica a pod comes to first is left to chance.
    let mut sent_away = false;
    for _ in 0..8 {
        shell.run("kubectl -n shop rollout restart deployment/ranking")?;
        shell.run("kubectl -n shop rollout status deployment/ranking --timeout=300s")?;
        sent_away = shell.run(&format!("kubectl -n weft-system logs {replica}"))?.contains("sent to another replica");
        if sent_away {
            break;
        }
    }
    shell.run(&format!("{inside} -D {wall}"))?;
    ensure!(sent_away, "no new pod came to the replica that has no store");
    let whole = || async { shell.run("weftctl check").ok() };
    poll_until_async(Instant::now() + LONG / 4, "the replica to find its store again", whole).await?;
    load.served_all(50).map(drop)
}

/// The process of a pod of one container, by the host name that it was given.
fn process_of(pod: &str) -> anyhow::Result<String> {
    let named = format!("HOSTNAME={pod}");
    let process = std::fs::read_dir("/proc")?.flatten().find(|process| {
        let variables = std::fs::read(process.path().join("environ")).unwrap_or_default();
        variables.split(|byte| *byte == 0).any(|variable| variable == named.as_bytes())
    });
    let process = process.with_context(|| format!("{pod} has no process"))?;
    Ok(process.file_name().to_string_lossy().into_owned())
}

pub async fn jobs(cluster: &Cluster) -> Outcome {
    cluster.open().await?;
    let shell = &cluster.shell;
    shell.run("kubectl -n shop create job --from=cronjob/regulars now")?;
    shell.run("kubectl -n shop wait --for=condition=Complete --timeout=300s job/customers job/now")?;
    // Had Redis been kept from features, nothing would ever be found there.
    let keys = shell.run("kubectl -n shop exec deployment/cache -c redis -- redis-cli dbsize")?;
    ensure!(
        keys.trim().trim_start_matches("(integer) ").parse::<u32>().is_ok_and(|keys| keys > 0),
        "the cache has {keys}"
    );
    let sidecars = "{range .items[*]}{.metadata.name} {.spec.initContainers[*].name}{\"\\n\"}{end}";
    let pods = shell.run(&format!("kubectl -n shop get pods -o jsonpath='{sidecars}'"))?;
    let without: Vec<&str> = pods
        .lines()
        .filter(|line| !line.ends_with("weft-redirect weft-proxy") && !line.starts_with("unmeshed"))
        .collect();
    ensure!(without.is_empty(), "without a sidecar: {without:?}");
    Ok(())
}

pub async fn replicas_by_name(cluster: &Cluster) -> Outcome {
    cluster.open().await?;
    for replica in ["cart-0", "cart-1"] {
        let curl = format!("curl -s -m 20 -D - -o /dev/null http://{replica}.carts.shop.svc.cluster.local:8080/cart");
        let said = cluster.shell.run(&format!("kubectl -n {SHOP} exec as-frontend -c tools -- {curl}"))?;
        ensure!(said.to_lowercase().contains(&format!("x-served-by: {replica}")), "{replica}: {said}");
    }
    Ok(())
}

/// All but the carts, whose memory goes with them; one after the other, as a machine of two cores would have it.
pub async fn rolling_update(cluster: &Cluster) -> Outcome {
    cluster.open().await?;
    let load = Load::start(cluster, "rolling")?;
    for deployment in ["frontend", "search", "ranking", "features"] {
        cluster.shell.run(&format!("kubectl -n shop rollout restart deployment/{deployment}"))?;
        cluster.shell.run(&format!("kubectl -n shop rollout status deployment/{deployment} --timeout=300s"))?;
    }
    load.served_all(50).map(drop)
}
