//! An endpoint that answers badly is left out for a while, and nobody notices; it comes back, and never too many are out.
//!
//! Three replicas under the policy of docs/ejection.md, whose server takes moods. What a replica got is asked from within its
//! own pod, past every proxy. Nothing here rests on how long a request takes: machines stand still for seconds.

mod breaker;

use anyhow::{Context, ensure};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tonic::transport::Channel;
use weft_examples::pods::poll_until_async;
use weft_tests::client::{Http1, grpc};
use weft_tests::grpc::Message;
use weft_tests::grpc::echo_client::EchoClient;
use weft_tests::world::SOON;
use weft_tests::{Outcome, Plan, Suite, World, pages, ports};

/// A case may have to look more than once.
const LIMIT: Duration = Duration::from_secs(240);

/// The page's `baseEjectionTime`.
const BASE: Duration = Duration::from_secs(2);

/// What is changed in the page's policy: nobody who is well is late for a try, however long the machine stands still, and no ejection is
/// forgotten between two parts of a case.
const PATIENT: [(&str, &str); 2] = [("perTryTimeout: 300ms", "perTryTimeout: 25s"), ("interval: 10s", "interval: 10m")];

/// The same for a service one of whose endpoints is to be late: whoever is late by accident is asked again.
const LATE: [(&str, &str); 4] = [
    ("name: echo,", "name: late,"),
    ("name: echo }", "name: late }"),
    ("attempts: 2, perTryTimeout: 300ms", "attempts: 10, perTryTimeout: 4s"),
    ("interval: 10s", "interval: 10m"),
];

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

/// The page's policy with these changes; it is an error if there is nothing to change.
fn example(changes: &[(&str, &str)]) -> anyhow::Result<String> {
    changes.iter().try_fold(pages::example("ejection", 0)?, |page, (was, is)| {
        ensure!(page.contains(was), "docs/ejection.md does not say {was:?}");
        Ok(page.replace(was, is))
    })
}

fn world() -> anyhow::Result<World> {
    let plan = Plan::new().echo("echo", 3).echo("bounded", 1).documents(example(&PATIENT)?).documents(example(&LATE)?);
    let plan = plan.documents(pages::example("circuit-breaking", 0)?).client("client");
    let plan = plan.documents(ports::service_document("test", "late"));
    let plan = POLICIES.into_iter().fold(plan, |plan, (name, spec)| {
        plan.documents(ports::service_document("test", name)).documents(policy((name, spec)))
    });
    let world = plan.start()?;
    let all = |service| (0..3).map(|n| lent(&world, service, n)).collect::<Vec<_>>();
    let services = POLICIES.into_iter().map(|(service, _)| service).chain(["late"]);
    world.mesh().apply(&services.flat_map(all).collect::<Vec<_>>().join("---\n"))?;
    Ok(world)
}

fn main() -> ExitCode {
    Suite::on("meshed", world)
        .limit(LIMIT)
        .case("a replica that answers 503 is left out, comes back, and is out for longer the next time", answers_503)
        .case("one that does not answer is left out", hangs)
        .case("one that resets every connection is left out", resets)
        .case("of two that are bad only one is out, as the share says", share)
        .case("requests beyond the circuit breaker's bound are refused at once, and not for longer", breaker::circuit)
        .case("so are connections, unless one that is idle can go", breaker::connections)
        .case("and requests that would wait for a connection", breaker::pending)
        .case("and retries", breaker::retries)
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

/// Puts the servers in these pods into `mood`.
async fn all_become(world: &World, names: &[&str], mood: &str) -> Outcome {
    for name in names {
        ask(world, name, &format!("/become/{mood}")).await?;
    }
    Ok(())
}

/// Takes back every mood that a case before has left behind.
async fn all_well(world: &World) -> Outcome {
    all_become(world, &["echo-0", "echo-1", "echo-2", "bounded-0"], "well").await
}

/// How many requests `name` got while it was in a bad mood, and in a good one.
async fn arrived(world: &World, name: &str) -> anyhow::Result<(u64, u64)> {
    let (bad, good) = (ask(world, name, "/counted/refused").await?, ask(world, name, "/counted/named").await?);
    Ok((bad.parse()?, good.parse()?))
}

/// Requests one after the other, none of which may fail.
async fn requests(world: &World, service: &str, count: usize) -> Outcome {
    let mut client = Http1::dial(world.client(), world.at(service, 80))?;
    for n in 0..count {
        let response = client.get("/name").await?;
        ensure!(response.status() == 200, "number {n}: {response:?}");
    }
    Ok(())
}

fn ejections(world: &World, service: &str, cause: &str) -> f64 {
    world.metrics("client").sum("weft_ejections_total", &[("service", &format!("{service}.test")), ("cause", cause)])
}

fn out(world: &World, service: &str) -> f64 {
    world.metrics("client").sum("weft_endpoints_ejected", &[("service", &format!("{service}.test"))])
}

/// Until everybody is well, nobody is out and every replica gets requests.
async fn all_back(world: &World, service: &str) -> Outcome {
    all_well(world).await?;
    let none = || async { (out(world, service) == 0.0).then_some(()) };
    poll_until_async(Instant::now() + SOON + SOON, "everybody to be back", none).await?;
    world.wait_replicas(service, &["echo-0", "echo-1", "echo-2"])
}

/// Asks, without a request that fails, until there has been one more ejection than `counted`. A moment before that one, so that it
/// lasts at least as long from there as it does from its beginning.
async fn until_ejected(world: &World, service: &str, cause: &str, counted: f64) -> anyhow::Result<Instant> {
    let deadline = Instant::now() + SOON + SOON;
    loop {
        let since = Instant::now();
        requests(world, service, 1).await?;
        if ejections(world, service, cause) > counted {
            return Ok(since);
        }
        ensure!(since < deadline, "nobody is ejected");
    }
}

/// What `look` finds while one is out, from its beginning to its end. When the ejection has ended meanwhile, for the machine stood still,
/// nothing follows from what was seen, and it looks again in the next one, which is longer.
async fn while_out<T>(
    world: &World,
    service: &str,
    cause: &str,
    look: impl AsyncFn() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + 3 * SOON;
    loop {
        let counted = ejections(world, service, cause);
        let seen = look().await?;
        let (still, ejected) = (out(world, service), ejections(world, service, cause));
        ensure!(still <= 1.0, "{still} are out");
        if still == 1.0 && ejected == counted {
            return Ok(seen);
        }
        ensure!(Instant::now() < deadline, "nobody is out for as long as it takes to look");
        if still == 0.0 {
            until_ejected(world, service, cause, ejected).await?;
        }
    }
}

/// Puts `name` into `mood`: it is ejected because of `cause` after exactly `after` tries, gets no more of them, and no request fails.
/// A moment before the ejection.
async fn goes(
    world: &World,
    (service, name): (&str, &str),
    mood: &str,
    after: u64,
    cause: &str,
) -> anyhow::Result<Instant> {
    all_back(world, service).await?;
    let (counted, (before, _)) = (ejections(world, service, cause), arrived(world, name).await?);
    all_become(world, &[name], mood).await?;
    let since = until_ejected(world, service, cause, counted).await?;
    let bad = arrived(world, name).await?.0 - before;
    ensure!(bad == after, "{name} got {bad} requests instead of {after}");
    ensure!(ejections(world, service, cause) == counted + 1.0, "{} of {cause}", ejections(world, service, cause));
    let asked = async || {
        let (before, _) = arrived(world, name).await?;
        requests(world, service, 30).await?;
        anyhow::Ok(arrived(world, name).await?.0 - before)
    };
    let got = while_out(world, service, cause, asked).await?;
    ensure!(got == 0, "{name} got {got} requests while it was out");
    Ok(since)
}

/// When `name`, well again, gets a request.
async fn back(world: &World, service: &str, name: &str) -> anyhow::Result<Instant> {
    all_well(world).await?;
    let (_, before) = arrived(world, name).await?;
    let look = || async {
        requests(world, service, 3).await.ok()?;
        (arrived(world, name).await.ok()?.1 > before).then(Instant::now)
    };
    poll_until_async(Instant::now() + SOON, "the replica to be back", look).await.context("it stays out")
}

async fn answers_503(world: &World) -> Outcome {
    let one = ("echo", "echo-1");
    let since = goes(world, one, "503", 5, "gateway-errors").await?;
    let first = back(world, one.0, one.1).await? - since;
    ensure!(first >= BASE, "back after {first:?}");
    let since = goes(world, one, "503", 5, "gateway-errors").await?;
    let explain = async || Ok(world.mesh().weftctl(&["explain", "--from", "client", "--to", "http://echo.test/"])?);
    let said = while_out(world, one.0, "gateway-errors", explain).await?;
    let of = |line: &&str| line.trim_start().starts_with("echo-1 ");
    ensure!(said.lines().find(of).is_some_and(|line| line.contains("later: ejected (gateway-errors)")), "{said}");
    let second = back(world, one.0, one.1).await? - since;
    ensure!(second >= 2 * BASE, "out for {second:?} the second time, {first:?} the first");
    Ok(())
}

async fn hangs(world: &World) -> Outcome {
    let since = goes(world, ("late", "echo-0"), "hangs", 3, "local-failures").await?;
    let out = back(world, "late", "echo-0").await? - since;
    ensure!(out >= BASE, "back after {out:?}");
    Ok(())
}

async fn resets(world: &World) -> Outcome {
    // The replica's sidecar tells of it with a 502.
    let since = goes(world, ("echo", "echo-2"), "resets", 5, "gateway-errors").await?;
    let out = back(world, "echo", "echo-2").await? - since;
    ensure!(out >= BASE, "back after {out:?}");
    Ok(())
}

async fn share(world: &World) -> Outcome {
    let (service, cause) = ("echo", "gateway-errors");
    all_back(world, service).await?;
    let bad = async || {
        let (first, second) = (arrived(world, "echo-0").await?, arrived(world, "echo-1").await?);
        anyhow::Ok([first.0, second.0])
    };
    let since = |now: [u64; 2], then: [u64; 2]| [now[0] - then[0], now[1] - then[1]];
    let (counted, before) = (ejections(world, service, cause), bad().await?);
    all_become(world, &["echo-0", "echo-1"], "503").await?;
    until_ejected(world, service, cause, counted).await?;
    let got = since(bad().await?, before);
    ensure!(got.into_iter().max() == Some(5), "they got {got:?} before one of them was out");
    let asked = async || {
        let before = bad().await?;
        requests(world, service, 40).await?;
        anyhow::Ok(since(bad().await?, before))
    };
    let got = while_out(world, service, cause, asked).await?;
    ensure!(got.into_iter().min() == Some(0) && got.into_iter().max() > Some(10), "they got {got:?} of 40");
    all_back(world, service).await
}

async fn success_rate(world: &World) -> Outcome {
    all_well(world).await?;
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
    all_well(world).await
}

async fn grpc_status(world: &World) -> Outcome {
    all_well(world).await?;
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
