//! The access log as log records: of a client that writes lines as well, and of a server that only sends what failed.
//!
//! A record that does not arrive fails with the last one that did.

use crate::{LIMIT, Scene};
use anyhow::{Context, ensure};
use std::time::Instant;
use weft_examples::pods::poll_until_async;
use weft_tests::Outcome;
use weft_tests::client::Http1;
use weft_tests::collector::LogRecord;

/// The record of `service` whose path is `path`.
async fn record(scene: &Scene, service: &str, path: &str) -> anyhow::Result<LogRecord> {
    let is = |record: &LogRecord| {
        let has = |of: &std::collections::BTreeMap<String, String>, name: &str, value: &str| {
            of.get(name).is_some_and(|found| found == value)
        };
        has(&record.resource, "service.name", service) && has(&record.attributes, "url.path", path)
    };
    let look = || async { scene.collector.records().into_iter().find(is) };
    let found = poll_until_async(Instant::now() + LIMIT, "a log record", look).await;
    found.with_context(|| format!("{path} of {service}; the last one is {:#?}", scene.collector.records().last()))
}

pub async fn records(scene: &Scene) -> Outcome {
    let trace = "0af7651916cd43dd8448eb211c8031aa";
    let head = format!("host: echo\r\ntraceparent: 00-{trace}-b7ad6b7169203331-01\r\n");
    let mut client = Http1::dial(scene.world.client(), scene.world.echo(80))?;
    client.request(format!("GET /name/\u{9b}31m?secret=1 HTTP/1.1\r\n{head}\r\n")).await?;
    client.get("/status/501").await?;
    let traced = record(scene, "client", "/name/\u{9b}31m").await?;
    ensure!(traced.trace == trace && traced.span.len() == 16 && traced.severity == "INFO", "{traced:?}");
    let span = scene.collector.wait(trace, 2).await?.into_iter().find(|span| span.id == traced.span);
    ensure!(span.is_some_and(|span| span.get("weft.service") == "echo.test"), "the record's span is not there");
    let wanted = [
        ("weft.direction", "outbound"),
        ("weft.service", "echo.test"),
        ("weft.endpoint", "echo-0"),
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("server.address", "echo"),
        ("weft.attempts", "1"),
        ("weft.peer.identity", "spiffe://weft.local/ns/test/sa/echo"),
    ];
    for (name, value) in wanted {
        ensure!(traced.attributes.get(name).is_some_and(|found| found == value), "{name} in {traced:#?}");
    }
    ensure!(traced.body.contains("status=200") && !traced.body.contains("secret"), "{traced:?}");
    ensure!(!traced.body.chars().any(char::is_control), "{:?}", traced.body);
    let failed = record(scene, "client", "/status/501").await?;
    ensure!(failed.severity == "ERROR" && failed.trace.is_empty(), "{failed:?}");
    let said = scene.world.member("client").with_proxy(|proxy| proxy.log()).unwrap_or_default();
    ensure!(said.contains("\"path\":\"/status/501\""), "no line beside the record");
    Ok(())
}

pub async fn filtered(scene: &Scene) -> Outcome {
    let mut client = Http1::dial(scene.world.client(), scene.world.echo(80))?;
    client.get("/name/fine").await?;
    client.get("/status/502").await?;
    let failed = record(scene, "echo", "/status/502").await?;
    let address = scene.world.client().ip().to_string();
    ensure!(failed.attributes.get("client.address") == Some(&address), "{failed:?}");
    let fine = |record: &LogRecord| record.resource["service.name"] == "echo" && record.body.contains("/name/fine");
    ensure!(!scene.collector.records().iter().any(fine), "the filter let it through");
    let said = scene.world.member("echo-0").with_proxy(|proxy| proxy.log()).unwrap_or_default();
    ensure!(!said.contains("/status/502"), "a line that nobody asked for: {said}");
    let dropped = scene.world.metrics("echo-0").sum("weft_log_records_dropped_total", &[]);
    ensure!(dropped == 0.0, "{dropped} records are lost");
    Ok(())
}
