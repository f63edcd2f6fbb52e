//! The mesh on the node, as a user would bring it there: helm installs the chart, a namespace is labelled, pods are made.
//!
//! The first case installs, the second makes the pods that the others talk to.

use super::Cluster;
use anyhow::{Context, bail, ensure};
use k8s_openapi::api::core::v1::{Container, Pod};
use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Instant;
use weft_examples::mesh::{Metrics, binary};
use weft_examples::pods::poll_until;
use weft_tests::Outcome;
use weft_tests::cluster::{Node, TAG};
use weft_tests::world::SOON;

/// The server, whose account is `echo`, and a client; both meshed by the namespace's label.
const PODS: &str = include_str!("mesh.yaml");

/// What a sidecar's container runs as; the image is the mesh's own.
const PROXY: &str = "weft-proxy";

fn in_client(node: &Node, command: &[&str]) -> anyhow::Result<String> {
    node.kubectl(&[&["-n", "mesh", "exec", "deploy/client", "-c", "tools", "--"], command].concat())
}

/// What `curl` says to a URL from the meshed client: the answer and, behind it, the status.
fn curl(node: &Node, url: &str) -> anyhow::Result<String> {
    in_client(node, &["curl", "-sS", "--max-time", "20", "-w", " %{http_code}", url])
}

fn weftctl(node: &Node, args: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(binary("weftctl")?);
    let output = command.arg("--kubeconfig").arg(node.kubeconfig()).args(args).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "weftctl {}: {said}", args.join(" "));
    Ok(said)
}

/// The chart as it is, but for the images, which nobody can pull here: three members of etcd with volumes, two of all else.
pub async fn installed(cluster: &Cluster) -> Outcome {
    let node = cluster.node()?;
    node.install_mesh("5m")?;
    let listed = node.kubectl(&["-n", "weft-system", "get", "pods", "--no-headers"])?;
    ensure!(listed.lines().count() == 7 && listed.lines().all(|pod| pod.contains(" 1/1 ")), "{listed}");
    Ok(())
}

pub async fn injected(cluster: &Cluster) -> Outcome {
    let node = cluster.node()?;
    node.namespace("mesh", &[("weft.dev/inject", "enabled")]).await?;
    node.apply(&PODS.replace("TAG", TAG)).await?;
    node.wait_deployed("mesh", "echo").await?;
    node.wait_deployed("mesh", "client").await?;
    for name in node.wait_pods("mesh", "app=echo", 2).await? {
        let pod = kube::Api::<Pod>::namespaced(node.client().await?, "mesh").get(&name).await?;
        let spec = pod.spec.context("no spec")?;
        let inits = spec.init_containers.unwrap_or_default();
        let [redirect, proxy] = &inits[..] else { bail!("{} init containers", inits.len()) };
        ensure!((redirect.name.as_str(), proxy.name.as_str()) == ("weft-redirect", PROXY), "{redirect:?} {proxy:?}");
        ensure!(proxy.restart_policy.as_deref() == Some("Always"), "no native sidecar: {:?}", proxy.restart_policy);
        ensure!(capabilities(redirect) == ["NET_ADMIN"], "{:?}", redirect.security_context);
        ensure!(capabilities(proxy).is_empty(), "{:?}", proxy.security_context);
        let context = proxy.security_context.as_ref().context("no security context")?;
        ensure!(
            context.run_as_non_root == Some(true) && context.read_only_root_filesystem == Some(true),
            "{context:?}"
        );
    }
    both_answer(&node)
}

/// What a container may do beyond what everybody may; fails the comparison when not all else was dropped.
fn capabilities(container: &Container) -> Vec<String> {
    let capabilities = container.security_context.as_ref().and_then(|context| context.capabilities.clone());
    let capabilities = capabilities.unwrap_or_default();
    match capabilities.drop.as_deref() {
        Some([all]) if all == "ALL" => capabilities.add.unwrap_or_default(),
        _ => vec!["everything".to_owned()],
    }
}

fn both_answer(node: &Node) -> Outcome {
    let mut names = BTreeSet::new();
    let both = || {
        let answer = curl(node, "http://echo/name").ok()?;
        names.insert(answer.strip_suffix(" 200")?.to_owned());
        (names.len() == 2).then_some(())
    };
    poll_until(Instant::now() + SOON, "both replicas to answer", both).with_context(|| format!("{names:?}"))
}

/// The metrics of a sidecar, by way of the API server.
pub fn weft_metrics(node: &Node, pod: &str) -> anyhow::Result<Metrics> {
    let path = format!("/api/v1/namespaces/mesh/pods/{pod}:15020/proxy/metrics");
    Ok(Metrics::parse(&node.kubectl(&["get", "--raw", &path])?))
}

pub async fn encrypted(cluster: &Cluster) -> Outcome {
    let node = cluster.node()?;
    let said = curl(&node, "http://echo/headers")?;
    let peer = "By=spiffe://weft.local/ns/mesh/sa/echo;URI=spiffe://weft.local/ns/mesh/sa/client";
    ensure!(said.contains(peer), "the server was not told who asks: {said}");
    let mut accepted = 0.0;
    for pod in node.wait_pods("mesh", "app=echo", 2).await? {
        let metrics = weft_metrics(&node, &pod)?;
        accepted += metrics.sum("weft_connections_total", &[("direction", "inbound"), ("mtls", "true")]);
    }
    ensure!(accepted >= 1.0, "no sidecar has accepted a connection with mTLS");
    Ok(())
}

/// The kubelet has no certificate, and the pods that are made under strict mTLS become ready all the same, by all kinds of probes.
pub async fn strict(cluster: &Cluster) -> Outcome {
    let node = cluster.node()?;
    node.apply(
        "
apiVersion: weft.dev/v1alpha1
kind: NamespacePolicy
metadata: { name: default, namespace: mesh }
spec: { mtls: strict }
",
    )
    .await?;
    let ask = "curl -sS -o /dev/null -w %{http_code} http://echo.mesh/name";
    let refused = || {
        let said = node.kubectl(&["-n", "plain", "exec", "client", "--", "sh", "-c", ask]).ok()?;
        (said.trim() == "403").then_some(())
    };
    poll_until(Instant::now() + SOON * 2, "a client without a sidecar to be refused", refused)?;
    node.kubectl(&["-n", "mesh", "rollout", "restart", "deployment/echo"])?;
    node.wait_deployed("mesh", "echo").await?;
    for name in node.wait_pods("mesh", "app=echo", 2).await? {
        let count = "jsonpath={.status.containerStatuses[0].restartCount}";
        let restarts = node.kubectl(&["-n", "mesh", "get", "pod", &name, "-o", count])?;
        ensure!(restarts == "0", "{name} was restarted {restarts} times");
    }
    both_answer(&node)
}

pub async fn job(cluster: &Cluster) -> Outcome {
    let node = cluster.node()?;
    node.apply(
        "
apiVersion: batch/v1
kind: Job
metadata: { name: ask, namespace: mesh }
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: tools
          image: localhost/tools:test
          imagePullPolicy: Never
          # At once, without a second try: an application that starts finds its sidecar ready.
          command: [curl, -sS, --max-time, '20', 'http://echo/name']
",
    )
    .await?;
    let log = super::told_by_job(&node, "mesh", "ask").await?;
    ensure!(log.starts_with("echo-"), "{log}");
    Ok(())
}

/// Through a port that the API server has the kubelet forward to discovery's pods.
pub async fn checked(cluster: &Cluster) -> Outcome {
    let node = cluster.node()?;
    let mut said = String::new();
    let passed = || {
        let checked = weftctl(&node, &["check"]);
        said = checked.as_ref().map(|said| said.clone()).unwrap_or_else(|error| error.to_string());
        checked.ok()
    };
    let checked = poll_until(Instant::now() + SOON * 2, "every check to pass", passed);
    let checked = checked.with_context(|| said.clone())?;
    ensure!(checked.contains("every pod that is to have a sidecar has one"), "{checked}");
    let status = weftctl(&node, &["status"])?;
    ensure!(status.contains("client-"), "{status}");
    Ok(())
}

/// One pod is deleted, then all are replaced one after the other, while three clients ask without a pause.
pub async fn undisturbed(cluster: &Cluster) -> Outcome {
    let node = cluster.node()?;
    let load =
        "ask() { until [ -e /tmp/stop ]; do curl -sS --max-time 30 -w ' %{http_code}\\n' http://echo/name 2>&1; done }
        ask & ask & ask & wait";
    let args = ["-n", "mesh", "exec", "deploy/client", "-c", "tools", "--", "bash", "-c", load];
    let load = node.kubectl_command(&args)?.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
    // Its output is read while it runs: a full pipe would stop it.
    let reading = std::thread::spawn(move || load.wait_with_output());
    let disturbed = disturb(&node).await;
    in_client(&node, &["bash", "-c", ">/tmp/stop"])?;
    let said = reading.join().map_err(|_| anyhow::anyhow!("reading panicked"))??;
    disturbed?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let lost: Vec<&str> = said.lines().filter(|line| !line.ends_with(" 200")).collect();
    ensure!(lost.is_empty(), "{} of {} requests were lost: {lost:?}", lost.len(), said.lines().count());
    let replicas: BTreeSet<&str> = said.lines().filter_map(|line| line.split(' ').next()).collect();
    // Two at first, one for the deleted one, two new ones; who lived shortly may have been asked nothing.
    ensure!(replicas.len() >= 4, "of all pods only {replicas:?} were asked, in {} requests", said.lines().count());
    Ok(())
}

async fn disturb(node: &Node) -> Outcome {
    let pods = node.wait_pods("mesh", "app=echo", 2).await?;
    node.kubectl(&["-n", "mesh", "delete", "pod", &pods[0], "--wait=true"])?;
    node.wait_deployed("mesh", "echo").await?;
    both_answer(node)?;
    node.kubectl(&["-n", "mesh", "rollout", "restart", "deployment/echo"])?;
    node.wait_deployed("mesh", "echo").await?;
    node.wait_pods("mesh", "app=echo", 2).await?;
    both_answer(node)
}

/// Helm takes back what it brought; the pods that are there go on without.
pub async fn uninstalled(cluster: &Cluster) -> Outcome {
    let node = cluster.node()?;
    node.helm(&["uninstall", "weft", "--namespace", "weft-system", "--wait", "--timeout", "5m"])?;
    let left = || {
        let left =
            node.kubectl(&["-n", "weft-system", "get", "pods,services,secrets,statefulsets", "--no-headers"]).ok()?;
        left.lines().all(|line| line.is_empty()).then_some(())
    };
    poll_until(Instant::now() + SOON * 2, "everything to be gone", left)?;
    let hooks = node.kubectl(&["get", "mutatingwebhookconfigurations", "-o", "name"])?;
    ensure!(!hooks.contains("weft"), "{hooks}");
    Ok(())
}
