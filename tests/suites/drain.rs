//! Going away politely: a sidecar that is told to end finishes what it has, and nobody notices.
//!
//! SIGTERM to sidecars on either side while requests are under way.

use anyhow::{Context, ensure};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use weft_tests::client::{Http1, Http2};
use weft_tests::{Outcome, Plan, Suite, World};

fn main() -> ExitCode {
    Suite::on("meshed", || Plan::new().echo("echo", 4).client("client").client("other").client("third").start())
        .case("a server's sidecar leaves under load and nobody notices", server_side)
        .case("a request under way on the server's side is finished", in_flight)
        .case("idle HTTP/1.1 connections of a client are closed, busy ones finish", client_http1)
        .case("HTTP/2 clients get GOAWAY and their answers", client_http2)
        .run()
}

async fn server_side(world: &World) -> Outcome {
    world.wait_replicas("echo", &["echo-0", "echo-1", "echo-2", "echo-3"])?;
    let (started, over) = (Instant::now(), &AtomicBool::new(false));
    let clients = (0..8).map(|_| async move {
        let mut client = Http1::dial(world.client(), world.echo(80))?;
        let mut count = 0;
        // Longer than it takes to end, however long that is.
        while started.elapsed() < Duration::from_secs(3) || !over.load(Ordering::Relaxed) {
            let response = client.get("/delay/10ms").await?;
            ensure!(response.status() == 200, "{response:?}");
            count += 1;
        }
        Ok(count)
    });
    let leaving = async {
        // From within the load: the blocking wait for the end gets a thread of its own.
        let status = tokio::task::block_in_place(|| world.member("echo-3").terminate_proxy());
        over.store(true, Ordering::Relaxed);
        status.context("it did not end")
    };
    let (served, status) = futures::future::try_join(futures::future::try_join_all(clients), leaving).await?;
    ensure!(status.success(), "{status}");
    ensure!(served.iter().sum::<u32>() > 20, "{served:?}");
    let listed = world.mesh().weftctl(&["get", "endpoints", "-n", "test", "-o", "json"])?;
    ensure!(!listed.contains("echo-3"), "it is still registered: {listed}");
    Ok(())
}

/// Requests that take a second, one of them certainly on the replica that is told to end.
async fn in_flight(world: &World) -> Outcome {
    let at = (world.pod("echo-2").ip(), weft_tests::ports::HTTP).into();
    let mut client = Http1::dial(world.client(), at)?;
    client.send("GET /delay/1s HTTP/1.1\r\nhost: echo\r\n\r\n").await?;
    let busy = |m: weft_examples::mesh::Metrics| m.sum("weft_connections_open", &[("direction", "inbound")]) > 0.0;
    let arrived = || busy(world.metrics("echo-2")).then_some(());
    weft_examples::pods::poll_until(Instant::now() + weft_tests::world::SOON, "the request to arrive", arrived)?;
    let status = tokio::task::block_in_place(|| world.member("echo-2").terminate_proxy()).context("it did not end")?;
    let response = client.response(false).await?;
    ensure!(response.status() == 200 && response.text() == "echo-2", "{response:?}");
    ensure!(status.success(), "{status}");
    Ok(())
}

async fn client_http1(world: &World) -> Outcome {
    let pod = world.pod("other");
    let mut idle = Http1::dial(pod, world.echo(80))?;
    let mut busy = Http1::dial(pod, world.echo(80))?;
    idle.get("/name").await?;
    busy.get("/name").await?;
    busy.send("GET /delay/1s HTTP/1.1\r\nhost: echo\r\n\r\n").await?;
    let status = tokio::task::block_in_place(|| world.member("other").terminate_proxy()).context("it did not end")?;
    ensure!(status.success(), "{status}");
    ensure!(idle.is_closed().await?, "the idle connection stayed");
    let response = busy.response(false).await?;
    ensure!(response.status() == 200, "{response:?}");
    ensure!(response.head.has_token("connection", "close"), "{response:?}");
    Ok(())
}

async fn client_http2(world: &World) -> Outcome {
    let client = Http2::dial(world.pod("third"), world.echo(82)).await?;
    client.get("/name").await?;
    let late = tokio::spawn({
        let client = client.clone();
        async move { client.get("/delay/1s").await }
    });
    let open = || (world.metrics("third").sum("weft_connections_open", &[("protocol", "http2")]) > 0.0).then_some(());
    weft_examples::pods::poll_until(Instant::now() + weft_tests::world::SOON, "the request to leave", open)?;
    let status = tokio::task::block_in_place(|| world.member("third").terminate_proxy()).context("it did not end")?;
    ensure!(status.success(), "{status}");
    let answer = late.await??;
    ensure!(answer.status == 200, "{answer:?}");
    ensure!(client.get("/name").await.is_err(), "a new stream on a connection that is going away");
    Ok(())
}
