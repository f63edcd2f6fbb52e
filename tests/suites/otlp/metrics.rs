//! Figures at the collector against `/metrics` of whoever sent them.
//!
//! Counters that nothing counts any more have to be equal; what moves by itself only has to be there.

use crate::{LIMIT, Scene};
use anyhow::{Context, anyhow, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Instant;
use weft_examples::mesh::{Metrics, get};
use weft_examples::pods::poll_until_async;
use weft_tests::Outcome;
use weft_tests::client::Http1;
use weft_tests::collector::{Kind, Point};

const DURATION: &str = "weft_request_duration_seconds";

/// The latest points of whoever is called `instance`.
fn latest(scene: &Scene, instance: &str) -> Vec<Point> {
    let of = |point: &Point| point.resource.get("service.instance.id").is_some_and(|id| id == instance);
    let points: Vec<Point> = scene.collector.points().into_iter().filter(of).collect();
    let time = points.iter().map(|point| point.time).max().unwrap_or_default();
    points.into_iter().filter(|point| point.time == time).collect()
}

/// Waits until the latest points of `instance` pass `test`, and returns them.
async fn until(scene: &Scene, instance: &str, test: impl Fn(&[Point]) -> bool) -> anyhow::Result<Vec<Point>> {
    let look = || async { Some(latest(scene, instance)).filter(|points| !points.is_empty() && test(points)) };
    let found = poll_until_async(Instant::now() + LIMIT, "figures at the collector", look).await;
    found.with_context(|| format!("{:#?}", latest(scene, instance).first()))
}

fn sum(points: &[Point], metric: &str, labels: &[(&str, &str)]) -> f64 {
    let carries =
        |point: &&Point| labels.iter().all(|(name, value)| point.labels.get(*name).is_some_and(|v| v == value));
    points.iter().filter(|point| point.metric == metric).filter(carries).map(|point| point.value).sum()
}

async fn traffic(scene: &Scene) -> Outcome {
    let mut client = Http1::dial(scene.world.client(), scene.world.echo(80))?;
    for path in ["/name", "/status/503", "/name"] {
        client.get(path).await?;
    }
    Ok(())
}

/// The names under which `metrics` has samples; of histograms, the family's.
fn names(metrics: &Metrics) -> BTreeSet<String> {
    let family = |name: &str| {
        let ended = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        ended.filter(|family| family.ends_with("_seconds")).unwrap_or(name).to_owned()
    };
    metrics.samples.iter().map(|sample| family(&sample.name)).collect()
}

/// Everything that `/metrics` has and only that, with equal values of what is at rest.
fn agree(points: &[Point], metrics: &Metrics) -> Outcome {
    let sent: BTreeSet<String> = points.iter().map(|point| point.metric.clone()).collect();
    let there = names(metrics);
    let differing: Vec<&String> = sent.symmetric_difference(&there).collect();
    ensure!(differing.is_empty(), "not in both: {differing:?}");
    for point in points.iter().filter(|point| point.metric == "weft_requests_total") {
        let labels: Vec<(&str, &str)> =
            point.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let value = metrics.sum("weft_requests_total", &labels);
        ensure!(point.value == value, "{labels:?} is {} at the collector and {value} here", point.value);
        ensure!(point.kind == Kind::Sum { monotonic: true, cumulative: true }, "{point:?}");
    }
    let series = points.iter().filter(|point| point.metric == "weft_requests_total").count();
    ensure!(series == metrics.select("weft_requests_total", &[]).count(), "{series} series of requests");
    let kind = |name: &str| points.iter().find(|point| point.metric == name).map(|point| point.kind);
    ensure!(kind("process_open_fds") == Some(Kind::Gauge));
    ensure!(kind("weft_build_info") == Some(Kind::Sum { monotonic: false, cumulative: true }));
    begun_with_the_process(points, metrics)
}

/// No series begins before its process, or after its point.
fn begun_with_the_process(points: &[Point], metrics: &Metrics) -> Outcome {
    let started = metrics.sum("process_start_time_seconds", &[]);
    for point in points.iter().filter(|point| point.kind != Kind::Gauge) {
        let start = point.start as f64 / 1e9;
        ensure!(start > started - 2.0 && point.start < point.time, "{point:?} began before {started}");
    }
    let first = points.iter().find(|point| point.metric == "weft_build_info").context("no weft_build_info")?;
    let apart = first.start as f64 / 1e9 - started;
    ensure!(apart.abs() < 30.0, "it began {apart} s after the process");
    Ok(())
}

/// Sends requests and waits until the collector has what `/metrics` shows.
async fn compared(scene: &Scene, name: &str) -> anyhow::Result<Vec<Point>> {
    traffic(scene).await?;
    agreeing(scene, name, || Ok(scene.world.metrics(name))).await
}

/// Waits until the latest points of `instance` are what `metrics` are; they are looked at one after the other, and change.
async fn agreeing(
    scene: &Scene,
    instance: &str,
    metrics: impl Fn() -> anyhow::Result<Metrics>,
) -> anyhow::Result<Vec<Point>> {
    let differing = Mutex::new(anyhow!("nothing was looked at"));
    let look = || async {
        let points = latest(scene, instance);
        match metrics().and_then(|metrics| agree(&points, &metrics)) {
            Ok(()) => Some(points),
            Err(error) => {
                *differing.lock().ok()? = error;
                None
            }
        }
    };
    let found = poll_until_async(Instant::now() + LIMIT, "figures at the collector", look).await;
    found.map_err(|_| differing.into_inner().unwrap_or_else(|_| anyhow!("a panic")))
}

pub async fn over_grpc(scene: &Scene) -> Outcome {
    let points = compared(scene, "client").await?;
    let wanted = [
        ("service.name", "client"),
        ("service.namespace", "test"),
        ("service.instance.id", "client"),
        ("deployment.environment.name", "test"),
    ];
    for (name, value) in wanted {
        ensure!(points[0].resource.get(name).is_some_and(|v| v == value), "{name} in {:?}", points[0].resource);
    }
    let failed = [("direction", "outbound"), ("service", "echo.test"), ("status", "503")];
    ensure!(sum(&points, "weft_requests_total", &failed) > 0.0, "no failure");
    Ok(())
}

pub async fn over_http(scene: &Scene) -> Outcome {
    let points = compared(scene, "echo-0").await?;
    ensure!(points[0].resource.get("service.name").is_some_and(|name| name == "echo"), "{:?}", points[0].resource);
    let spans = scene.collector.spans();
    ensure!(spans.iter().all(|span| span.service() != "echo"), "spans that nobody asked for");
    Ok(())
}

pub async fn of_discovery(scene: &Scene) -> Outcome {
    let discovery = &scene.world.mesh().discovery()[0];
    let node = scene.world.mesh().node();
    let there = || Ok(Metrics::parse(&get(node, discovery.admin(), "/metrics")?.body));
    let points = agreeing(scene, discovery.name(), there).await?;
    ensure!(points[0].resource.get("service.name").is_some_and(|name| name == "weft-discovery"));
    let services = there()?.sum("weft_discovery_services", &[]);
    ensure!(services > 0.0 && sum(&points, "weft_discovery_services", &[]) == services, "{services} services");
    Ok(())
}

pub async fn histograms(scene: &Scene) -> Outcome {
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let head = format!("host: echo\r\ntraceparent: 00-{trace}-b7ad6b7169203331-01\r\n");
    let request = format!("GET /name HTTP/1.1\r\n{head}\r\n");
    Http1::dial(scene.world.client(), scene.world.echo(80))?.request(request).await?;
    let labels = [("direction", "outbound"), ("service", "echo.test")];
    let of = |points: &[Point]| -> BTreeMap<Vec<String>, Point> {
        let ours = points.iter().filter(|point| point.metric == DURATION);
        let ours = ours.filter(|p| labels.iter().all(|(name, value)| p.labels.get(*name).is_some_and(|v| v == value)));
        ours.map(|point| (point.labels.values().cloned().collect(), point.clone())).collect()
    };
    let traced = |points: &[Point]| of(points).values().any(|point| point.exemplars.iter().any(|id| id == trace));
    let points = until(scene, "client", traced).await?;
    let metrics = scene.world.metrics("client");
    let point = of(&points).into_values().next().context("no histogram")?;
    ensure!(point.kind == Kind::Histogram { cumulative: true } && point.unit == "s", "{point:?}");
    ensure!(point.bounds.len() == 16 && point.buckets.len() == 17, "{point:?}");
    ensure!(
        point.buckets.iter().sum::<u64>() as f64 == metrics.sum(&format!("{DURATION}_count"), &labels),
        "{point:?}"
    );
    ensure!((point.value - metrics.sum(&format!("{DURATION}_sum"), &labels)).abs() < 1e-6, "{point:?}");
    // Each by itself here, each with all below it there.
    let (mut below, bucket) = (0, format!("{DURATION}_bucket"));
    for (bound, count) in point.bounds.iter().zip(&point.buckets) {
        below += count;
        let le = metrics
            .select(&bucket, &labels)
            .find(|sample| sample.label("le").parse::<f64>().is_ok_and(|le| le == *bound));
        ensure!(le.is_some_and(|sample| sample.value == below as f64), "up to {bound}: {below} in {point:?}");
    }
    Ok(())
}

pub async fn gone(scene: &Scene) -> Outcome {
    let failed = || scene.world.metrics("client").sum("weft_metric_exports_total", &[("outcome", "failed")]);
    let (before, began) = (failed(), start(&compared(scene, "client").await?)?);
    scene.collector.kill();
    let counted = || async {
        traffic(scene).await.ok()?;
        (failed() > before).then_some(())
    };
    poll_until_async(Instant::now() + LIMIT, "a failed export to be counted", counted).await?;
    scene.collector.restart()?;
    let again = compared(scene, "client").await?;
    ensure!(start(&again)? == began, "its counters begin anew");
    Ok(())
}

fn start(points: &[Point]) -> anyhow::Result<u64> {
    Ok(points.iter().find(|point| point.metric == "weft_build_info").context("no weft_build_info")?.start)
}
