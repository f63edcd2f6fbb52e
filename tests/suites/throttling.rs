//! A service that refuses most requests is spared the rest, until it is well again.
//!
//! Three services with the policy of the documentation's page; the paths decide what is refused.

use anyhow::ensure;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use weft_tests::client::{Http1, Response1};
use weft_tests::{Outcome, Plan, Suite, World, pages, ports};

/// How long it may take until everything is sent again.
const RECOVERY: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    Suite::on("meshed", || {
        let policy = pages::example("throttling", 0)?;
        // With a greater K a service is found well again within a test's patience, whatever the dice say.
        let busy = policy.replace("name: echo", "name: busy").replace("k: 2", "k: 10");
        let many = policy.replace("name: echo", "name: many");
        let plan = ["echo", "busy", "many"].into_iter().fold(Plan::new(), |plan, name| plan.echo(name, 1));
        plan.documents(policy).documents(busy).documents(many).client("client").start()
    })
    .case("a service that accepts everything is sent everything", spared_nothing)
    .case("a service that refuses is hardly asked, and found well again", refusing)
    .case("429 is a refusal as well", too_many)
    .run()
}

fn is_throttled(response: &Response1) -> bool {
    response.status() == 503 && response.head.header("weft-reason") == Some("throttled")
}

/// How many of `count` requests were held back.
async fn held_back(client: &mut Http1, count: u32, request: &str) -> anyhow::Result<u32> {
    let mut throttled = 0;
    for _ in 0..count {
        throttled += u32::from(is_throttled(&client.request(request).await?));
    }
    Ok(throttled)
}

async fn spared_nothing(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    // Errors that are no refusals are no reason either.
    for path in ["/name", "/status/500", "/status/404"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: echo\r\n\r\n");
        ensure!(held_back(&mut client, 50, &request).await? == 0, "{path}");
    }
    Ok(())
}

async fn refusing(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.at("busy", 80))?;
    const REQUESTS: u32 = 30;
    let post = "POST /fail-always/busy HTTP/1.1\r\nhost: echo\r\ncontent-length: 0\r\n\r\n";
    let throttled = held_back(&mut client, REQUESTS, post).await?;
    let replica = (world.pod("busy-0").ip(), ports::HTTP).into();
    let arrived: u32 = Http1::dial(world.client(), replica)?.get("/counted/busy").await?.text().parse()?;
    ensure!(arrived + throttled == REQUESTS, "{arrived} arrived, {throttled} held back");
    ensure!((1..=REQUESTS / 2).contains(&arrived), "{arrived} of {REQUESTS} arrived");
    let counted =
        world.metrics("client").sum("weft_requests_total", &[("service", "busy.test"), ("reason", "throttled")]);
    ensure!(counted == f64::from(throttled), "{throttled} held back, {counted} counted");
    // Well again: the few that are sent are accepted, so that more are, until all are.
    let until = Instant::now() + RECOVERY;
    let mut in_a_row = 0;
    while in_a_row < 100 {
        ensure!(Instant::now() < until, "still held back after {RECOVERY:?}");
        let response = client.get("/name").await?;
        ensure!(response.status() == 200 || is_throttled(&response), "{response:?}");
        in_a_row = if response.status() == 200 { in_a_row + 1 } else { 0 };
    }
    Ok(())
}

async fn too_many(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.at("many", 80))?;
    let throttled = held_back(&mut client, 30, "GET /status/429 HTTP/1.1\r\nhost: echo\r\n\r\n").await?;
    ensure!(throttled >= 15, "{throttled} of 30 were held back");
    Ok(())
}
