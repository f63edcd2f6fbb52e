//! An endpoint that answers badly is left out for a while, and nobody notices; it comes back, and never too many are out.
//!
//! Three replicas under the policy of docs/ejection.md, whose server takes moods. What a replica got is asked from within its
//! own pod, past every proxy.

use anyhow::{Context, ensure};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tonic::transport::Channel;
use weft_examples::pods::poll_until_async;
use weft_tests::client::{Http1, grpc};
use weft_tests::grpc::Message;
use weft_tests::grpc::echo_client::EchoClient;
use weft_tests::world::SOON;
use weft_tests::{Outcome, Plan, Suite, World, pages, ports};

/// `few` may have two connections, `unwaiting` one request that waits for one, `once` one retry at a time; `graded` and `called`
/// have their endpoints ejected by success rate and by gRPC status.
const POLICIES: [(&str, &str); 5] = [
    ("few", "circuitBreaker: { maxConnections: 2 }"),
    ("unwaiting", "timeouts: { connect: 3s }, retry: { attempts: 0 }, circuitBreaker: { maxPendingRequests: 1 }"),
    (
        "once",
        "retry: { attempts: 3, backoff: { base: 10s, max: 10s }, budget: { percent: 100, minPerSecond: 100 } }, circuitBreaker: { maxRetries: 1 }",
    ),
    (
        "graded",
        "loadBalancer: { algorithm: round-robin }, retry: { attempts: 0 }, outlierDetection: { consecutiveGatewayErrors: 0, \
      interval: 1s, baseEjectionTime: 1m, successRate: { minimumEndpoints: 3, minimumRequests: 10, stdevFactor: 1000 } }",
    ),
    (
        "called",
        "loadBalancer: { algorithm: round-robin }, retry: { attempts: 0 }, outlierDetection: { consecutiveGatewayErrors: 3, \
      baseEjectionTime: 1m, maxEjectionPercent: 50 }",
    ),
];

fn policy((name, spec): (&str, &str)) -> String {
    format!(
        "apiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{ name: {name}, namespace: test }}\n\
         spec: {{ targetRefs: [{{ kind: Service, name: {name} }}], {spec} }}\n"
    )
}

/// The replica `n` of `echo` as an endpoint of `service`.
fn lent(world: &World, service: &str, n: u32) -> String {
    let ip = world.pod(&format!("echo-{n}")).ip();
    format!(
        "apiVersion: weft.dev/v1alpha1\nkind: Endpoint\nmetadata: {{ name: {service}-{n}, namespace: test }}\nspec: \
         {{ service: {service}, addresses: [{ip}], ports: {{ http: {} }}, serviceAccount: echo }}\n",
        ports::HTTP
    )
}

fn world() -> anyhow::Result<World> {
    let plan = Plan::new().echo("echo", 3).echo("bounded", 1).documents(pages::example("ejection", 0)?);
    let plan = plan.documents(pages::example("circuit-breaking", 0)?).client("client");
    let plan = POLICIES.into_iter().fold(plan, |plan, (name, spec)| {
        plan.documents(ports::service_document("test", name)).documents(policy((name, spec)))
    });
    let world = plan.start()?;
    let all = |(service, _): (&'static str, _)| (0..3).map(|n| lent(&world, service, n)).collect::<Vec<_>>();
    world.mesh().apply(&POLICIES.into_iter().flat_map(all).collect::<Vec<_>>().join("---\n"))?;
    Ok(world)
}

fn main() -> ExitCode {
    Suite::on("meshed", world)
        .case("a replica that answers 503 is left out, comes back, and is out for longer the next time", answers_503)
        .case("one that does not answer is left out", hangs)
        .case("one that resets every connection is left out", resets)
        .case("of two that are bad only one is out, as the share says", share)
        .case("requests beyond the circuit breaker's bound are refused at once, and not for longer", circuit)
        .case("so are connections, unless one that is idle can go", connections)
        .case("and requests that would wait for a connection", pending)
        .case("and retries", retries)
        .case("an endpoint whose success rate is far below the others' is left out", success_rate)
        .case("calls that end with UNAVAILABLE count against their endpoint", grpc_status)
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

async fn connections(world: &World) -> Outcome {
    let at = world.at("few", 80);
    world.wait_served("few")?;
    let one = |path: &'static str| async move { anyhow::Ok(Http1::dial(world.client(), at)?.get(path).await?) };
    // One after the other: three endpoints, of which two may be connected at a time.
    for n in 0..12 {
        let answer = one("/name").await?;
        ensure!(answer.status() == 200, "number {n}: {answer:?}");
    }
    let answers = futures::future::try_join_all((0..6).map(|_| one("/delay/3s"))).await?;
    let (served, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status() == 200);
    ensure!((1..=2).contains(&served.len()), "{} of six were served over two connections", served.len());
    for answer in &refused {
        ensure!(answer.status() == 503 && answer.head.header("weft-reason") == Some("max-connections"), "{answer:?}");
    }
    let counted = [("service", "few.test"), ("reason", "max-connections")];
    let counted = world.metrics("client").sum("weft_requests_total", &counted);
    ensure!(counted >= refused.len() as f64, "{counted} counted, {} refused", refused.len());
    for n in 0..12 {
        let answer = one("/name").await?;
        ensure!(answer.status() == 200, "number {n} after the storm: {answer:?}");
    }
    Ok(())
}

async fn pending(world: &World) -> Outcome {
    for n in 0..3 {
        world.mesh().weftctl(&["delete", "endpoint", &format!("unwaiting-{n}"), "-n", "test"])?;
    }
    // An address of the pods' network that nobody has.
    let [a, b, c, _] = world.client().ip().octets();
    world.mesh().apply(
        &lent(world, "unwaiting", 0).replace(&world.pod("echo-0").ip().to_string(), &format!("{a}.{b}.{c}.250")),
    )?;
    let at = world.at("unwaiting", 80);
    let refused = |world: &World| {
        let labels = [("service", "unwaiting.test"), ("reason", "max-pending-requests")];
        world.metrics("client").sum("weft_requests_total", &labels)
    };
    // Until the client's proxy has heard of it, others answer.
    let all = || async {
        let asking = (0..4).map(|_| async { Http1::dial(world.client(), at)?.get("/name").await });
        let answers = futures::future::join_all(asking).await;
        let reason = |answer: &std::io::Result<weft_tests::client::Response1>| {
            answer.as_ref().ok().and_then(|answer| answer.head.header("weft-reason").map(str::to_owned))
        };
        let waiting = answers.iter().filter(|a| reason(a).as_deref() == Some("max-pending-requests")).count();
        (waiting >= 2 && refused(world) >= 2.0).then_some(())
    };
    Ok(poll_until_async(Instant::now() + SOON + SOON, "requests that may not wait", all).await?)
}

async fn retries(world: &World) -> Outcome {
    world.wait_served("once")?;
    let at = world.at("once", 80);
    // All are refused by the application; while one waits to be tried again, the others may not.
    let ask = || async { anyhow::Ok(Http1::dial(world.client(), at)?.get("/fail-always/once").await?) };
    let mut asking: FuturesUnordered<_> = (0..4).map(|_| ask()).collect();
    let refused = loop {
        let answer = asking.next().await.context("none is refused")??;
        if answer.head.header("weft-reason") == Some("max-retries") {
            break answer;
        }
    };
    ensure!(refused.status() == 503, "{refused:?}");
    let labels = [("service", "once.test"), ("reason", "max-retries")];
    let counted = world.metrics("client").sum("weft_retries_refused_total", &labels);
    ensure!(counted >= 1.0, "{counted} counted");
    Ok(())
}

async fn success_rate(world: &World) -> Outcome {
    all_back(world).await?;
    world.wait_replicas("graded", &["echo-0", "echo-1", "echo-2"])?;
    // A 500 is no gateway error.
    ask(world, "echo-1", "/become/500").await?;
    let ejected = || {
        world.metrics("client").sum("weft_ejections_total", &[("service", "graded.test"), ("cause", "success-rate")])
    };
    let mut client = Http1::dial(world.client(), world.at("graded", 80))?;
    let deadline = Instant::now() + SOON + SOON;
    while ejected() < 1.0 {
        ensure!(Instant::now() < deadline, "nobody is ejected");
        for _ in 0..60 {
            client.get("/name").await?;
        }
    }
    let before = arrived(world, "echo-1").await?.0;
    for n in 0..30 {
        let answer = client.get("/name").await?;
        ensure!(answer.status() == 200, "number {n}: {answer:?}");
    }
    ensure!(arrived(world, "echo-1").await?.0 == before && ejected() == 1.0, "{} ejections", ejected());
    ask(world, "echo-1", "/become/well").await?;
    Ok(())
}

async fn grpc_status(world: &World) -> Outcome {
    let fail = async |client: &mut EchoClient<Channel>, with: tonic::Code| {
        let (fail_with, text) = (with as u32, String::new());
        client.unary(Message { fail_with, text, ..Message::default() }).await.err().map(|status| status.code())
    };
    let mut client = grpc(world.client(), world.at("called", 9090)).await?;
    let ejected = || {
        world.metrics("client").sum("weft_ejections_total", &[("service", "called.test"), ("cause", "gateway-errors")])
    };
    // The application's own affair, however often.
    for _ in 0..12 {
        ensure!(fail(&mut client, tonic::Code::Internal).await == Some(tonic::Code::Internal));
    }
    ensure!(ejected() == 0.0, "{} ejections for INTERNAL", ejected());
    for _ in 0..9 {
        ensure!(fail(&mut client, tonic::Code::Unavailable).await == Some(tonic::Code::Unavailable));
    }
    ensure!(ejected() == 1.0, "{} ejections of three that are as bad, of which half may be out", ejected());
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..12 {
        seen.insert(client.unary(Message::default()).await?.into_inner().replica);
    }
    ensure!(seen.len() == 2, "one of three is out, and {seen:?} answer");
    Ok(())
}
