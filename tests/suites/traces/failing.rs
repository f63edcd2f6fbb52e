//! What becomes of traffic when the collector does not take what it is sent.
//!
//! One client has a short queue, so that it is full soon; what it counts and how much memory it has are asked of its proxy.

use crate::Scene;
use anyhow::{Context, ensure};
use std::time::Instant;
use weft_examples::pods::poll_until_async;
use weft_tests::Outcome;
use weft_tests::client::Http1;
use weft_tests::world::SOON;

/// The client whose queue is short.
const FEW: &str = "few";
/// What its proxy may grow by while nobody takes its spans: far more than its queue holds, far less than what is sent.
const MOST_GROWTH: f64 = 16.0 * 1024.0 * 1024.0;

fn dropped(scene: &Scene, reason: &str) -> f64 {
    scene.world.metrics(FEW).sum("weft_spans_dropped_total", &[("reason", reason)])
}

fn memory(scene: &Scene) -> f64 {
    scene.world.metrics(FEW).sum("process_resident_memory_bytes", &[])
}

/// Requests one after the other, none of which may fail.
async fn requests(scene: &Scene, count: usize) -> Outcome {
    let mut client = Http1::dial(scene.world.pod(FEW), scene.world.echo(80))?;
    for n in 0..count {
        let answer = client.get(&format!("/name/{n}/{}", "x".repeat(2000))).await?;
        ensure!(answer.status() == 200, "number {n}: {answer:?}");
    }
    Ok(())
}

async fn counted(scene: &Scene, reason: &str, before: f64) -> Outcome {
    let more = || async { (dropped(scene, reason) > before).then_some(()) };
    poll_until_async(Instant::now() + SOON, "spans to be counted as dropped", more).await?;
    Ok(())
}

pub async fn gone(scene: &Scene) -> Outcome {
    let before = dropped(scene, "export-failed");
    scene.collector.kill();
    requests(scene, 200).await?;
    counted(scene, "export-failed", before).await?;
    scene.collector.restart()?;
    // A connection that failed is tried again only after a pause.
    let trace = "99999999999999999999999999999999";
    let again = || async {
        let mut client = Http1::dial(scene.world.pod(FEW), scene.world.echo(80)).ok()?;
        let head = format!("host: echo\r\ntraceparent: 00-{trace}-b7ad6b7169203331-01\r\n");
        client.request(format!("GET /name HTTP/1.1\r\n{head}\r\n")).await.ok()?;
        scene.collector.trace(trace).iter().any(|span| span.service() == FEW).then_some(())
    };
    poll_until_async(Instant::now() + SOON + SOON, "spans to arrive again", again).await?;
    Ok(())
}

pub async fn swallowing(scene: &Scene) -> Outcome {
    requests(scene, 500).await?;
    let (full, memory_before) = (dropped(scene, "queue-full"), memory(scene));
    let fault = scene.world.pod(FEW).drop_traffic_to(scene.collector.pod()).context("cut the collector off")?;
    requests(scene, 3000).await?;
    counted(scene, "queue-full", full).await?;
    let grown = memory(scene) - memory_before;
    ensure!(grown < MOST_GROWTH, "the proxy grew by {grown} bytes");
    drop(fault);
    Ok(())
}
