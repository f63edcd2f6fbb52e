//! What the controller keeps of a large cluster: measured in the leader's memory, printed and bounded.
//!
//! Pods as injected Deployments make them, with everything in their objects that nobody here needs.

use crate::stage::{Kubernetes, SOON};
use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::PostParams;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use weft_examples::mesh::Discovery;
use weft_examples::pods::poll_until;
use weft_tests::Outcome;

const NAMESPACE: &str = "large";
const PODS: usize = 1000;
/// Pods of one service, which is as many as one slice has.
const EACH: usize = 100;
/// What of the leader's memory may be for a thousand pods, in KiB: facts, mirror and registry, and what the allocator keeps.
const BOUND: u64 = 32 * 1024;

/// Resident memory in KiB.
fn resident(replica: &Discovery) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", replica.pid().context("it does not run")?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}

fn name(n: usize) -> String {
    format!("service-{:02}-{:03}", n / EACH, n % EACH)
}

fn pod(n: usize) -> Value {
    let environment: Vec<Value> =
        (0..40).map(|n| json!({ "name": format!("SETTING_{n}"), "value": "x".repeat(40) })).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name(n), "namespace": NAMESPACE, "labels": { "app": format!("service-{:02}", n / EACH) },
            "annotations": { "weft.dev/injected": "test", "notes": "y".repeat(1000) },
        },
        "spec": {
            "nodeName": format!("node-{}", n % 50),
            "containers": [
                { "name": "app", "image": "test.invalid/none:v1", "env": environment },
                { "name": "weft-proxy", "image": "test.invalid/none:v1", "env": environment },
            ],
        },
    })
}

/// Of the `service`th service, which has its pods in this order.
fn slice(service: usize) -> Value {
    let endpoint = |n: usize| {
        json!({
            "addresses": [format!("10.245.{}.{}", n / 250, n % 250 + 1)], "conditions": { "ready": true },
            "nodeName": format!("node-{}", n % 50), "targetRef": { "kind": "Pod", "name": name(n), "namespace": NAMESPACE },
        })
    };
    let service_name = format!("service-{service:02}");
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": service_name, "namespace": NAMESPACE, "labels": { "kubernetes.io/service-name": service_name } },
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
        "endpoints": (service * EACH..(service + 1) * EACH).map(endpoint).collect::<Vec<_>>(),
    })
}

/// The `lot`th thousand, from 0.
pub async fn thousand(cluster: &Kubernetes, lot: usize) -> Outcome {
    let leader = cluster.wait_leader(None)?;
    let before = resident(leader)?;
    let known = || leader.metrics().sum("weft_discovery_endpoints", &[]);
    let had = known();
    if lot == 0 {
        cluster.api.namespace(NAMESPACE, &[]).await?;
    }
    let client = cluster.api.client().await?;
    let pods = kube::Api::<Pod>::namespaced(client.clone(), NAMESPACE);
    let slices = kube::Api::<EndpointSlice>::namespaced(client, NAMESPACE);
    let create = |n: usize| {
        let pods = pods.clone();
        async move { anyhow::Ok(pods.create(&PostParams::default(), &serde_json::from_value(pod(n))?).await?) }
    };
    let creating = stream::iter(lot * PODS..(lot + 1) * PODS).map(create).buffer_unordered(16);
    creating.try_for_each(async |_| Ok(())).await.context("pods")?;
    let begun = Instant::now();
    for service in lot * PODS / EACH..(lot + 1) * PODS / EACH {
        let yaml = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{ name: service-{service:02}, namespace: {NAMESPACE} }}\nspec:\n  \
             ports: [{{ name: http, port: 80, targetPort: 8080 }}]\n"
        );
        cluster.apply(&yaml).await?;
        slices.create(&PostParams::default(), &serde_json::from_value(slice(service))?).await?;
    }
    let all = || (known() >= had + PODS as f64).then_some(());
    poll_until(Instant::now() + SOON, "all endpoints", all).with_context(|| format!("{} are known", known()))?;
    let took = begun.elapsed();
    let after = resident(leader)?;
    println!("{PODS} pods more: {before} KiB before, {after} KiB with them; all were known after {:?}", rounded(took));
    ensure!(after.saturating_sub(before) < BOUND, "{before} KiB before, {after} KiB with {PODS} pods more");
    Ok(())
}

fn rounded(took: Duration) -> Duration {
    Duration::from_millis(took.as_millis() as u64)
}
