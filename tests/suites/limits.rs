//! An endpoint takes what its policy admits: rates for each client, requests under way, connections. The rest is refused
//! with a reason, and goes elsewhere where that is safe.
//!
//! The policies are those of the documentation, and a few more; clients of two identities.

use anyhow::ensure;
use futures::StreamExt;
use futures::future::{join_all, try_join_all};
use futures::stream::FuturesUnordered;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use weft_examples::pods::{Pod, poll_until_async};
use weft_tests::client::{Http1, Response1, grpc};
use weft_tests::grpc::Message;
use weft_tests::pages::example;
use weft_tests::world::SOON;
use weft_tests::{Outcome, Plan, Suite, World};

fn main() -> ExitCode {
    Suite::on("meshed", world)
        .case("the very first connection is limited, and its sidecar asks for no service", first)
        .case("explain tells the limits that a request would meet", explained)
        .case("a client gets its rate and is told how it stands", rate)
        .case("another identity has a rate of its own", identities)
        .case("a limit that a new policy leaves alone goes on counting", kept)
        .case("gRPC clients get RESOURCE_EXHAUSTED", grpc_rate)
        .case("requests beyond the limit go to another endpoint, or are refused", concurrency)
        .case("an adaptive limit keeps an overloaded endpoint quick", adaptive)
        .case("more connections than allowed are reset", connections)
        .run()
}

/// A policy of these limits for `service`.
fn policy(service: &str, limits: &str) -> String {
    format!(
        "apiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{ name: {service}, namespace: test }}\n\
         spec:\n  targetRefs: [{{ kind: Service, name: {service} }}]\n  limits: {{ {limits} }}\n"
    )
}

fn world() -> anyhow::Result<World> {
    let slots =
        |workload, server: weft_examples::pods::Program| (workload, server.args(["--delay", "40ms", "--slots", "4"]));
    Plan::new()
        .echo("echo", 1)
        .echo("busy", 2)
        .echo("called", 1)
        .echo("few", 1)
        .echo("fresh", 1)
        .documents(weft_tests::ports::service_document("test", "slow"))
        .replica("slow", 0, slots)
        .documents(example("limits", 0)? + "\n")
        .documents(example("limits", 1)? + "\n")
        .documents(policy("called", "rate: [{ requests: 2, per: 1h }]"))
        .documents(policy("few", "connections: 3"))
        .documents(policy("fresh", "rate: [{ requests: 1, per: 1h }], concurrency: { max: 7 }"))
        .documents(policy("slow", "concurrency: { adaptive: { min: 4, max: 200 } }"))
        .client("client")
        .client("other")
        .start()
}

async fn get(pod: &Pod, world: &World, service: &str, path: &str) -> anyhow::Result<Response1> {
    Ok(Http1::dial(pod, world.at(service, 80))?.get(path).await?)
}

/// Waits until the sidecar of `service` knows its policy: answers to `path` say so.
async fn wait_limited(world: &World, service: &str, path: &str) -> Outcome {
    let look = || async {
        let answer = get(world.client(), world, service, path).await.ok()?;
        answer.head.header("ratelimit").map(drop)
    };
    Ok(poll_until_async(Instant::now() + SOON, "limits to be in force", look).await?)
}

async fn first(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.at("fresh", 80))?;
    let (admitted, refused) = (client.get("/name").await?, client.get("/name").await?);
    ensure!(admitted.status() == 200 && admitted.head.header("ratelimit").is_some(), "{admitted:?}");
    ensure!(refused.status() == 429, "{refused:?}");
    let known = world.metrics("fresh-0").sum("weft_discovery_subscriptions", &[]);
    ensure!(known == 0.0, "the sidecar follows {known} services or addresses, though it calls nobody");
    Ok(())
}

async fn explained(world: &World) -> Outcome {
    let said = world.mesh().weftctl(&["explain", "--from", "client", "--to", "http://fresh.test/name"])?;
    for wanted in ["limits    rate ", "for all clients together, none left", "requests under way: 0 of 7"] {
        ensure!(said.contains(wanted), "{wanted:?} in {said}");
    }
    let said = world.mesh().weftctl(&["explain", "--from", "client", "--to", "http://few.test/"])?;
    ensure!(said.contains("limits    connections: ") && said.contains(" of 3\n"), "{said}");
    Ok(())
}

async fn rate(world: &World) -> Outcome {
    wait_limited(world, "echo", "/name").await?;
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    for left in ["2", "1", "0"] {
        let response = client.get("/count/reports").await?;
        ensure!(response.status() == 200, "{response:?}");
        let policy = response.head.header("ratelimit-policy").unwrap_or_default();
        ensure!(policy == "\"reports\";q=3;w=3600, \"all\";q=500;w=1", "{policy}");
        let standing = response.head.header("ratelimit").unwrap_or_default();
        ensure!(standing.starts_with(&format!("\"reports\";r={left};t=")), "{standing}");
    }
    let refused = client.get("/count/reports").await?;
    ensure!(refused.status() == 429, "{refused:?}");
    ensure!(refused.head.header("weft-reason") == Some("rate-limited"), "{refused:?}");
    let wait: u64 = refused.head.header("retry-after").unwrap_or_default().parse()?;
    ensure!((1190..=1200).contains(&wait), "retry-after: {wait}");
    // The same connection goes on; what the limit is not for is served, and the application saw no more than three.
    let counted = client.get("/counted/reports").await?;
    ensure!(counted.status() == 200, "{counted:?}");
    ensure!(counted.text() == "3", "the application saw {}", counted.text());
    let labels = [("direction", "inbound"), ("reason", "rate-limited"), ("status", "429")];
    let metrics = world.metrics("echo-0").sum("weft_requests_total", &labels);
    ensure!(metrics >= 1.0, "{metrics}");
    Ok(())
}

/// Asks until `client` has no reports left.
async fn use_up(world: &World) -> Outcome {
    let look = || async {
        let answer = get(world.client(), world, "echo", "/count/used").await.ok()?;
        (answer.status() == 429).then_some(())
    };
    Ok(poll_until_async(Instant::now() + SOON, "the limit to be reached", look).await?)
}

async fn identities(world: &World) -> Outcome {
    use_up(world).await?;
    let other = get(world.pod("other"), world, "echo", "/count/others").await?;
    ensure!(other.status() == 200, "{other:?}");
    Ok(())
}

async fn kept(world: &World) -> Outcome {
    use_up(world).await?;
    let more = example("limits", 0)? + "\n    concurrency: { max: 1000 }\n";
    world.mesh().apply(&more)?;
    let look = || async {
        let dump = world.mesh().weftctl(&["proxy", "dump", "echo-0", "-n", "test"]).ok()?;
        dump.contains("fixed").then_some(())
    };
    poll_until_async(Instant::now() + SOON, "the new policy", look).await?;
    let still = get(world.client(), world, "echo", "/count/kept").await?;
    ensure!(still.status() == 429, "the new policy forgot: {still:?}");
    Ok(())
}

async fn grpc_rate(world: &World) -> Outcome {
    let mut client = grpc(world.client(), world.at("called", 9090)).await?;
    let mut refused = None;
    for _ in 0..50 {
        refused = client.unary(Message::default()).await.err();
        if refused.is_some() {
            break;
        }
    }
    let Some(status) = refused else { anyhow::bail!("fifty were served where two are allowed") };
    ensure!(status.code() == tonic::Code::ResourceExhausted, "{status:?}");
    ensure!(status.metadata().get("weft-reason").is_some_and(|reason| reason == "rate-limited"), "{status:?}");
    Ok(())
}

/// Answers to so many requests at once, each on a connection of its own.
async fn at_once(world: &World, service: &str, path: &str, many: usize) -> anyhow::Result<Vec<Response1>> {
    try_join_all((0..many).map(|_| get(world.client(), world, service, path))).await
}

fn count(answers: &[Response1], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status() == status).count()
}

/// Puts the servers in these pods into `mood`, past their sidecars.
async fn all_become(world: &World, pods: &[&str], mood: &str) -> Outcome {
    for pod in pods {
        let here = ([127, 0, 0, 1], weft_tests::ports::HTTP).into();
        Http1::dial(world.pod(pod), here)?.get(&format!("/become/{mood}")).await?;
    }
    Ok(())
}

async fn concurrency(world: &World) -> Outcome {
    all_become(world, &["busy-0", "busy-1"], "well").await?;
    world.wait_replicas("busy", &["busy-0", "busy-1"])?;
    // Four at each of two endpoints: eight fit, wherever the balancer sends them first.
    let answers = at_once(world, "busy", "/delay/300ms", 8).await?;
    ensure!(count(&answers, 200) == 8, "{answers:?}");
    all_become(world, &["busy-0", "busy-1"], "waits").await?;
    let mut asking: FuturesUnordered<_> = (0..30).map(|_| get(world.client(), world, "busy", "/name")).collect();
    let (mut served, mut refused) = (0, 0);
    while let Some(answer) = asking.next().await.transpose()? {
        match (answer.status(), answer.head.header("weft-reason")) {
            (503, Some("overloaded")) => refused += 1,
            (200, _) => served += 1,
            _ => anyhow::bail!("{answer:?}"),
        }
        // Those that are under way have held their places until now.
        if refused == 22 {
            all_become(world, &["busy-0", "busy-1"], "well").await?;
        }
    }
    ensure!((4..=8).contains(&served), "{served} of 30 served");
    let retried = world.metrics("client").sum("weft_retries_total", &[("reason", "overloaded")]);
    ensure!(retried > 0.0, "nothing was tried elsewhere");
    Ok(())
}

/// A server that works on four requests at once, 40 ms each, and queues the rest: 100 a second. Twenty clients want more.
async fn adaptive(world: &World) -> Outcome {
    let end = Instant::now() + Duration::from_secs(8);
    let clients = (0..20).map(|_| async {
        let mut latencies = vec![];
        let mut refused = 0;
        let Ok(mut client) = Http1::dial(world.client(), world.at("slow", 80)) else { return (latencies, refused) };
        while Instant::now() < end {
            let started = Instant::now();
            match client.get("/name").await {
                Ok(answer) if answer.status() == 200 => latencies.push((started, started.elapsed())),
                Ok(_) => {
                    refused += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(_) => break,
            }
        }
        (latencies, refused)
    });
    let outcomes = join_all(clients).await;
    let refused: usize = outcomes.iter().map(|(_, refused)| refused).sum();
    let served: Vec<(Instant, Duration)> = outcomes.into_iter().flat_map(|(latencies, _)| latencies).collect();
    ensure!(refused > 100, "only {refused} refused");
    // In each of the last four seconds; a busy machine may stand still for some of them.
    let mut medians = vec![];
    for second in 1..=4 {
        let from = end - Duration::from_secs(second);
        let within = served.iter().filter(|(started, _)| (from..from + Duration::from_secs(1)).contains(started));
        let mut took: Vec<Duration> = within.map(|(_, took)| *took).collect();
        took.sort();
        medians.extend((took.len() > 25).then(|| took[took.len() / 2]));
    }
    println!("adaptive: {} served, {refused} refused, medians {medians:?}", served.len());
    // All twenty in the queue would wait for 200 ms each.
    ensure!(medians.iter().any(|median| *median < Duration::from_millis(180)), "medians {medians:?}");
    Ok(())
}

async fn connections(world: &World) -> Outcome {
    let at = (world.pod("few-0").ip(), weft_tests::ports::HTTP).into();
    all_become(world, &["few-0"], "well").await?;
    // The first connection is not counted: the sidecar asks for the policy when it comes.
    Http1::dial(world.client(), at)?.get("/name").await?;
    let look = || async {
        let dump = world.mesh().weftctl(&["proxy", "dump", "few-0", "-n", "test"]).ok()?;
        dump.replace([' ', '"'], "").contains("connections:3").then_some(())
    };
    poll_until_async(Instant::now() + SOON, "the policy to be known", look).await?;
    all_become(world, &["few-0"], "waits").await?;
    // One that is refused may see it while it dials.
    let asking = (0..8).map(|_| async { anyhow::Ok(Http1::dial(world.client(), at)?.get("/name").await?) });
    let mut asking: FuturesUnordered<_> = asking.collect();
    let (mut served, mut refused) = (0, 0);
    while let Some(answer) = asking.next().await {
        // The client's sidecar, which dials an endpoint for it, may tell of it with a 503.
        match answer {
            Ok(answer) if answer.status() == 200 => served += 1,
            _ => refused += 1,
        }
        if refused == 4 {
            all_become(world, &["few-0"], "well").await?;
        }
    }
    ensure!((3..=4).contains(&served), "{served} of 8 served, {refused} refused");
    let labels = [("reason", "too-many-connections")];
    let resets = world.metrics("few-0").sum("weft_connections_refused_total", &labels);
    ensure!(resets >= 4.0, "{resets}");
    Ok(())
}
