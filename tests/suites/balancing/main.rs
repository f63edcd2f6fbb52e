//! Load goes where it is served well: away from the slow and the broken, to the new as soon as they are ready; and where a
//! policy says that it is to go.
//!
//! First three replicas, one of them slow, called by eight connections at once; then three with weights and zones, which
//! serve several services, each with a balancer of its own; `places` has what depends on who stands where.

mod places;

use anyhow::ensure;
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use weft_examples::mesh::Workload;
use weft_tests::client::Http1;
use weft_tests::world::{SOON, server, workload};
use weft_tests::{Outcome, Plan, Suite, World, ports};

fn main() -> ExitCode {
    Suite::on("meshed", || {
        let slow = |workload, server: weft_examples::pods::Program| (workload, server.args(["--delay", "20ms"]));
        Plan::new().echo("echo", 2).replica("echo", 2, slow).echo("picky", 3).client("client").start()
    })
    .case_on("meshed", "a slow replica gets little, the others share the rest", slow_replica)
    .case_on("meshed", "a replica that answers quickly but badly attracts nothing", fast_failures)
    .case_on("meshed", "a new replica gets traffic within a second", newcomer)
    .case_on("meshed", "a replica that freezes is avoided", frozen)
    .and_on("policies", policies)
    .case_on("policies", "round-robin takes turns, exactly by weight", turns)
    .case_on("policies", "least-request and random follow weights", weights)
    .case_on("policies", "a hash of header, query or cookie leads to the same replica", hashes)
    .case_on("policies", "when a replica goes, only its hashed sessions move", hashed_sessions_move)
    .case_on("policies", "a zone keeps its traffic, until nobody is left in it", zones)
    .case_on("policies", "weftctl shows which balancer is in force", shown)
    .and_on("places", places::world)
    .case_on("places", "nearest goes to the next town while there is headroom", places::nearest)
    .case_on("places", "a bounded hash leaves its home when that has its share", places::bounded)
    .case_on("places", "weights follow load reports, which clients do not see", places::reports)
    .case_on("places", "prequal asks sidecars how busy they are, over a connection of its own", places::prequal)
    .case_on("places", "a zone takes over when the one before it is gone", places::failover)
    .run()
}

/// Services that are served by the same three replicas, and how each is balanced. `fleet-2` weighs three times as much.
const BALANCED: &[(&str, &str)] = &[
    ("turns", "algorithm: round-robin"),
    ("least", "algorithm: least-request, choices: 2"),
    ("lots", "algorithm: random"),
    ("ringed", "algorithm: ring-hash, hashOn: { header: X-User }"),
    ("tabled", "algorithm: maglev, hashOn: { queryParam: user }"),
    ("baked", "algorithm: maglev, hashOn: { cookie: user }, tableSize: 251"),
    ("from", "algorithm: source-ip-hash"),
    ("zoned", "algorithm: round-robin, zoneAware: {}, panicThreshold: 10, slowStart: { window: 1s }, subsetSize: 10"),
];

/// Three replicas in two zones, and a client in the zone of one of them.
fn policies() -> anyhow::Result<World> {
    let document = |(name, balancer): &(&str, &str)| {
        format!(
            "{}---\napiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{ name: {name}, namespace: test }}\n\
             spec:\n  targetRefs: [{{ kind: Service, name: {name} }}]\n  loadBalancer: {{ {balancer} }}\n",
            weft_tests::ports::service_document("test", name)
        )
    };
    let documents: Vec<String> = BALANCED.iter().map(document).collect();
    let fleet = |index: u32, zone: &str, weight: u32| {
        let name = format!("fleet-{index}");
        let base = Workload::new("test", &name, "fleet").zone(zone).health_check(format!("tcp:{}", ports::HTTP));
        let registered =
            BALANCED.iter().fold(base, |w, (service, _)| w.registers(format!("{service}=http:{}", ports::HTTP)));
        registered.proxy_arg(format!("--weight={weight}")).application(server(&name))
    };
    Plan::new()
        .documents(documents.join("---\n"))
        .workload(fleet(0, "east", 1))
        .workload(fleet(1, "west", 1))
        .workload(fleet(2, "west", 3))
        .workload(Workload::new("test", "client", "client").zone("east"))
        .start()
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

const FLEET: [&str; 3] = ["fleet-0", "fleet-1", "fleet-2"];

async fn turns(world: &World) -> Outcome {
    world.wait_replicas("turns", &FLEET)?;
    let counts = spread(world, "turns", 1, 100).await?;
    let expected = [("fleet-0", 20), ("fleet-1", 20), ("fleet-2", 60)].map(|(name, count)| (name.to_owned(), count));
    ensure!(counts == BTreeMap::from(expected), "{counts:?}");
    Ok(())
}

async fn weights(world: &World) -> Outcome {
    for service in ["least", "lots"] {
        world.wait_replicas(service, &FLEET)?;
        let counts = spread(world, service, 1, 1000).await?;
        let share = |name: &str| counts.get(name).copied().unwrap_or(0) as f64 / 1000.0;
        ensure!((0.5..0.7).contains(&share("fleet-2")), "{service}: {counts:?}");
        ensure!((0.13..0.27).contains(&share("fleet-0")), "{service}: {counts:?}");
    }
    Ok(())
}

/// Who serves `user` on a connection of its own.
async fn home(world: &World, service: &str, user: u32) -> anyhow::Result<String> {
    let mut client = Http1::dial(world.client(), world.at(service, 80))?;
    let (query, header) = match service {
        "ringed" => (String::new(), format!("x-user: {user}\r\n")),
        "tabled" => (format!("?page=1&user={user}"), String::new()),
        "baked" => (String::new(), format!("cookie: theme=dark; user={user}\r\n")),
        _ => Default::default(),
    };
    let response = client.request(format!("GET /name{query} HTTP/1.1\r\nhost: x\r\n{header}\r\n")).await?;
    ensure!(response.status() == 200, "{response:?}");
    Ok(response.text())
}

async fn hashes(world: &World) -> Outcome {
    for service in ["ringed", "tabled", "baked"] {
        // Without a key any replica may answer.
        world.wait_replicas(service, &FLEET)?;
        let mut homes = BTreeMap::new();
        for user in (0..40).cycle().take(120) {
            let home = home(world, service, user).await?;
            let before = homes.entry(user).or_insert_with(|| home.clone());
            ensure!(*before == home, "{service}: {user} was at {before}, then at {home}");
        }
        let used: BTreeSet<_> = homes.values().cloned().collect();
        ensure!(used.len() == 3, "{service}: all users are at {used:?}");
    }
    let mut sources = BTreeSet::new();
    for user in 0..20 {
        sources.insert(home(world, "from", user).await?);
    }
    ensure!(sources.len() == 1, "one address, several replicas: {sources:?}");
    Ok(())
}

async fn hashed_sessions_move(world: &World) -> Outcome {
    let everybody = async || {
        let mut homes = BTreeMap::new();
        for user in 0..60 {
            homes.insert(user, home(world, "ringed", user).await?);
        }
        anyhow::Ok(homes)
    };
    let before = everybody().await?;
    world.member("fleet-1").kill();
    let after = everybody().await?;
    for (user, home) in &before {
        let now = &after[user];
        ensure!(if home == "fleet-1" { now != home } else { now == home }, "{user} went from {home} to {now}");
    }
    Ok(())
}

async fn zones(world: &World) -> Outcome {
    let counts = spread(world, "zoned", 2, 100).await?;
    ensure!(counts.keys().eq(["fleet-0"]), "traffic left its zone: {counts:?}");
    world.member("fleet-0").kill();
    let counts = spread(world, "zoned", 2, 50).await?;
    ensure!(counts.keys().eq(["fleet-2"]), "the other zone did not take over: {counts:?}");
    Ok(())
}

async fn shown(world: &World) -> Outcome {
    let table = world.mesh().weftctl(&["get", "policies", "-n", "test"])?;
    for name in ["round-robin", "least-request", "random", "ring-hash", "maglev"] {
        ensure!(table.contains(name), "{name} is not in\n{table}");
    }
    let dump = world.mesh().weftctl(&["proxy", "dump", "client", "-n", "test"])?;
    ensure!(dump.contains("max_in_flight"), "no zone preference in\n{dump}");
    Ok(())
}

async fn slow_replica(world: &World) -> Outcome {
    world.wait_replicas("echo", &["echo-0", "echo-1", "echo-2"])?;
    let counts = spread(world, "echo", 8, 100).await?;
    let share = |name: &str| counts.get(name).copied().unwrap_or(0) as f64 / 800.0;
    // An equal share is a third. How far below it the slow one stays depends on how slow a busy machine makes the others.
    ensure!(share("echo-2") < 0.22, "{counts:?}");
    ensure!(share("echo-0") > 0.3 && share("echo-1") > 0.3, "{counts:?}");
    Ok(())
}

async fn fast_failures(world: &World) -> Outcome {
    world.wait_replicas("picky", &["picky-0", "picky-1", "picky-2"])?;
    // In place of one server, one that refuses everything at once.
    let broken = world.member("picky-2");
    broken.kill_application();
    broken.start_application_as(server("picky-2").args(["--refuse", "503"]))?;
    broken.with_application(|server| server.wait_log("is ready", SOON)).transpose()?;
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
    newcomer.with_application(|server| server.wait_log("is ready", SOON)).transpose()?;
    let ready = Instant::now();
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    while client.get("/name").await?.text() != "echo-7" {
        ensure!(ready.elapsed() < SOON, "nothing after {:?}", ready.elapsed());
    }
    Ok(())
}

async fn frozen(world: &World) -> Outcome {
    world.member("echo-0").with_application(|server| server.stop());
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    // What it had accepted hangs with it; what comes later goes elsewhere, soon.
    let mut served = 0;
    let started = Instant::now();
    while served < 20 && started.elapsed() < SOON {
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
