//! What is lost when a part is restarted, paused or killed: nothing; and what is written twice or late: nothing either.
//!
//! Each case leaves everything running and the service `web` with all its pods, for the next one.

use crate::stage::{Kubernetes, SOON, WEB};
use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Instant;
use weft_examples::mesh::{Discovery, get};
use weft_examples::pods::poll_until;
use weft_tests::Outcome;
use weft_tests::ports::HTTP;
use weft_tests::world::NAMESPACE;

/// Makes `web` have these of its pods, the second of them not ready if `all_ready` is not so.
async fn tell(cluster: &Kubernetes, names: &[&str], all_ready: bool) -> Outcome {
    let mut pods: Vec<_> = names.iter().map(|name| cluster.pod(name)).collect();
    if !all_ready {
        pods[1].ready = false;
    }
    cluster.slices("web", HTTP, &pods).await
}

/// The endpoints of `web`, as a replica tells.
fn listed(replica: &Discovery) -> Option<Vec<String>> {
    let said = replica.weftctl(&["get", "endpoints", "-n", NAMESPACE, "-o", "json"]).ok()?;
    let said: Value = serde_json::from_str(&said).ok()?;
    let web = said.as_array()?.iter().filter(|endpoint| endpoint["spec"]["service"] == "web");
    Some(web.map(|endpoint| endpoint["metadata"]["name"].as_str().unwrap_or("?").to_owned()).collect())
}

fn wait_listed(replica: &Discovery, wanted: &[&str]) -> Outcome {
    let mut said = None;
    let look = || {
        said = listed(replica);
        said.as_ref().is_some_and(|said| said == wanted).then_some(())
    };
    let found = poll_until(Instant::now() + SOON, &format!("{wanted:?}"), look);
    found.with_context(|| format!("{}: {said:?}", replica.name()))
}

fn written(replica: &Discovery) -> f64 {
    replica.metrics().sum("weft_discovery_controller_writes_total", &[("outcome", "written")])
}

pub async fn api_server(cluster: &Kubernetes) -> Outcome {
    let to = SocketAddr::from((cluster.addresses("web").await?[0], 80));
    cluster.api.stop_server();
    for _ in 0..20 {
        ensure!(get(cluster.world.client(), to, "/name")?.status == 200);
    }
    wait_listed(cluster.wait_leader(None)?, &WEB)?;
    cluster.api.start_server()?;
    tell(cluster, &WEB, false).await?;
    cluster.wait_states("web", &["web-0=ready", "web-1=not-ready", "web-2=ready"])?;
    tell(cluster, &WEB, true).await?;
    cluster.wait_states("web", &["web-0=ready", "web-1=ready", "web-2=ready"])
}

pub async fn discovery(cluster: &Kubernetes) -> Outcome {
    let replicas = cluster.world.mesh().discovery();
    replicas.iter().for_each(Discovery::kill);
    tell(cluster, &WEB[..2], false).await?;
    for replica in replicas {
        replica.start_again()?;
        replica.wait_ready(SOON)?;
    }
    cluster.wait_states("web", &["web-0=ready", "web-1=not-ready"])?;
    tell(cluster, &WEB, true).await?;
    cluster.wait_states("web", &["web-0=ready", "web-1=ready", "web-2=ready"])
}

pub async fn paused(cluster: &Kubernetes) -> Outcome {
    let old = cluster.wait_leader(None)?;
    let before = written(old);
    old.signal(Signal::SIGSTOP);
    tell(cluster, &WEB[..2], true).await?;
    let new = cluster.wait_leader(Some(old.name()));
    let followed = new.and_then(|new| {
        wait_listed(new, &WEB[..2])?;
        Ok(new)
    });
    // What the old one finds when it wakes up is older than what it has not heard yet.
    let changed = tell(cluster, &WEB[..2], false).await;
    old.signal(Signal::SIGCONT);
    let new = followed?;
    changed?;
    cluster.wait_states("web", &["web-0=ready", "web-1=not-ready"])?;
    let deposed = || (old.metrics().sum("weft_discovery_controller_leading", &[]) == 0.0).then_some(());
    poll_until(Instant::now() + SOON, "the old leader to notice", deposed)?;
    ensure!(written(old) == before, "the old leader wrote {} times after its time", written(old) - before);
    ensure!(new.metrics().sum("weft_discovery_controller_leading", &[]) == 1.0, "the new leader was disturbed");
    ensure!(cluster.states("web") == ["web-0=ready", "web-1=not-ready"], "{:?}", cluster.states("web"));
    tell(cluster, &WEB, true).await?;
    cluster.wait_states("web", &["web-0=ready", "web-1=ready", "web-2=ready"])
}

pub async fn killed(cluster: &Kubernetes) -> Outcome {
    let old = cluster.wait_leader(None)?;
    old.kill();
    tell(cluster, &WEB[1..], true).await?;
    let new = cluster.wait_leader(Some(old.name()))?;
    wait_listed(new, &WEB[1..])?;
    cluster.wait_states("web", &["web-1=ready", "web-2=ready"])?;
    old.start_again()?;
    old.wait_ready(SOON)?;
    tell(cluster, &WEB, true).await?;
    cluster.wait_states("web", &["web-0=ready", "web-1=ready", "web-2=ready"])?;
    wait_listed(old, &WEB)
}
