//! docs/metrics.md against the sources and against what is exported after traffic, and the two forms of `/metrics`.
//!
//! A name, type or label that is in one and not in the other fails, naming it.

use anyhow::{Context, ensure};
use std::collections::{BTreeMap, BTreeSet};
use weft_examples::mesh::{Metrics, fetch, get};
use weft_tests::client::{Http1, Http2};
use weft_tests::programs::dig;
use weft_tests::{Outcome, World};

/// A family as the page has it.
#[derive(Debug)]
struct Family {
    kind: String,
    labels: BTreeSet<String>,
}

/// The tables of the page, by the name of the samples. Two programs may have a family of the same name and shape.
fn page() -> anyhow::Result<BTreeMap<String, Family>> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md"))?;
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let mut families = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        ensure!(cells.len() == 5, "not five cells: {row}");
        let labels = cells[2].split_whitespace().map(|label| label.trim_matches('`').to_owned()).collect();
        families.insert(cells[0].trim_matches('`').to_owned(), Family { kind: cells[1].to_owned(), labels });
    }
    Ok(families)
}

/// The names under which the sources register metrics.
fn registered() -> anyhow::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for folder in ["proxy/src", "discovery/src", "injector/src", "telemetry/src"] {
        let root = format!("{}/../{folder}", env!("CARGO_MANIFEST_DIR"));
        for entry in walkdir::WalkDir::new(root) {
            let path = entry?.into_path();
            let tests = path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"));
            if tests || path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path)?;
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for call in ["registry.register(", "gauge(", "one(", "encode_descriptor(", "show("] {
                for rest in code.split(call).skip(1) {
                    let quoted = rest.trim_start().strip_prefix('"').unwrap_or("");
                    let name = quoted.split('"').next().unwrap_or_default();
                    let plain = |c: char| c.is_ascii_lowercase() || c == '_';
                    if !name.is_empty() && name.chars().all(plain) {
                        names.insert(name.to_owned());
                    }
                }
            }
        }
    }
    Ok(names)
}

/// Traffic of every kind, so that most families have samples.
async fn traffic(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    for path in ["/name", "/status/500", "/fail-once/metrics"] {
        client.get(path).await?;
    }
    Http2::dial(world.client(), world.echo(82)).await?.get("/name").await?;
    Http1::dial(world.client(), world.echo(weft_tests::ports::GONE - 2))?.get("/").await?;
    dig(world.client(), &["echo.test.svc.cluster.local", "A"])?;
    Ok(())
}

pub async fn agrees(world: &World) -> Outcome {
    let page = page()?;
    for name in registered()? {
        let of = |family: &str| {
            let bare = family.strip_prefix("weft_").unwrap_or(family);
            [bare, bare.strip_suffix("_total").unwrap_or(bare), bare.strip_suffix("_info").unwrap_or(bare)]
                .contains(&&*name)
        };
        ensure!(page.keys().any(|family| of(family)), "{name} is not in docs/metrics.md");
    }
    let sources = registered()?;
    for (name, family) in &page {
        let bare = name.strip_prefix("weft_").unwrap_or(name);
        let bare =
            if family.kind == "counter" { bare.strip_suffix("_total").context("a counter's name")? } else { bare };
        ensure!(name == "weft_build_info" || sources.contains(bare), "{name} is in docs/metrics.md and nowhere else");
    }
    traffic(world).await?;
    let mut texts: Vec<String> = Vec::new();
    for member in world.members() {
        texts.push(open_metrics(world, member.name())?);
    }
    let discovery = &world.mesh().discovery()[0];
    texts.push(get(world.mesh().node(), discovery.admin(), "/metrics")?.body);
    for text in texts {
        agrees_with(&page, &text)?;
    }
    Ok(())
}

fn agrees_with(page: &BTreeMap<String, Family>, text: &str) -> Outcome {
    let mut kinds = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').context("a type")?;
        // Families are called as their samples in the older form, and without the ending in OpenMetrics.
        let samples = [name.to_owned(), format!("{name}_total"), format!("{name}_info")];
        let found = samples.iter().find_map(|name| Some((name.clone(), page.get(name)?)));
        let (name, family) = found.with_context(|| format!("{name} is not in docs/metrics.md"))?;
        let same = family.kind == kind || family.kind == "info" && kind == "gauge";
        ensure!(same, "{name} is a {kind}, and docs/metrics.md calls it a {}", family.kind);
        kinds.insert(name, family);
    }
    let metrics = Metrics::parse(text);
    for sample in &metrics.samples {
        let bare = ["_bucket", "_count", "_sum"].iter().find_map(|end| sample.name.strip_suffix(end));
        let family = bare.and_then(|bare| kinds.get(bare)).or_else(|| kinds.get(&sample.name));
        let family = family.with_context(|| format!("{} has no type", sample.name))?;
        let labels: BTreeSet<String> = sample.labels.keys().filter(|label| *label != "le").cloned().collect();
        ensure!(labels == family.labels, "{} has the labels {labels:?}, the page {:?}", sample.name, family.labels);
    }
    Ok(())
}

/// `/metrics` of a member's sidecar, asked for as Prometheus does.
fn open_metrics(world: &World, name: &str) -> anyhow::Result<String> {
    let member = world.member(name);
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2";
    let request = format!("GET /metrics HTTP/1.0\r\nhost: admin\r\naccept: {accept}\r\n\r\n");
    let reply = fetch(member.pod(), member.admin(), &request)?;
    let kind = reply.header("content-type").unwrap_or_default();
    ensure!(kind.starts_with("application/openmetrics-text"), "{kind}");
    Ok(reply.body)
}

pub async fn exemplars(world: &World) -> Outcome {
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let head = format!("host: echo\r\ntraceparent: 00-{trace}-b7ad6b7169203331-01\r\n");
    let request = format!("GET /name HTTP/1.1\r\n{head}\r\n");
    Http1::dial(world.client(), world.echo(80))?.request(request).await?;
    let text = open_metrics(world, "client")?;
    let named = |line: &&str| line.contains(&format!(" # {{trace_id=\"{trace}\"}} "));
    let line = text.lines().find(named).with_context(|| format!("no exemplar in\n{text}"))?;
    ensure!(line.starts_with("weft_request_duration_seconds_bucket{"), "{line}");
    ensure!(text.ends_with("# EOF\n"), "it has no end");
    let client = world.member("client");
    let old = get(client.pod(), client.admin(), "/metrics")?;
    let kind = old.header("content-type").unwrap_or_default();
    ensure!(kind == "text/plain; version=0.0.4; charset=utf-8", "{kind}");
    ensure!(!old.body.contains("trace_id") && old.body.contains("# TYPE weft_requests_total counter"), "{}", old.body);
    Ok(())
}
