//! The access log of two proxies: one that filters, in JSON, and one that writes everything, as text.
//!
//! Read back from what the proxies wrote to standard output.

use anyhow::{Context, ensure};
use serde_json::Value;
use std::time::Instant;
use weft_examples::pods::poll_until_async;
use weft_tests::client::Http1;
use weft_tests::world::SOON;
use weft_tests::{Outcome, World};

/// The first line of `name`'s sidecar that has `text` in it.
async fn line(world: &World, name: &str, text: &str) -> anyhow::Result<String> {
    let log = || world.member(name).with_proxy(|proxy| proxy.log()).unwrap_or_default();
    let found = || async { log().lines().find(|line| line.contains(text)).map(str::to_owned) };
    let found = poll_until_async(Instant::now() + SOON, "a line of the access log", found).await;
    found.with_context(|| format!("no {text:?} in\n{}", log()))
}

pub async fn filtered(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    client.get("/name/unwanted").await?;
    let answer =
        client.request("POST /status/501?secret=1 HTTP/1.1\r\nhost: echo\r\ncontent-length: 0\r\n\r\n").await?;
    ensure!(answer.status() == 501, "{answer:?}");
    client.get("/sum").await?;
    let one = line(world, "echo-0", "/status/501").await?;
    let read: Value = serde_json::from_str(&one).with_context(|| one.clone())?;
    let wanted = [
        ("direction", "inbound"),
        ("service", "echo.test"),
        ("method", "POST"),
        ("host", "echo"),
        ("path", "/status/501"),
        ("version", "1.1"),
        ("peer", "spiffe://weft.local/ns/test/sa/client"),
    ];
    for (name, value) in wanted {
        ensure!(read[name] == value, "{name} of {one}");
    }
    ensure!(read["status"] == 501 && read["duration_seconds"].as_f64().is_some_and(|took| took > 0.0), "{one}");
    ensure!(read["client"] == world.client().ip().to_string() && !one.contains("secret"), "{one}");
    // The one that came last is there, so the first would be.
    line(world, "echo-0", "/sum").await?;
    let log = world.member("echo-0").with_proxy(|proxy| proxy.log()).unwrap_or_default();
    ensure!(!log.contains("/name/unwanted"), "{log}");
    Ok(())
}

pub async fn text(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    client.request("GET /name/\u{9b}31m\u{85}x=\"1\" HTTP/1.1\r\nhost: echo\r\n\r\n").await?;
    client.get("/name/marked").await?;
    let marked = line(world, "client", "/name/marked").await?;
    for word in
        ["direction=outbound", "service=echo.test", "endpoint=echo-0", "status=200", "attempts=1", "version=1.1"]
    {
        ensure!(marked.split(' ').any(|found| found == word), "{word} is missing in {marked}");
    }
    let log = world.member("client").with_proxy(|proxy| proxy.log()).unwrap_or_default();
    ensure!(!log.chars().any(|c| c.is_control() && c != '\n'), "control characters in\n{log:?}");
    Ok(())
}
