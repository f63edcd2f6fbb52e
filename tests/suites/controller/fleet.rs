//! How long the end of an endpoint takes from the API server to a hundred proxies: measured, printed and bounded.
//!
//! From before the call to the API server, so that its own work counts as well, to the moment at which the last of the proxies has
//! decoded the change. The proxies carry no traffic; their streams are real.

use crate::stage::Kubernetes;
use anyhow::{Context, ensure};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use weft_tests::Outcome;
use weft_tests::cluster::{TestPod, slice};
use weft_tests::fleet::{Arrivals, Fleet, Membership, NAMESPACE, Wire, service};
use weft_tests::ports::HTTP;

const PROXIES: usize = 100;
const SERVICES: usize = 5;
/// Of each service.
const PODS: usize = 20;
/// The bound that users are told ...
const BOUND: Duration = Duration::from_secs(1);
/// ... and what a machine that stands still for a moment may add to a few.
const MOMENT: Duration = Duration::from_secs(15);
/// How long anything may take.
const LONG: Duration = Duration::from_secs(60);

/// Services with pods, each pod called after the change that its end is.
async fn populate(cluster: &Kubernetes) -> anyhow::Result<Vec<EndpointSlice>> {
    cluster.api.namespace(NAMESPACE, &[]).await?;
    let mut slices = Vec::new();
    for of in 0..SERVICES {
        let pods: Vec<_> = (of * PODS..(of + 1) * PODS)
            .map(|n| TestPod::new(NAMESPACE, &Arrivals::leaving(n), Ipv4Addr::new(10, 244, 8, n as u8 + 1)))
            .collect();
        for pod in &pods {
            cluster.api.pod(pod).await?;
        }
        let name = service(of);
        let port = format!("ports: [{{ name: http, port: 80, targetPort: {HTTP} }}]");
        cluster
            .apply(&format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: {NAMESPACE} }}\nspec:\n  {port}\n"
            ))
            .await?;
        let slice = slice(&name, &[("http", HTTP)], &pods)?;
        cluster.api.slice(&slice).await?;
        slices.push(slice);
    }
    Ok(slices)
}

/// Waits until everybody has heard of change number `n`.
async fn heard(fleet: &mut Fleet, arrivals: &Arrivals, n: usize) -> Outcome {
    let all = async {
        while !arrivals.reached_all(n) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, fleet.until(all)).await.with_context(|| format!("change {n}"))?
}

/// Every other pod is deleted; of the others the slices forget.
async fn course(cluster: &Kubernetes, mut slices: Vec<EndpointSlice>) -> anyhow::Result<[Vec<Duration>; 2]> {
    let changes = SERVICES * PODS;
    let (arrivals, wire) = (Arc::new(Arrivals::new(changes, PROXIES as u32)), Arc::new(Wire::default()));
    let membership = Membership::obtain(&cluster.world.mesh().discovery()[0]).await?;
    let subscriptions = (0..PROXIES).map(|_| (0..SERVICES).map(service).collect()).collect();
    let mut fleet = Fleet::start(&membership, subscriptions, &arrivals, &wire, LONG).await?;
    for n in 0..changes {
        let name = Arrivals::leaving(n);
        arrivals.made(n);
        if n % 2 == 0 {
            cluster.api.delete_pod(NAMESPACE, &name).await?;
        } else {
            let slice = &mut slices[n / PODS];
            let of = |target: &k8s_openapi::api::core::v1::ObjectReference| target.name.as_ref() == Some(&name);
            slice.endpoints.retain(|endpoint| !endpoint.target_ref.as_ref().is_some_and(of));
            cluster.api.slice(slice).await?;
        }
        heard(&mut fleet, &arrivals, n).await?;
    }
    let latencies = arrivals.latencies();
    let every_other = |from: usize| latencies.iter().skip(from).step_by(2).copied().collect();
    Ok([every_other(0), every_other(1)])
}

pub async fn hears(cluster: &Kubernetes) -> Outcome {
    let slices = populate(cluster).await?;
    let known = || {
        let endpoints = cluster.world.mesh().discovery()[0].weftctl(&["get", "endpoints", "-n", NAMESPACE]).ok()?;
        (endpoints.lines().filter(|line| line.contains("leaving-")).count() == SERVICES * PODS).then_some(())
    };
    weft_examples::pods::poll_until(std::time::Instant::now() + LONG, "all pods", known)?;
    // The fleet lives where discovery can be reached, on a thread and a runtime of its own.
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    let node = cluster.world.network().node();
    let measured = node.within(|| runtime()?.block_on(course(cluster, slices)))??;
    for (what, mut took) in ["a pod is deleted", "a slice forgets a pod"].into_iter().zip(measured) {
        took.sort();
        let at = |percent: usize| took[(took.len() * percent).div_ceil(100) - 1];
        println!(
            "{what}: {PROXIES} proxies have heard after p50 {:?}, p99 {:?}, at most {:?}",
            at(50),
            at(99),
            at(100)
        );
        ensure!(at(50) < BOUND && at(99) < BOUND + MOMENT, "too slow: p50 {:?}, p99 {:?}", at(50), at(99));
    }
    Ok(())
}
