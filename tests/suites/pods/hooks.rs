//! HTTP hooks of an application with a sidecar, made by a real kubelet, while its namespace refuses plaintext.
//!
//! A hook that takes its time is seen in how long the pod takes to end; one that nobody answers in what becomes of its container.

use super::Cluster;
use anyhow::ensure;
use std::time::{Duration, Instant};
use weft_tests::Outcome;
use weft_tests::cluster::TAG;

/// How long the hook takes: longer than a pod takes to end without one.
const HOOK: Duration = Duration::from_secs(12);

/// A pod called `name` whose server has these hooks.
fn pod(name: &str, lifecycle: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{ name: {name}, namespace: mesh, labels: {{ app: {name} }} }}
spec:
  terminationGracePeriodSeconds: 60
  containers:
    - name: server
      image: weft-test-server:{TAG}
      imagePullPolicy: Never
      args: [--name, {name}]
      ports: [{{ name: http, containerPort: 8080 }}]
      readinessProbe: {{ httpGet: {{ path: /name, port: http }}, periodSeconds: 1, timeoutSeconds: 5 }}
      lifecycle: {{ {lifecycle} }}
"
    )
}

pub async fn made(cluster: &Cluster) -> Outcome {
    let node = cluster.node()?;
    let slow = format!("preStop: {{ httpGet: {{ path: /delay/{}s, port: http }} }}", HOOK.as_secs());
    node.apply(&pod("slow", &slow)).await?;
    node.wait_pods("mesh", "app=slow", 1).await?;
    let asked = Instant::now();
    node.kubectl(&["-n", "mesh", "delete", "pod", "slow", "--wait=true"])?;
    let took = asked.elapsed();
    ensure!(took >= HOOK, "the pod has ended {took:?} after it was told to: its hook was not made");
    Ok(())
}

pub async fn failed(cluster: &Cluster) -> Outcome {
    let node = cluster.node()?;
    node.apply(&pod("doomed", "postStart: { httpGet: { path: /, port: 9 } }")).await?;
    node.wait_pod("mesh", "doomed", "a hook that nobody answers to be a failure", |pod| {
        let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
        statuses.into_iter().flatten().any(|status| status.name == "server" && status.restart_count > 0)
    })
    .await?;
    let events = node.kubectl(&["-n", "mesh", "get", "events", "--field-selector", "reason=FailedPostStartHook"])?;
    ensure!(events.contains("doomed"), "{events}");
    node.kubectl(&["-n", "mesh", "delete", "pod", "doomed", "--wait=true"])?;
    Ok(())
}
