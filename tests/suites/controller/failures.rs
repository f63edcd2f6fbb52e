//! What is lost when a part is restarted, paused or killed: nothing; and what is written twice or late: nothing either.
//!
//! Each case leaves everything running and the service `web` with all its pods, for the next one.

use crate::stage::{Kubernetes, SOON, WEB};
use anyhow::{Context, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use weft_examples::mesh::{Discovery, get};
use weft_examples::pods::poll_until;
use weft_tests::Outcome;
use weft_tests::ports::HTTP;
use weft_tests::world::NAMESPACE;

/// How long a leader is stopped: three lives of its lease.
const PAUSE: Duration = Duration::from_secs(30);
/// How long a leader that wakes up may take to send a write, while the store stands still; it waits a little longer for an answer.
const SENT: Duration = Duration::from_secs(3);
/// A transaction that writes an endpoint is longer than this, and whatever else a replica sends meanwhile is shorter.
const A_WRITE: u64 = 300;

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

/// Writes of the replica's controller that had this outcome.
fn writes(replica: &Discovery, outcome: &str) -> f64 {
    replica.metrics().sum("weft_discovery_controller_writes_total", &[("outcome", outcome)])
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
    // Its lease is not all that keeps a leader from writing: that it has run out is found out beside the write. A round in which the machine
    // stood still at the wrong moment shows nothing of the fence, and is made up for by a shorter one.
    for pause in [PAUSE, Duration::ZERO, Duration::ZERO, Duration::ZERO] {
        if pause_leader(cluster, pause).await? > 0.0 {
            return Ok(());
        }
    }
    bail!("a leader that was paused has not tried to write, so that nobody has seen it refused");
}

/// Stops the leader for `pause` at least, and until another has written in its place; wakes it with news that it has not heard. How many of
/// its writes the store has refused.
async fn pause_leader(cluster: &Kubernetes, pause: Duration) -> anyhow::Result<f64> {
    let old = cluster.wait_leader(None)?;
    let (written, refused) = (writes(old, "written"), writes(old, "fenced"));
    let deposed = || old.log().matches("this replica leads no more").count();
    let times = deposed();
    old.signal(Signal::SIGSTOP);
    let stopped = Instant::now();
    let followed = followed(cluster, old).await.and_then(|()| {
        let over = || (stopped.elapsed() >= pause).then_some(());
        Ok(poll_until(stopped + pause + SOON, "the pause to be over", over)?)
    });
    // The store stands still as well until the old leader has sent its write, for otherwise it may hear first that its time is over.
    let woken = cluster.etcd.pause(0);
    old.signal(Signal::SIGCONT);
    let sent =
        poll_until(Instant::now() + SENT, "the old leader's write", || queued(cluster).filter(|n| *n >= A_WRITE));
    cluster.etcd.resume(0)?;
    followed?;
    woken?;
    println!("paused for {:?}; the store was sent {:?} bytes at once", stopped.elapsed(), sent.ok());
    poll_until(Instant::now() + SOON, "the old leader to notice", || (deposed() > times).then_some(()))?;
    ensure!(writes(old, "written") == written, "the old leader wrote {} times", writes(old, "written") - written);
    cluster.wait_leader(None)?;
    wait_listed(old, &WEB[..2])?;
    ensure!(cluster.states("web") == ["web-0=ready", "web-1=not-ready"], "{:?}", cluster.states("web"));
    tell(cluster, &WEB, true).await?;
    cluster.wait_states("web", &["web-0=ready", "web-1=ready", "web-2=ready"])?;
    Ok(writes(old, "fenced") - refused)
}

/// Two changes that the leader who is stopped does not hear of, written by another.
async fn followed(cluster: &Kubernetes, old: &Discovery) -> Outcome {
    tell(cluster, &WEB[..2], true).await?;
    wait_listed(cluster.wait_leader(Some(old.name()))?, &WEB[..2])?;
    tell(cluster, &WEB[..2], false).await?;
    cluster.wait_states("web", &["web-0=ready", "web-1=not-ready"])
}

/// Bytes that wait to be read by the mesh's etcd, of the connection that has most of them.
fn queued(cluster: &Kubernetes) -> Option<u64> {
    let port: u16 = cluster.etcd.endpoints().first()?.rsplit(':').next()?.parse().ok()?;
    let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", cluster.etcd.pid(0)?)).ok()?;
    let of = |row: &str| {
        // sl, local address, remote address, state, tx_queue:rx_queue, ...: proc(5), /proc/net/tcp.
        let columns: Vec<&str> = row.split_whitespace().collect();
        let is_own = u16::from_str_radix(columns.get(1)?.rsplit(':').next()?, 16).ok()? == port;
        let waiting = u64::from_str_radix(columns.get(4)?.rsplit(':').next()?, 16).ok()?;
        (is_own && columns.get(3) == Some(&"01")).then_some(waiting)
    };
    table.lines().skip(1).filter_map(of).max()
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
