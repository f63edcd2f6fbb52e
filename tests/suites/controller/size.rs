//! What the controller keeps of a large cluster: measured in the leader's memory, printed and bounded.
//!
//! Pods as injected Deployments make them, with everything in their objects that nobody here needs.

use crate::stage::Kubernetes;
use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use weft_examples::mesh::Discovery;
use weft_examples::pods::poll_until;
use weft_tests::Outcome;

const NAMESPACE: &str = "large";
const PODS: usize = 1000;
/// Pods of one service.
const EACH: usize = 10;
/// What of the leader's memory may be for a thousand pods, in KiB: facts, mirror and registry, and what the allocator keeps.
const BOUND: u64 = 32 * 1024;

/// How long the controller may take for any of it.
const LONG: Duration = Duration::from_secs(120);

/// Resident memory in KiB.
fn resident(replica: &Discovery) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", replica.pid().context("it does not run")?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}

fn name(n: usize) -> String {
    format!("service-{:03}-{}", n / EACH, n % EACH)
}

fn pod(n: usize) -> Value {
    let environment: Vec<Value> =
        (0..40).map(|n| json!({ "name": format!("SETTING_{n}"), "value": "x".repeat(40) })).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name(n), "namespace": NAMESPACE, "labels": { "app": format!("service-{:03}", n / EACH) },
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

/// Of the `service`th service, which has all its pods in this order, or all but the first.
fn slice(service: usize, whole: bool) -> Value {
    let endpoint = |n: usize| {
        json!({
            "addresses": [format!("10.245.{}.{}", n / 250, n % 250 + 1)], "conditions": { "ready": true },
            "nodeName": format!("node-{}", n % 50), "targetRef": { "kind": "Pod", "name": name(n), "namespace": NAMESPACE },
        })
    };
    let service_name = format!("service-{service:03}");
    let first = if whole { 0 } else { 1 };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": service_name, "namespace": NAMESPACE, "labels": { "kubernetes.io/service-name": service_name } },
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
        "endpoints": (service * EACH + first..(service + 1) * EACH).map(endpoint).collect::<Vec<_>>(),
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
    let tell = |service: usize| {
        let slices = slices.clone();
        async move {
            let yaml = format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{ name: service-{service:03}, namespace: {NAMESPACE} }}\nspec:\n  \
                 ports: [{{ name: http, port: 80, targetPort: 8080 }}]\n"
            );
            cluster.apply(&yaml).await?;
            slices.create(&PostParams::default(), &serde_json::from_value(slice(service, true))?).await?;
            anyhow::Ok(())
        }
    };
    let telling = stream::iter(lot * PODS / EACH..(lot + 1) * PODS / EACH).map(tell).buffer_unordered(8);
    telling.try_for_each(async |()| Ok(())).await.context("services")?;
    let told = Instant::now();
    let all = || (known() >= had + PODS as f64).then_some(());
    poll_until(Instant::now() + LONG, "all endpoints", all).with_context(|| format!("{} are known", known()))?;
    let (took, late) = (begun.elapsed(), told.elapsed());
    let after = resident(leader)?;
    let services = PODS / EACH;
    println!(
        "{PODS} pods more in {services} services: {before} KiB before, {after} KiB with them; told within {:?}, all known {:?} later",
        rounded(took),
        rounded(late)
    );
    ensure!(after.saturating_sub(before) < BOUND, "{before} KiB before, {after} KiB with {PODS} pods more");
    Ok(())
}

fn rounded(took: Duration) -> Duration {
    Duration::from_millis(took.as_millis() as u64)
}

/// A leader that has to read all of it: in pages, of what it needs alone, and what changed meanwhile is made good.
pub async fn read_again(cluster: &Kubernetes) -> Outcome {
    let old = cluster.wait_leader(None)?;
    let had = old.metrics().sum("weft_discovery_endpoints", &[]);
    old.kill();
    let client = cluster.api.client().await?;
    let slices = kube::Api::<EndpointSlice>::namespaced(client, NAMESPACE);
    let put = async |whole: bool| {
        let patch = Patch::Merge(slice(0, whole));
        anyhow::Ok(slices.patch("service-000", &PatchParams::default(), &patch).await?)
    };
    put(false).await?;
    let new = cluster.wait_leader(Some(old.name()))?;
    let elected = Instant::now();
    let known = || new.metrics().sum("weft_discovery_endpoints", &[]);
    let followed = || (known() == had - 1.0).then_some(());
    poll_until(Instant::now() + LONG, "what changed meanwhile", followed)
        .with_context(|| format!("{} of {had}", known()))?;
    println!(
        "a new leader has read {had} endpoints and their pods {:?} after its election",
        rounded(elected.elapsed())
    );
    put(true).await?;
    poll_until(Instant::now() + LONG, "all endpoints", || (known() == had).then_some(()))?;
    old.start_again()?;
    old.wait_ready(LONG)?;
    asked(cluster)
}

/// What the API server's audit log says of how the controller asks.
fn asked(cluster: &Kubernetes) -> Outcome {
    let asked = cluster.api.asked("system:serviceaccount:weft-system:weft-discovery")?;
    let of = |verb: &str, resource: &str| {
        let of = |request: &&Value| request["verb"] == verb && request["objectRef"]["resource"] == resource;
        let requests = asked.iter().filter(of);
        requests.filter_map(|request| request["requestURI"].as_str()).map(str::to_owned).collect::<Vec<_>>()
    };
    let kinds = [
        ("pods", "fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed"),
        ("services", "fieldSelector=spec.type%21%3DExternalName"),
        ("endpointslices", "labelSelector=kubernetes.io%2Fservice-name"),
        ("nodes", ""),
        ("httproutes", ""),
        ("grpcroutes", ""),
        ("referencegrants", ""),
    ];
    for (resource, selector) in kinds {
        let (lists, watches) = (of("list", resource), of("watch", resource));
        ensure!(!lists.is_empty() && !watches.is_empty(), "{resource}: {lists:?} {watches:?}");
        for list in &lists {
            ensure!(list.contains("limit=500") && list.contains(selector), "{list}");
        }
        for watch in &watches {
            ensure!(watch.contains("allowWatchBookmarks=true") && watch.contains("resourceVersion="), "{watch}");
            ensure!(watch.contains(selector), "{watch}");
        }
    }
    let lists = of("list", "pods");
    ensure!(lists.iter().any(|list| list.contains("continue=")), "a thousand pods in one page: {lists:?}");
    Ok(())
}
