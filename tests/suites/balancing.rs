//! Load goes where it is served well: away from the slow and the broken, to the new as soon as they are ready.
//!
//! Three replicas, one of them slow, called by eight connections at once.

use anyhow::ensure;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use weft_tests::client::Http1;
use weft_tests::world::{server, workload};
use weft_tests::{Outcome, Plan, Suite, World};

fn main() -> ExitCode {
    Suite::on("meshed", || {
        let slow = |workload, server: weft_examples::pods::Program| (workload, server.args(["--delay", "20ms"]));
        Plan::new().echo("echo", 2).replica("echo", 2, slow).echo("picky", 3).client("client").start()
    })
    .case("a slow replica gets little, the others share the rest", slow_replica)
    .case("a replica that answers quickly but badly attracts nothing", fast_failures)
    .case("a new replica gets traffic within a second", newcomer)
    .case("a replica that freezes is avoided", frozen)
    .run()
}

/// Who answered how often when `connections` clients send `each` requests one after the other.
async fn spread(
    world: &World,
    service: &str,
    connections: usize,
    each: usize,
) -> anyhow::Result<BTreeMap<String, usize>> {
    let clients = (0..connections).map(|_| async {
        let mut client = Http1::dial(world.client(), world.at(service, 80))?;
        let mut names = vec![];
        for _ in 0..each {
            let response = client.get("/name").await?;
            names.push(if response.status() == 200 { response.text() } else { response.status().to_string() });
        }
        anyhow::Ok(names)
    });
    let mut counts = BTreeMap::new();
    for name in futures::future::try_join_all(clients).await?.into_iter().flatten() {
        *counts.entry(name).or_default() += 1;
    }
    Ok(counts)
}

async fn slow_replica(world: &World) -> Outcome {
    world.wait_replicas("echo", &["echo-0", "echo-1", "echo-2"])?;
    let counts = spread(world, "echo", 8, 100).await?;
    let share = |name: &str| counts.get(name).copied().unwrap_or(0) as f64 / 800.0;
    ensure!(share("echo-2") < 0.15, "{counts:?}");
    ensure!(share("echo-0") > 0.3 && share("echo-1") > 0.3, "{counts:?}");
    Ok(())
}

async fn fast_failures(world: &World) -> Outcome {
    world.wait_replicas("picky", &["picky-0", "picky-1", "picky-2"])?;
    // In place of one server, one that refuses everything at once.
    let broken = world.member("picky-2");
    broken.kill_application();
    broken.start_application_as(server("picky-2").args(["--refuse", "503"]))?;
    broken.with_application(|server| server.wait_log("is ready", Duration::from_secs(5))).transpose()?;
    let before = world.metrics("client");
    let counts = spread(world, "picky", 8, 100).await?;
    ensure!(!counts.contains_key("503"), "failures reached the client: {counts:?}");
    let after = world.metrics("client");
    let tries = |m: &weft_examples::mesh::Metrics| m.sum("weft_retries_total", &[("service", "picky.test")]);
    let retried = tries(&after) - tries(&before);
    // Of 800, a third would be 267.
    ensure!(retried < 120.0, "the broken replica was tried {retried} times");
    Ok(())
}

async fn newcomer(world: &World) -> Outcome {
    let joined = workload("echo", 7).application(server("echo-7"));
    let newcomer = world.mesh().join(joined)?;
    newcomer.with_application(|server| server.wait_log("is ready", Duration::from_secs(5))).transpose()?;
    let ready = Instant::now();
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    while client.get("/name").await?.text() != "echo-7" {
        ensure!(ready.elapsed() < Duration::from_secs(5), "nothing after {:?}", ready.elapsed());
    }
    // Its health check runs at an interval of its own before it is ready; a second for that, a second for us.
    ensure!(ready.elapsed() < Duration::from_secs(2), "first traffic after {:?}", ready.elapsed());
    Ok(())
}

async fn frozen(world: &World) -> Outcome {
    world.member("echo-0").with_application(|server| server.stop());
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    // What it had accepted hangs with it; what comes later goes elsewhere, soon.
    let mut served = 0;
    let started = Instant::now();
    while served < 20 && started.elapsed() < Duration::from_secs(8) {
        match tokio::time::timeout(Duration::from_millis(500), client.get("/name")).await {
            Ok(Ok(response)) if response.status() == 200 => served += 1,
            _ => {
                served = 0;
                client = Http1::dial(world.client(), world.echo(80))?;
            }
        }
    }
    world.member("echo-0").with_application(|server| server.cont());
    ensure!(served == 20, "only {served} in a row");
    Ok(())
}
