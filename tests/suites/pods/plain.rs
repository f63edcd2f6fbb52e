//! The node without a mesh: what any cluster does.
//!
//! Each case has a namespace of its own.

use super::Cluster;
use anyhow::{Context, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Instant;
use weft_examples::pods::poll_until;
use weft_tests::Outcome;
use weft_tests::cluster::{Node, TAG};
use weft_tests::world::SOON;

/// Two replicas of the test server behind a service.
const ECHO: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: { name: echo, namespace: plain }
spec:
  replicas: 2
  selector: { matchLabels: { app: echo } }
  template:
    metadata: { labels: { app: echo } }
    spec:
      containers:
        - name: server
          image: weft-test-server:TAG
          imagePullPolicy: Never
          args: [--name, $(POD)]
          env: [{ name: POD, valueFrom: { fieldRef: { fieldPath: metadata.name } } }]
          readinessProbe: { httpGet: { path: /name, port: 8080 }, periodSeconds: 1 }
---
apiVersion: v1
kind: Service
metadata: { name: echo, namespace: plain }
spec: { selector: { app: echo }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: client, namespace: plain }
spec:
  containers: [{ name: tools, image: 'localhost/tools:test', imagePullPolicy: Never, command: [sleep, infinity] }]
  terminationGracePeriodSeconds: 0
";

/// The namespace `plain` with the servers and a client, whoever asks first.
async fn prepared(node: &Node) -> anyhow::Result<()> {
    node.namespace("plain", &[]).await?;
    node.apply(&ECHO.replace("TAG", TAG)).await?;
    node.wait_deployed("plain", "echo").await?;
    node.wait_pods("plain", "app=echo", 2).await?;
    node.wait_pod("plain", "client", "it to run", |pod| {
        pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
    })
    .await
    .map(drop)
}

fn in_client(node: &Node, command: &[&str]) -> anyhow::Result<String> {
    node.kubectl(&[&["-n", "plain", "exec", "client", "--"], command].concat())
}

pub async fn served(cluster: &Cluster) -> Outcome {
    let node = cluster.node()?;
    prepared(&node).await?;
    let address = node.kubectl(&["-n", "plain", "get", "service", "echo", "-o", "jsonpath={.spec.clusterIP}"])?;
    for host in ["echo", "echo.plain.svc.cluster.local", address.as_str()] {
        let mut names = std::collections::BTreeSet::new();
        let both = || {
            let answer = in_client(&node, &["curl", "-sS", "--max-time", "5", &format!("http://{host}/name")]);
            names.insert(answer.ok()?);
            (names.len() == 2).then_some(())
        };
        poll_until(Instant::now() + SOON, "both pods to answer", both).with_context(|| format!("{host}: {names:?}"))?;
    }
    Ok(())
}

pub async fn exec(cluster: &Cluster) -> Outcome {
    let node = cluster.node()?;
    ensure!(in_client(&node, &["hostname"])?.trim() == "client");
    let failed = in_client(&node, &["sh", "-c", "exit 7"]);
    ensure!(failed.is_err_and(|error| error.to_string().contains("exit code 7")), "the status does not arrive");
    let pods = node.wait_pods("plain", "app=echo", 2).await?;
    let log = node.kubectl(&["-n", "plain", "logs", &pods[0]])?;
    ensure!(log.contains("is ready"), "{log}");
    Ok(())
}

pub async fn forwarded(cluster: &Cluster) -> Outcome {
    let node = cluster.node()?;
    let mut forward = node.kubectl_command(&["-n", "plain", "port-forward", "deployment/echo", ":8080"])?;
    let mut forward = forward.stdout(Stdio::piped()).spawn()?;
    let mut said = String::new();
    // Kept: kubectl says a line for each connection, and ends when nobody takes it.
    let mut output = BufReader::new(forward.stdout.take().context("no output")?);
    output.read_line(&mut said)?;
    let asked = (|| {
        let port = said.split_once("127.0.0.1:").and_then(|(_, rest)| rest.split(' ').next()).context("no port")?;
        let mut stream = TcpStream::connect(("127.0.0.1", port.parse()?))?;
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(b"GET /name HTTP/1.1\r\nhost: echo\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        anyhow::Ok(answer)
    })();
    forward.kill().and_then(|()| forward.wait())?;
    drop(output);
    let answer = asked.with_context(|| format!("kubectl said {said:?}"))?;
    ensure!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("echo-"), "{answer}");
    Ok(())
}

pub async fn job(cluster: &Cluster) -> Outcome {
    let node = cluster.node()?;
    node.apply(
        "
apiVersion: batch/v1
kind: Job
metadata: { name: sum, namespace: plain }
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - { name: tools, image: 'localhost/tools:test', imagePullPolicy: Never, command: [sh, -c, 'echo $((6 * 7))'] }
",
    )
    .await?;
    let log = super::told_by_job(&node, "plain", "sum").await?;
    ensure!(log.trim() == "42", "{log}");
    Ok(())
}

pub async fn volumes(cluster: &Cluster) -> Outcome {
    let node = cluster.node()?;
    node.apply(
        "
apiVersion: v1
kind: Service
metadata: { name: disk, namespace: plain }
spec: { clusterIP: None, selector: { app: disk }, ports: [{ name: none, port: 1 }] }
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: disk, namespace: plain }
spec:
  serviceName: disk
  replicas: 3
  podManagementPolicy: Parallel
  selector: { matchLabels: { app: disk } }
  template:
    metadata: { labels: { app: disk } }
    spec:
      terminationGracePeriodSeconds: 0
      securityContext: { runAsNonRoot: true, runAsUser: 65532 }
      containers:
        - name: tools
          image: localhost/tools:test
          imagePullPolicy: Never
          command: [sh, -c, 'hostname >/data/name && sleep infinity']
          volumeMounts: [{ name: data, mountPath: /data }]
  volumeClaimTemplates:
    - metadata: { name: data }
      spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }
",
    )
    .await?;
    for name in node.wait_pods("plain", "app=disk", 3).await? {
        let kept = || {
            let kept = node.kubectl(&["-n", "plain", "exec", &name, "--", "cat", "/data/name"]).ok()?;
            (kept.trim() == name).then_some(())
        };
        poll_until(Instant::now() + SOON, "its own name on its own volume", kept).with_context(|| name.clone())?;
        let full = format!("{name}.disk.plain.svc.cluster.local");
        let resolved =
            || in_client(&node, &["dig", "+short", "+search", &full]).ok().filter(|said| said.starts_with("10.244."));
        poll_until(Instant::now() + SOON, "an address of its own", resolved).with_context(|| full.clone())?;
    }
    Ok(())
}
