//! An endpoint that answers badly is left out for a while, and nobody notices; it comes back, and never too many are out.
//!
//! Three replicas under the policy of docs/ejection.md, whose server takes moods. What a replica got is asked from within its
//! own pod, past every proxy.

use anyhow::{Context, ensure};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use weft_examples::pods::poll_until_async;
use weft_tests::client::Http1;
use weft_tests::world::SOON;
use weft_tests::{Outcome, Plan, Suite, World, pages, ports};

fn main() -> ExitCode {
    let world = || {
        let plan = Plan::new().echo("echo", 3).echo("bounded", 1).documents(pages::example("ejection", 0)?);
        plan.documents(pages::example("circuit-breaking", 0)?).client("client").start()
    };
    Suite::on("meshed", world)
        .case("a replica that answers 503 is left out, comes back, and is out for longer the next time", answers_503)
        .case("one that does not answer is left out", hangs)
        .case("one that resets every connection is left out", resets)
        .case("of two that are bad only one is out, as the share says", share)
        .case("requests beyond the circuit breaker's bound are refused at once, and not for longer", circuit)
        .run()
}

/// Asks the server in the pod of `name`, past the proxies.
async fn ask(world: &World, name: &str, path: &str) -> anyhow::Result<String> {
    let response = Http1::dial(world.pod(name), ([127, 0, 0, 1], ports::HTTP).into())?.get(path).await?;
    ensure!(response.status() == 200, "{response:?}");
    Ok(response.text())
}

/// How many requests `name` got while it was in a bad mood, and in a good one.
async fn arrived(world: &World, name: &str) -> anyhow::Result<(u64, u64)> {
    let (bad, good) = (ask(world, name, "/counted/refused").await?, ask(world, name, "/counted/named").await?);
    Ok((bad.parse()?, good.parse()?))
}

/// Requests one after the other, none of which may fail.
async fn requests(world: &World, count: usize) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    for n in 0..count {
        let response = client.get("/name").await?;
        ensure!(response.status() == 200, "number {n}: {response:?}");
    }
    Ok(())
}

fn ejections(world: &World, cause: &str) -> f64 {
    world.metrics("client").sum("weft_ejections_total", &[("service", "echo.test"), ("cause", cause)])
}

fn out(world: &World) -> f64 {
    world.metrics("client").sum("weft_endpoints_ejected", &[("service", "echo.test")])
}

/// Until nobody is out and every replica gets requests.
async fn all_back(world: &World) -> Outcome {
    let deadline = Instant::now() + SOON + SOON;
    let none = || async { (out(world) == 0.0).then_some(()) };
    poll_until_async(deadline, "everybody to be back", none).await?;
    world.wait_replicas("echo", &["echo-0", "echo-1", "echo-2"])
}

/// Puts `name` into `mood`, sees it go after exactly `after` requests because of `cause`, and nobody notice.
async fn goes(world: &World, name: &str, mood: &str, after: u64, cause: &str) -> anyhow::Result<Instant> {
    all_back(world).await?;
    let (counted, (before, _)) = (ejections(world, cause), arrived(world, name).await?);
    ask(world, name, &format!("/become/{mood}")).await?;
    requests(world, 30).await?;
    let since = Instant::now();
    let (bad, _) = arrived(world, name).await?;
    ensure!(bad - before == after, "{name} got {} requests instead of {after}", bad - before);
    ensure!(ejections(world, cause) == counted + 1.0, "{} of {cause}", ejections(world, cause));
    ensure!(out(world) == 1.0, "{} are out", out(world));
    ask(world, name, "/become/well").await?;
    Ok(since)
}

/// When `name` gets a request again.
async fn back(world: &World, name: &str) -> anyhow::Result<Instant> {
    let (_, before) = arrived(world, name).await?;
    let look = || async {
        requests(world, 3).await.ok()?;
        (arrived(world, name).await.ok()?.1 > before).then(Instant::now)
    };
    poll_until_async(Instant::now() + SOON, "the replica to be back", look).await.context("it stays out")
}

async fn answers_503(world: &World) -> Outcome {
    let since = goes(world, "echo-1", "503", 5, "gateway-errors").await?;
    let first = back(world, "echo-1").await? - since;
    // The example's baseEjectionTime is 2s; `since` was taken a moment after the ejection.
    ensure!(first > Duration::from_millis(1200), "back after {first:?}");
    let since = goes(world, "echo-1", "503", 5, "gateway-errors").await?;
    let said = world.mesh().weftctl(&["explain", "--from", "client", "--to", "http://echo.test/"])?;
    let of = |line: &&str| line.trim_start().starts_with("echo-1 ");
    ensure!(said.lines().find(of).is_some_and(|line| line.contains("later: ejected (gateway-errors)")), "{said}");
    let second = back(world, "echo-1").await? - since;
    ensure!(second > Duration::from_millis(2500), "out for {second:?} the second time, {first:?} the first");
    Ok(())
}

async fn hangs(world: &World) -> Outcome {
    let since = goes(world, "echo-0", "hangs", 3, "local-failures").await?;
    back(world, "echo-0").await.map(|_| ensure_late(since))?
}

async fn resets(world: &World) -> Outcome {
    // The replica's sidecar tells of it with a 502.
    let since = goes(world, "echo-2", "resets", 5, "gateway-errors").await?;
    back(world, "echo-2").await.map(|_| ensure_late(since))?
}

fn ensure_late(since: Instant) -> Outcome {
    ensure!(since.elapsed() > Duration::from_millis(1200), "back after {:?}", since.elapsed());
    Ok(())
}

async fn share(world: &World) -> Outcome {
    all_back(world).await?;
    let mut before = vec![];
    for name in ["echo-0", "echo-1"] {
        before.push(arrived(world, name).await?.0);
        ask(world, name, "/become/503").await?;
    }
    requests(world, 40).await?;
    let (first, second) =
        (arrived(world, "echo-0").await?.0 - before[0], arrived(world, "echo-1").await?.0 - before[1]);
    ensure!(first.min(second) == 5 && first.max(second) > 10, "they got {first} and {second}");
    ensure!(out(world) == 1.0, "{} are out", out(world));
    for name in ["echo-0", "echo-1"] {
        ask(world, name, "/become/well").await?;
    }
    all_back(world).await
}

async fn circuit(world: &World) -> Outcome {
    world.wait_replicas("bounded", &["bounded-0"])?;
    let at = world.at("bounded", 80);
    let one = |path: &'static str| async move { anyhow::Ok(Http1::dial(world.client(), at)?.get(path).await?) };
    let begun = Instant::now();
    let answers = futures::future::try_join_all((0..10).map(|_| one("/delay/1s"))).await?;
    // Ten in turns of three would take four seconds.
    ensure!(begun.elapsed() < Duration::from_millis(3900), "they waited for each other: {:?}", begun.elapsed());
    let (served, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status() == 200);
    ensure!(served.len() <= 3 && !served.is_empty(), "{} of ten were served", served.len());
    for answer in &refused {
        let reason = answer.head.header("weft-reason");
        ensure!(
            answer.status() == 503 && matches!(reason, Some("max-requests" | "max-pending-requests")),
            "{answer:?}"
        );
    }
    let max_requests = [("service", "bounded.test"), ("reason", "max-requests")];
    let counted = world.metrics("client").sum("weft_requests_total", &max_requests);
    ensure!(counted >= 7.0, "{counted} counted, {} refused", refused.len());
    for n in 0..10 {
        let answer = one("/name").await?;
        ensure!(answer.status() == 200, "number {n} after the storm: {answer:?}");
    }
    Ok(())
}
