//! Services, their pods and how applications reach them: by ClusterIP, by name, and by a pod's own address.
//!
//! The first case tells the API server of everything that the later ones use.

use crate::stage::{Kubernetes, SOON, WEB};
use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::api::DeleteParams;
use std::net::SocketAddr;
use std::time::Instant;
use weft_examples::mesh::get;
use weft_examples::pods::poll_until;
use weft_tests::Outcome;
use weft_tests::cluster::{TestPod, slice};
use weft_tests::ports::HTTP;
use weft_tests::programs::dig;
use weft_tests::world::NAMESPACE;

/// What an application is told about the client, if it was called over mTLS.
const CLIENT: &str = "spiffe://weft.local/ns/test/sa/client";

pub async fn cluster_ip(cluster: &Kubernetes) -> Outcome {
    let pods = WEB.map(|name| cluster.pod(name));
    for pod in &pods {
        cluster.api.pod(pod).await?;
    }
    cluster.service("web", "  ipFamilyPolicy: RequireDualStack\n").await?;
    cluster.slices("web", HTTP, &pods).await?;
    cluster.world.mesh().wait_endpoints(NAMESPACE, &WEB, SOON)?;
    let addresses = cluster.addresses("web").await?;
    ensure!(addresses.len() == 2, "not of both families: {addresses:?}");
    for address in addresses {
        let to = SocketAddr::from((address, 80));
        cluster.wait_answers(to, &WEB)?;
        let said = cluster.caller(to)?;
        ensure!(said.contains(CLIENT), "called in the clear: {said}");
    }
    cluster.wait_states("web", &["web-0=ready", "web-1=ready", "web-2=ready"])
}

pub async fn plain(cluster: &Kubernetes) -> Outcome {
    let pod = TestPod::new(NAMESPACE, "plain", cluster.plain.ip());
    cluster.api.pod(&pod).await?;
    cluster.service("plain", "").await?;
    cluster.slices("plain", HTTP, &[pod]).await?;
    cluster.world.mesh().wait_endpoints(NAMESPACE, &["plain"], SOON)?;
    let to = SocketAddr::from((cluster.addresses("plain").await?[0], 80));
    cluster.wait_answers(to, &["plain"])?;
    let said = cluster.caller(to)?;
    ensure!(!said.contains(CLIENT), "{said}");
    Ok(())
}

pub async fn states(cluster: &Kubernetes) -> Outcome {
    let pods = WEB.map(|name| cluster.pod(name));
    for family in 0..2 {
        let mut pods = pods.clone();
        pods[1].ready = false;
        pods.iter_mut().for_each(|pod| pod.addresses.rotate_left(family));
        let mut slice = slice("web", &[("http", HTTP)], &pods)?;
        let ending = slice.endpoints[2].conditions.get_or_insert_default();
        (ending.ready, ending.serving, ending.terminating) = (Some(false), Some(true), Some(true));
        cluster.api.slice(&slice).await?;
    }
    cluster.wait_states("web", &["web-0=ready", "web-1=not-ready", "web-2=terminating"])?;
    let to = SocketAddr::from((cluster.addresses("web").await?[0], 80));
    for _ in 0..20 {
        let reply = get(cluster.world.client(), to, "/name")?;
        ensure!(reply.body.trim() == "web-0", "{reply:?}");
    }
    cluster.slices("web", HTTP, &pods).await?;
    cluster.wait_states("web", &["web-0=ready", "web-1=ready", "web-2=ready"])?;
    cluster.wait_answers(to, &WEB)
}

pub async fn made_anew(cluster: &Kubernetes) -> Outcome {
    cluster.api.delete_pod(NAMESPACE, "web-2").await?;
    // Its slices have it still, and nobody can say any more who it is.
    cluster.wait_states("web", &["web-0=ready", "web-1=ready"])?;
    cluster.api.pod(&cluster.pod("web-2")).await?;
    cluster.wait_states("web", &["web-0=ready", "web-1=ready", "web-2=ready"])?;
    cluster.wait_answers(SocketAddr::from((cluster.addresses("web").await?[0], 80)), &WEB)
}

pub async fn headless(cluster: &Kubernetes) -> Outcome {
    cluster.service("peers", "  clusterIP: None\n  publishNotReadyAddresses: true\n").await?;
    let mut pods = WEB.map(|name| cluster.pod(name));
    pods.iter_mut().for_each(|pod| pod.addresses.truncate(1));
    // The peers of a StatefulSet find each other before they are ready.
    pods[2].ready = false;
    cluster.slices("peers", HTTP, &pods).await?;
    let client = cluster.world.client();
    let wanted: Vec<String> = WEB.iter().map(|name| cluster.world.pod(name).ip().to_string()).collect();
    let mut said = Vec::new();
    let all = || {
        said = dig(client, &["peers.test.svc.cluster.local", "A"]).unwrap_or_default();
        said.sort();
        (said == wanted).then_some(())
    };
    poll_until(Instant::now() + SOON, "the names of all peers", all).with_context(|| format!("{said:?}"))?;
    for (name, address) in WEB.iter().zip(&wanted) {
        let found = dig(client, &[&format!("{name}.peers.test.svc.cluster.local"), "A"])?;
        ensure!(found == [address.clone()], "{name}: {found:?}");
        let dashed = format!("{}.peers.test.svc.cluster.local", address.replace('.', "-"));
        ensure!(dig(client, &[&dashed, "A"])? == [address.clone()], "{dashed}");
        let to: SocketAddr = format!("{address}:{HTTP}").parse()?;
        let reply = get(client, to, "/name")?;
        ensure!(reply.body.trim() == *name, "{reply:?}");
        let said = cluster.caller(to)?;
        ensure!(said.contains(CLIENT), "{name} was called in the clear: {said}");
    }
    Ok(())
}

pub async fn node_local(cluster: &Kubernetes) -> Outcome {
    cluster.service("local", "  internalTrafficPolicy: Local\n").await?;
    let mut pods = WEB.map(|name| cluster.pod(name));
    pods.iter_mut().for_each(|pod| pod.addresses.truncate(1));
    pods[0].node = "node-1".to_owned();
    pods[2].node = "node-1".to_owned();
    cluster.slices("local", HTTP, &pods).await?;
    let listed = || {
        let said = cluster.world.mesh().weftctl(&["get", "endpoints", "-n", NAMESPACE, "-o", "json"]).ok()?;
        said.contains("\"local\"").then_some(())
    };
    poll_until(Instant::now() + SOON, "the service local", listed)?;
    let to = SocketAddr::from((cluster.addresses("local").await?[0], 80));
    cluster.wait_answers(to, &["web-1"])?;
    cluster.wait_states("local", &["web-0=ready", "web-1=ready", "web-2=ready"])?;
    for _ in 0..20 {
        let reply = get(cluster.world.client(), to, "/name")?;
        ensure!(reply.body.trim() == "web-1", "{reply:?}");
    }
    Ok(())
}

pub async fn others(cluster: &Kubernetes) -> Outcome {
    let mesh = cluster.world.mesh();
    let applied = || mesh.weftctl(&["get", "service", "applied", "-n", NAMESPACE, "-o", "json"]);
    let before = applied()?;
    cluster.service("applied", "").await?;
    cluster.service("after", "").await?;
    let seen = || mesh.weftctl(&["get", "services", "-n", NAMESPACE]).ok()?.contains("after").then_some(());
    poll_until(Instant::now() + SOON, "a service that came later", seen)?;
    ensure!(applied()? == before, "{}", applied()?);
    let services = kube::Api::<Service>::namespaced(cluster.api.client().await?, NAMESPACE);
    for name in ["applied", "after"] {
        services.delete(name, &DeleteParams::default()).await?;
    }
    let gone = || (!mesh.weftctl(&["get", "services", "-n", NAMESPACE]).ok()?.contains("after")).then_some(());
    poll_until(Instant::now() + SOON, "the later service to go", gone)?;
    ensure!(applied()? == before, "{}", applied()?);
    // The other way round: what is the cluster's is changed there.
    let document = weft_tests::ports::service_document(NAMESPACE, "web");
    let weftctl = cluster.wait_leader(None)?.weftctl_program()?.args(["apply", "-f", "-"]).input(document);
    let refused = mesh.node().run(weftctl)?;
    ensure!(refused.text().contains("kept by Kubernetes"), "{}", refused.text());
    Ok(())
}
