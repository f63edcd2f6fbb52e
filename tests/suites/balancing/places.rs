//! Who stands where, and what they say of themselves: fail-over, distances, bounded loads, reports and probes.
//!
//! Three replicas serve a service for each case: `berlin` in one zone, `york-1` and `york-2` in another, the last of them slow.
//! The client is in Paris. Policies are those of `docs/balancing.md`, under the names of the services here.

use super::spread;
use anyhow::ensure;
use futures::future::try_join_all;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use weft_examples::mesh::Workload;
use weft_tests::client::{Http1, Http2};
use weft_tests::pages::example;
use weft_tests::world::server;
use weft_tests::{Outcome, Plan, World, ports};

const SERVICES: [&str; 5] = ["echo", "near", "bounded", "reported", "asked"];
const EVERYBODY: [&str; 3] = ["berlin", "york-1", "york-2"];

pub fn world() -> anyhow::Result<World> {
    let mut documents: Vec<String> = SERVICES.iter().map(|name| ports::service_document("test", name)).collect();
    for (index, name) in SERVICES.iter().enumerate() {
        // The page speaks of `echo` throughout.
        documents.push(example("balancing", index)?.replace("echo", name) + "\n");
    }
    let replica = |name: &str, zone: &str, location: &str, report: &str| {
        let base = Workload::new("test", name, "places").zone(zone).health_check(format!("tcp:{}", ports::HTTP));
        let registered =
            SERVICES.iter().fold(base, |w, service| w.registers(format!("{service}=http:{}", ports::HTTP)));
        let application = server(name).args(["--report", report]);
        let slow = if name == "york-2" { application.args(["--delay", "20ms"]) } else { application };
        registered.proxy_arg(format!("--location={location}")).application(slow)
    };
    Plan::new()
        .documents(documents.join("---\n"))
        .workload(replica("berlin", "east", "52.5,13.4", "TEXT cpu_utilization=0.1,rps_fractional=100"))
        .workload(replica("york-1", "west", "40.7,-74.0", "JSON {\"cpu_utilization\": 0.5, \"rps_fractional\": 100}"))
        .workload(replica("york-2", "west", "40.7,-74.0", "TEXT cpu_utilization=much"))
        .workload(Workload::new("test", "client", "client").proxy_arg("--location=48.9,2.4"))
        .start()
}

pub async fn nearest(world: &World) -> Outcome {
    world.wait_served("near")?;
    let counts = spread(world, "near", 2, 30).await?;
    ensure!(counts.keys().eq(["berlin"]), "{counts:?}");
    // The example's headroom is 4 requests.
    let homes = together(world, "near", 10, "").await?;
    ensure!(homes.contains("berlin") && homes.len() > 1, "{homes:?}");
    Ok(())
}

/// Who serves so many slow requests with this header at the same time.
async fn together(world: &World, service: &str, count: usize, header: &str) -> anyhow::Result<BTreeSet<String>> {
    let requests = (0..count).map(|_| async {
        let mut client = Http1::dial(world.client(), world.at(service, 80))?;
        let response = client.request(format!("GET /delay/3s HTTP/1.1\r\nhost: x\r\n{header}\r\n")).await?;
        ensure!(response.status() == 200, "{response:?}");
        Ok(response.text())
    });
    Ok(try_join_all(requests).await?.into_iter().collect())
}

pub async fn bounded(world: &World) -> Outcome {
    world.wait_served("bounded")?;
    let user = "x-user: 7\r\n";
    let mut homes = BTreeSet::new();
    for _ in 0..10 {
        let mut client = Http1::dial(world.client(), world.at("bounded", 80))?;
        homes.insert(client.request(format!("GET /name HTTP/1.1\r\nhost: x\r\n{user}\r\n")).await?.text());
    }
    ensure!(homes.len() == 1, "one request at a time has one home: {homes:?}");
    let shared = together(world, "bounded", 12, user).await?;
    ensure!(shared.len() == 3, "twelve at once have a bound of five each: {shared:?}");
    Ok(())
}

pub async fn reports(world: &World) -> Outcome {
    world.wait_served("reported")?;
    let mut client = Http1::dial(world.client(), world.at("reported", 80))?;
    let response = client.get("/name").await?;
    ensure!(response.head.header("endpoint-load-metrics").is_none(), "{response:?}");
    let h2 = Http2::dial(world.client(), world.at("reported", 80)).await?;
    let response = h2.get("/name").await?;
    ensure!(!response.trailers.contains_key("endpoint-load-metrics"), "{response:?}");
    // 1000 and 200 requests per second when fully busy; whoever says nothing that can be read counts as the mean of the others.
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let counts = spread(world, "reported", 1, 180).await?;
        let of = |name: &str| counts.get(name).copied().unwrap_or(0);
        let close = |count: usize, expected: usize| count.abs_diff(expected) <= 4;
        if close(of("berlin"), 100) && close(of("york-1"), 20) && close(of("york-2"), 60) {
            break;
        }
        ensure!(Instant::now() < deadline, "weights do not follow: {counts:?}");
    }
    let malformed = world.metrics("client").sum("weft_load_reports_malformed_total", &[("service", "reported.test")]);
    ensure!(malformed > 0.0, "nobody counts malformed reports");
    Ok(())
}

pub async fn prequal(world: &World) -> Outcome {
    world.wait_replicas("asked", &EVERYBODY)?;
    let counts = spread(world, "asked", 6, 100).await?;
    let slow = counts.get("york-2").copied().unwrap_or(0);
    // On a busy machine the others are not much quicker; an equal share would be 200.
    ensure!(slow < 200 && counts.values().sum::<usize>() == 600, "{counts:?}");
    for name in EVERYBODY {
        let labels = [("direction", "inbound"), ("protocol", "probe"), ("mtls", "true")];
        let probed = world.metrics(name).sum("weft_connections_total", &labels);
        ensure!(probed > 0.0, "{name} was not asked");
    }
    Ok(())
}

pub async fn failover(world: &World) -> Outcome {
    world.wait_served("echo")?;
    let counts = spread(world, "echo", 2, 50).await?;
    ensure!(counts.keys().eq(["berlin"]), "east comes first: {counts:?}");
    world.member("berlin").kill();
    let counts = spread(world, "echo", 2, 50).await?;
    ensure!(!counts.contains_key("berlin") && counts.values().sum::<usize>() == 100, "{counts:?}");
    ensure!(counts.keys().all(|name| name.starts_with("york")), "{counts:?}");
    Ok(())
}
