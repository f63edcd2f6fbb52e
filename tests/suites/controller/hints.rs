//! Topology hints: clients go to the endpoints that are meant for their node, or else their zone, and elsewhere without any.
//!
//! The hints are those that the EndpointSlice controller writes for `trafficDistribution` and `topology-mode`. The client's sidecar
//! is on `node-0` in `zone-a`.

use crate::stage::{Kubernetes, WEB};
use anyhow::ensure;
use k8s_openapi::api::discovery::v1::{EndpointHints, ForNode, ForZone};
use std::net::SocketAddr;
use weft_examples::mesh::get;
use weft_tests::Outcome;
use weft_tests::cluster::slice;
use weft_tests::ports::HTTP;

/// Zones and nodes that an endpoint is meant for; whether it is ready.
type Meant = (&'static str, &'static str, bool);

/// Tells of `near`, each pod with what it is meant for, and waits until just `wanted` are asked.
async fn expect(cluster: &Kubernetes, meant: [Meant; 3], wanted: &[&str]) -> Outcome {
    let mut pods = WEB.map(|name| cluster.pod(name));
    for (pod, (_, _, ready)) in pods.iter_mut().zip(meant) {
        pod.addresses.truncate(1);
        pod.ready = ready;
    }
    let mut slice = slice("near", &[("http", HTTP)], &pods)?;
    for (endpoint, (zones, nodes, _)) in slice.endpoints.iter_mut().zip(meant) {
        let zones: Vec<_> = zones.split_whitespace().map(|name| ForZone { name: name.to_owned() }).collect();
        let nodes: Vec<_> = nodes.split_whitespace().map(|name| ForNode { name: name.to_owned() }).collect();
        endpoint.hints = Some(EndpointHints {
            for_zones: Some(zones).filter(|zones| !zones.is_empty()),
            for_nodes: Some(nodes).filter(|nodes| !nodes.is_empty()),
        });
    }
    cluster.api.slice(&slice).await?;
    let to = SocketAddr::from((cluster.addresses("near").await?[0], 80));
    // Nobody else is asked once the change has come: the last of those that are not wanted is waited for.
    let settled = || {
        let all = (0..20).map(|_| get(cluster.world.client(), to, "/name").ok());
        let names: Option<Vec<String>> = all.map(|reply| Some(reply?.body.trim().to_owned())).collect();
        names?.iter().all(|name| wanted.contains(&name.as_str())).then_some(())
    };
    let what = format!("{wanted:?} for {meant:?}");
    weft_examples::pods::poll_until(std::time::Instant::now() + crate::stage::SOON, &what, settled)?;
    cluster.wait_answers(to, wanted)
}

pub async fn followed(cluster: &Kubernetes) -> Outcome {
    cluster.service("near", "  trafficDistribution: PreferSameZone\n").await?;
    let zones = [("zone-a zone-c", "", true), ("zone-b", "", true), ("zone-b", "", true)];
    expect(cluster, zones, &["web-0"]).await?;
    // Those of the own node come before those of the own zone.
    let nodes = [("zone-a", "node-1", true), ("zone-a", "node-0", true), ("zone-b", "node-2", true)];
    expect(cluster, nodes, &["web-1"]).await?;
    let elsewhere = [("zone-a", "node-1", true), ("zone-b", "node-1", true), ("zone-b", "node-2", true)];
    expect(cluster, elsewhere, &["web-0"]).await?;
    // A single endpoint without hints: they are not in force.
    expect(cluster, [("zone-a", "", true), ("", "", true), ("zone-b", "", true)], &WEB).await?;
    // The only one for this zone is not ready.
    expect(cluster, [("zone-a", "", false), ("zone-b", "", true), ("zone-b", "", true)], &["web-1", "web-2"]).await?;
    expect(cluster, zones, &["web-0"]).await?;
    let known = cluster.states("near");
    ensure!(known == ["web-0=ready", "web-1=ready", "web-2=ready"], "{known:?}");
    Ok(())
}
