//! Copies of requests: they arrive, and nobody notices them.
//!
//! The test server counts what arrives; a mirror that does not answer is one of its ports.

use anyhow::ensure;
use std::time::{Duration, Instant};
use weft_examples::pods::poll_until_async;
use weft_tests::client::{Http1, Http2};
use weft_tests::ports;
use weft_tests::world::SOON;
use weft_tests::{Outcome, World};

async fn counted(world: &World, replica: &str, key: &str) -> anyhow::Result<u64> {
    let at = (world.pod(replica).ip(), ports::HTTP).into();
    Ok(Http1::dial(world.client(), at)?.get(&format!("/counted/{key}")).await?.text().parse()?)
}

async fn until_counted(world: &World, replica: &str, key: &str, expected: u64) -> Outcome {
    let look = async || (counted(world, replica, key).await.ok()? == expected).then_some(());
    poll_until_async(Instant::now() + SOON, "the copies to arrive", look).await?;
    Ok(())
}

pub async fn copies(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.at("mirrored", 80))?;
    for n in 1..=5 {
        let response = client.get("/count/copied").await?;
        ensure!(response.text() == n.to_string(), "{response:?}");
    }
    let post = "POST /count/posted HTTP/1.1\r\nhost: echo\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    ensure!(client.request(post).await?.text() == "1");
    ensure!(client.get("/never").await?.status() == 200);
    until_counted(world, "echo-v2-0", "copied", 5).await?;
    until_counted(world, "echo-v2-0", "posted", 1).await?;
    ensure!(counted(world, "echo-v1-0", "copied").await? == 5);
    let mirrored = |path: &'static str| {
        world.metrics("client").sum("weft_requests_total", &[("route", path), ("service", "echo-v2.test")])
    };
    // Over HTTP/2, whose answers the test server does not count.
    let before = mirrored("mirrored/0");
    let client = Http2::dial(world.client(), world.at("mirrored", 82)).await?;
    let answer = client.call(http::Method::POST, "/sum", "abc".into(), None).await?;
    ensure!(answer.text() == "3 294", "{answer:?}");
    let look = async || (mirrored("mirrored/0") > before).then_some(());
    poll_until_async(Instant::now() + SOON, "the copy over HTTP/2", look).await?;
    ensure!(mirrored("mirrored/1") == 0.0, "a mirror of 0 % was sent copies");
    Ok(())
}

pub async fn undisturbed(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.at("disturbed", 80))?;
    let started = Instant::now();
    // More than may be under way at once: the silent mirror holds on to every one of them.
    for _ in 0..300 {
        let response = client.get("/name").await?;
        ensure!(response.status() == 200 && response.text() == "echo-v1-0", "{response:?}");
    }
    let took = started.elapsed();
    ensure!(took < Duration::from_secs(30), "300 requests took {took:?}");
    let dropped = world.metrics("client").sum("weft_mirrors_dropped_total", &[]);
    ensure!(dropped > 300.0, "{dropped} copies were dropped");
    Ok(())
}
