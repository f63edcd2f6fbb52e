//! TLS to the collector: both sides show a certificate, and whoever has none, or trusts another authority, sends nothing.
//!
//! Asked of the collector, and of the proxies' own counters and logs.

use crate::{LIMIT, Scene};
use anyhow::ensure;
use std::time::Instant;
use weft_examples::mesh::{Workload, binary};
use weft_examples::pods::{Program, poll_until_async};
use weft_tests::Outcome;
use weft_tests::client::Http1;
use weft_tests::collector::Collector;
use weft_tests::world::NAMESPACE;

/// Sends everything to `collector`, which it trusts by `authority`.
pub fn workload(name: &str, collector: &Collector, authority: &str, known: bool) -> Workload {
    let files = collector.tls();
    let workload = Workload::new(NAMESPACE, name, name)
        .proxy_env(crate::ENDPOINT, &collector.grpc())
        .proxy_env("OTEL_EXPORTER_OTLP_CERTIFICATE", &files.file(authority))
        .proxy_env("OTEL_TRACES_SAMPLER", "always_on")
        .proxy_env("OTEL_METRICS_EXPORTER", "otlp")
        .proxy_env("OTEL_METRIC_EXPORT_INTERVAL", "500")
        .proxy_env("OTEL_METRIC_EXPORT_TIMEOUT", "5000")
        .proxy_env("OTEL_LOGS_EXPORTER", "otlp")
        .proxy_arg("--span-delay=100ms")
        .proxy_arg("--span-timeout=5s")
        .proxy_arg("--record-delay=100ms")
        .proxy_arg("--record-timeout=5s");
    match known {
        false => workload,
        true => workload
            .proxy_env("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &files.file("client.crt"))
            .proxy_env("OTEL_EXPORTER_OTLP_CLIENT_KEY", &files.file("client.key")),
    }
}

async fn request(scene: &Scene, name: &str) -> Outcome {
    Http1::dial(scene.world.pod(name), scene.world.echo(80))?.get("/name").await?;
    Ok(())
}

/// Which signals of `name` have arrived: spans, metrics, records.
fn arrived(scene: &Scene, name: &str) -> [bool; 3] {
    let is =
        |resource: &std::collections::BTreeMap<String, String>| resource.get("service.name").is_some_and(|n| n == name);
    [
        scene.secured.spans().iter().any(|span| is(&span.resource)),
        scene.secured.points().iter().any(|point| is(&point.resource)),
        scene.secured.records().iter().any(|record| is(&record.resource)),
    ]
}

pub async fn arrives(scene: &Scene) -> Outcome {
    for name in ["secured", "posting"] {
        request(scene, name).await?;
        let all = || async { (arrived(scene, name) == [true; 3]).then_some(()) };
        let all = poll_until_async(Instant::now() + LIMIT, "spans, metrics and records", all).await;
        ensure!(all.is_ok(), "{name}: of spans, metrics and records there are {:?}", arrived(scene, name));
    }
    Ok(())
}

pub async fn refused(scene: &Scene) -> Outcome {
    for name in ["stranger", "misled"] {
        request(scene, name).await?;
        let lost = |metric: &str, label: (&str, &str)| scene.world.metrics(name).sum(metric, &[label]) > 0.0;
        let counted = || async {
            let spans = lost("weft_spans_dropped_total", ("reason", "export-failed"));
            let records = lost("weft_log_records_dropped_total", ("reason", "export-failed"));
            (spans && records && lost("weft_metric_exports_total", ("outcome", "failed"))).then_some(())
        };
        poll_until_async(Instant::now() + LIMIT, "failures to be counted", counted).await?;
        ensure!(arrived(scene, name) == [false; 3], "{name} got through: {:?}", arrived(scene, name));
        let said = scene.world.member(name).with_proxy(|proxy| proxy.log()).unwrap_or_default();
        ensure!(said.contains("could not be exported"), "{name} says nothing of it: {said}");
    }
    Ok(())
}

pub async fn bad_files(scene: &Scene) -> Outcome {
    let files = scene.secured.tls();
    let proxy = Program::new(binary("weft-proxy")?)
        .args(["run", "--name=x", "--discovery=https://127.0.0.1:1", "--trust-anchors", &files.file("ca.crt")])
        .args(["--state-dir", &files.file("state")])
        .env(crate::ENDPOINT, scene.secured.grpc());
    for (variable, file) in [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "missing.pem"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "client.key"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "missing.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "client.crt"),
    ] {
        let program = proxy
            .clone()
            .env("OTEL_EXPORTER_OTLP_CERTIFICATE", files.file("ca.crt"))
            .env("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", files.file("client.crt"))
            .env("OTEL_EXPORTER_OTLP_CLIENT_KEY", files.file("client.key"))
            .env(variable, files.file(file));
        let output = scene.world.mesh().node().run(program)?;
        let said = &output.stderr;
        ensure!(said.contains(&format!("({variable}): ")) && said.contains(file), "{variable}={file}: {said}");
        ensure!(output.status.code() == Some(2), "{variable}={file} ends with {:?}", output.status);
    }
    Ok(())
}
