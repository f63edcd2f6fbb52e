//! Endpoints that take requests but say that they are not well get none, until they are.
//!
//! Three replicas serve several services, each checked in another way; the first two policies are those of the
//! documentation's page. The client's sidecar has two workers, which have to know the same.

use anyhow::{Context, ensure};
use std::collections::BTreeSet;
use std::net::{Ipv6Addr, TcpListener};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use weft_examples::mesh::Workload;
use weft_examples::pods::poll_until;
use weft_tests::client::{Http1, grpc};
use weft_tests::grpc::Message;
use weft_tests::world::{SOON, server};
use weft_tests::{Outcome, Plan, Suite, World, pages, ports};

const FLEET: [&str; 3] = ["fleet-0", "fleet-1", "fleet-2"];
const SERVICES: [&str; 5] = ["echo", "called", "webbed", "wired", "strict"];

fn main() -> ExitCode {
    Suite::on("meshed", world)
        .case("a replica whose page says 503 gets nothing, and comes back", sick)
        .case("so does one whose page hangs", hanging)
        .case("on an HTTP/2 port the page is asked for over HTTP/2", over_http2)
        .case("a replica that is not SERVING by the gRPC protocol gets no calls", not_serving)
        .case("the panic threshold uses all when too few are left", panic)
        .case("without it nobody is left, until the port is open again", nobody_left)
        .case("only those who use a service check it", only_users)
        .case("a check that is withdrawn is forgotten", withdrawn)
        .run()
}

fn checked(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{ name: {name}, namespace: test }}\n\
         spec: {{ targetRefs: [{{ kind: Service, name: {name} }}], {spec} }}\n"
    )
}

fn world() -> anyhow::Result<World> {
    let quick = "interval: 200ms, timeout: 1s, unhealthyThreshold: 2, healthyThreshold: 1";
    let closed = format!("healthCheck: {{ tcp: {{}}, port: {}, {quick} }}", ports::REDIS);
    let plan = SERVICES.iter().fold(Plan::new(), |plan, name| plan.documents(ports::service_document("test", name)));
    let plan = plan
        .documents(pages::example("health-checks", 0)?)
        .documents(pages::example("health-checks", 1)?)
        .documents(checked("webbed", &format!("healthCheck: {{ http: {{ path: /status/204 }}, port: 82, {quick} }}")))
        .documents(checked("wired", &format!("loadBalancer: {{ panicThreshold: 50 }}, {closed}")))
        .documents(checked("strict", &closed));
    let replica = |name: &str| {
        let workload = Workload::new("test", name, "fleet").health_check(format!("tcp:{}", ports::HTTP));
        let register = |workload: Workload, service| workload.registers(format!("{service}=http:{}", ports::HTTP));
        SERVICES.into_iter().fold(workload, register).application(server(name))
    };
    let plan = FLEET.into_iter().fold(plan, |plan, name| plan.workload(replica(name)));
    plan.workload(Workload::new("test", "client", "client").proxy_arg("--workers=2")).start()
}

/// Tells a replica what to answer health checks with; 0: nothing.
async fn make(world: &World, replica: &str, health: u16) -> Outcome {
    let response = at(world, replica)?.get(&format!("/healthz-becomes/{health}")).await?;
    ensure!(response.status() == 200, "{response:?}");
    Ok(())
}

/// Whatever became of the case before.
async fn all_well(world: &World) -> Outcome {
    for replica in FLEET {
        make(world, replica, 200).await?;
    }
    Ok(())
}

/// A connection to the replica's own address.
fn at(world: &World, replica: &str) -> std::io::Result<Http1> {
    Http1::dial(world.client(), (world.pod(replica).ip(), ports::HTTP).into())
}

/// Waits until the client's sidecar passes over so many replicas of `service`.
fn wait_out(world: &World, service: &str, expected: f64) -> Outcome {
    let mut out = 0.0;
    let look = || {
        out = world.metrics("client").sum("weft_unhealthy_endpoints", &[("service", &format!("{service}.test"))]);
        (out == expected).then_some(())
    };
    let waited = poll_until(Instant::now() + SOON, "health checks", look);
    waited.with_context(|| format!("{out} of {service} are out, not {expected}"))
}

fn checks(world: &World, member: &str, service: &str, result: &str) -> f64 {
    let labels = [("service", &*format!("{service}.test")), ("result", result)];
    world.metrics(member).sum("weft_health_checks_total", &labels)
}

/// Who answers sixty requests over twelve connections, so that both workers are asked.
async fn answering(world: &World, service: &str) -> anyhow::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for _ in 0..12 {
        let mut client = Http1::dial(world.client(), world.at(service, 80))?;
        for _ in 0..5 {
            let response = client.get("/name").await?;
            names.insert(if response.status() == 200 { response.text() } else { response.status().to_string() });
        }
    }
    Ok(names)
}

async fn out_and_back(world: &World, health: u16, result: &str) -> Outcome {
    all_well(world).await?;
    world.wait_replicas("echo", &FLEET)?;
    wait_out(world, "echo", 0.0)?;
    make(world, "fleet-1", health).await?;
    wait_out(world, "echo", 1.0)?;
    let names = answering(world, "echo").await?;
    ensure!(!names.contains("fleet-1") && names.iter().all(|name| FLEET.contains(&name.as_str())), "{names:?}");
    let said = world.mesh().weftctl(&["explain", "--from", "client", "--to", "http://echo.test/"])?;
    let of = |line: &&str| line.trim_start().starts_with("fleet-1 ");
    ensure!(said.lines().find(of).is_some_and(|line| line.ends_with("no: fails checks")), "{said}");
    // It serves as well as ever, for those who insist.
    ensure!(at(world, "fleet-1")?.get("/name").await?.text() == "fleet-1");
    ensure!(checks(world, "client", "echo", result) >= 2.0, "no checks counted as {result}");
    make(world, "fleet-1", 200).await?;
    wait_out(world, "echo", 0.0)?;
    world.wait_replicas("echo", &FLEET)
}

async fn sick(world: &World) -> Outcome {
    out_and_back(world, 503, "failed").await
}

async fn hanging(world: &World) -> Outcome {
    out_and_back(world, 0, "timeout").await
}

async fn over_http2(world: &World) -> Outcome {
    world.wait_replicas("webbed", &FLEET)?;
    let passed = || (checks(world, "client", "webbed", "passed") >= 6.0).then_some(());
    poll_until(Instant::now() + SOON, "checks to pass", passed)?;
    ensure!(checks(world, "client", "webbed", "failed") == 0.0);
    Ok(())
}

async fn not_serving(world: &World) -> Outcome {
    let mut client = grpc(world.client(), world.at("called", ports::GRPC)).await?;
    let mut call = async || anyhow::Ok(client.unary(Message::default()).await?.into_inner().replica);
    all_well(world).await?;
    call().await?;
    wait_out(world, "called", 0.0)?;
    make(world, "fleet-2", 503).await?;
    wait_out(world, "called", 1.0)?;
    for _ in 0..40 {
        let replica = call().await?;
        ensure!(replica != "fleet-2", "{replica} was called");
    }
    make(world, "fleet-2", 200).await?;
    wait_out(world, "called", 0.0)?;
    let until = Instant::now() + SOON;
    while call().await? != "fleet-2" {
        ensure!(Instant::now() < until, "it never came back");
    }
    Ok(())
}

async fn panic(world: &World) -> Outcome {
    world.wait_replicas("wired", &FLEET)?;
    // Nobody listens on the port that is checked, in none of them.
    wait_out(world, "wired", 3.0)?;
    world.wait_replicas("wired", &FLEET)
}

async fn nobody_left(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.at("strict", 80))?;
    client.get("/name").await?;
    wait_out(world, "strict", 3.0)?;
    let response = client.get("/name").await?;
    let reason = response.head.header("weft-reason");
    ensure!(response.status() == 503 && reason == Some("no-endpoints"), "{response:?}");
    let listen = || TcpListener::bind((Ipv6Addr::UNSPECIFIED, ports::REDIS));
    let _open = world.pod("fleet-0").within(listen)??;
    wait_out(world, "strict", 2.0)?;
    let response = client.get("/name").await?;
    ensure!(response.text() == "fleet-0", "{response:?}");
    Ok(())
}

async fn only_users(world: &World) -> Outcome {
    for service in SERVICES {
        for result in ["passed", "failed", "timeout", "unreachable"] {
            let made = checks(world, "fleet-0", service, result);
            ensure!(made == 0.0, "fleet-0 checks {service}: {made} {result}");
        }
    }
    Ok(())
}

async fn withdrawn(world: &World) -> Outcome {
    wait_out(world, "strict", 3.0)?;
    world.mesh().apply(&checked("strict", "retry: {}"))?;
    wait_out(world, "strict", 0.0)?;
    world.wait_replicas("strict", &FLEET)?;
    let made =
        || ["passed", "failed", "timeout", "unreachable"].map(|result| checks(world, "client", "strict", result));
    let before = made();
    // As long as other checks go on.
    let others = || checks(world, "client", "echo", "passed");
    let enough = others() + 6.0;
    poll_until(Instant::now() + SOON + Duration::from_secs(5), "other checks", || (others() > enough).then_some(()))?;
    ensure!(made() == before, "it is still checked");
    Ok(())
}
