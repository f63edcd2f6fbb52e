//! Failures on purpose: the share that the policy asks for, only where it asks for them, and never tried again.
//!
//! The policy of the documentation, which hits marked requests only, then policies for a share and for gRPC.

use anyhow::ensure;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use weft_examples::pods::poll_until_async;
use weft_tests::client::{Http1, Response1, grpc};
use weft_tests::grpc::Message;
use weft_tests::pages::example;
use weft_tests::world::SOON;
use weft_tests::{Outcome, Plan, Suite, World};

fn main() -> ExitCode {
    Suite::on("meshed", || Plan::new().echo("echo", 1).documents(example("faults", 0)?).client("client").start())
        .case("a marked request waits and fails, and no other does", marked)
        .case("a share fails, is counted and is not tried again", share)
        .case("a delay counts against the time-out", timeout)
        .case("gRPC clients get the status that was asked for", grpc_status)
        .run()
}

/// Puts `spec` into force for `echo`, until `probe` shows it.
async fn apply(world: &World, spec: &str, probe: impl AsyncFn() -> bool) -> Outcome {
    let head = "apiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: { name: echo, namespace: test }\n";
    world.mesh().apply(&format!("{head}spec:\n  targetRefs: [{{ kind: Service, name: echo }}]\n{spec}"))?;
    let look = || async { probe().await.then_some(()) };
    Ok(poll_until_async(Instant::now() + SOON, "the policy to be in force", look).await?)
}

async fn ask(world: &World, field: &str) -> anyhow::Result<Response1> {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    Ok(client.request(format!("GET /count/faults HTTP/1.1\r\nhost: echo\r\n{field}\r\n")).await?)
}

async fn reason(world: &World) -> String {
    let answer = ask(world, "").await.ok();
    answer.and_then(|answer| answer.head.header("weft-reason").map(str::to_owned)).unwrap_or_default()
}

fn injected(world: &World, fault: &str) -> f64 {
    world.metrics("client").sum("weft_faults_injected_total", &[("service", "echo.test"), ("fault", fault)])
}

async fn marked(world: &World) -> Outcome {
    let plain = ask(world, "").await?;
    ensure!(plain.status() == 200, "{plain:?}");
    let started = Instant::now();
    let marked = ask(world, "x-test-fault: yes\r\n").await?;
    ensure!(marked.status() == 418, "{marked:?}");
    ensure!(marked.head.header("weft-reason") == Some("fault-injected"), "{marked:?}");
    ensure!(started.elapsed() >= Duration::from_millis(300), "no delay: {:?}", started.elapsed());
    ensure!(ask(world, "x-test-fault: no\r\n").await?.status() == 200, "another value was hit");
    ensure!((injected(world, "abort"), injected(world, "delay")) == (1.0, 1.0), "{}", injected(world, "abort"));
    Ok(())
}

async fn share(world: &World) -> Outcome {
    let retries = "  retry: { attempts: 3, budget: { percent: 100 } }\n";
    let spec = format!("{retries}  faults: {{ abort: {{ percent: 30, status: 503 }} }}\n");
    apply(world, &spec, async || reason(world).await == "fault-injected").await?;
    let before = injected(world, "abort");
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let mut failed = 0;
    for _ in 0..500 {
        failed += u32::from(client.get("/name").await?.status() == 503);
    }
    // Five standard deviations on either side.
    ensure!((99..=201).contains(&failed), "{failed} of 500");
    ensure!(injected(world, "abort") - before == f64::from(failed), "counted otherwise");
    let retried = world.metrics("client").sum("weft_retries_total", &[]);
    ensure!(retried == 0.0, "{retried} retries");
    Ok(())
}

async fn timeout(world: &World) -> Outcome {
    let spec = "  timeouts: { request: 200ms }\n  faults: { delay: { percent: 100, duration: 30s } }\n";
    apply(world, spec, async || reason(world).await == "request-timeout").await?;
    let started = Instant::now();
    let answer = ask(world, "").await?;
    ensure!(answer.status() == 504, "{answer:?}");
    ensure!(started.elapsed() >= Duration::from_millis(200), "{:?}", started.elapsed());
    Ok(())
}

async fn grpc_status(world: &World) -> Outcome {
    let mut client = grpc(world.client(), world.echo(9090)).await?;
    let spec = "  faults: { abort: { percent: 100, grpcStatus: 9 } }\n";
    apply(world, spec, async || reason(world).await.is_empty()).await?;
    let Err(status) = client.unary(Message::default()).await else { anyhow::bail!("no fault") };
    ensure!(status.code() == tonic::Code::FailedPrecondition, "{status:?}");
    ensure!(ask(world, "").await?.status() == 200, "a request that is not gRPC was hit");
    Ok(())
}
