//! A real OpenTelemetry Collector in a pod, and what it has been sent.
//!
//! `scripts/collector` builds it where there is Go; elsewhere [`binary`] says why not. It writes what it receives into a file, one
//! request a line, which is read back here: spans, metrics and log records.

mod figures;
mod tls;

pub use figures::{Kind, LogRecord, Point};
pub use tls::Files;

use anyhow::{Context, ensure};
use figures::{attributes, list};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use weft_examples::pods::{Network, Pod, Process, Program, poll_until_async};

/// Where OTLP over gRPC is taken, and where over HTTP.
const GRPC: u16 = 4317;
const HTTP: u16 = 4318;
/// How long it may take to start, and spans to arrive.
const LIMIT: Duration = Duration::from_secs(20);

/// The collector's binary, or why there is none.
pub fn binary() -> Result<PathBuf, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/collector");
    let output = Command::new(script).output().map_err(|error| format!("scripts/collector: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().into()),
        false => Err(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("no reason given").to_owned()),
    }
}

/// One span as the collector has it.
#[derive(Debug, Clone)]
pub struct Span {
    pub trace: String,
    pub id: String,
    /// Empty: a root.
    pub parent: String,
    pub name: String,
    /// 2: server, 3: client.
    pub kind: u64,
    /// 2: error.
    pub status: u64,
    pub attributes: BTreeMap<String, String>,
    /// Of who sent it.
    pub resource: BTreeMap<String, String>,
}

pub const SERVER: u64 = 2;
pub const CLIENT: u64 = 3;
pub const ERROR: u64 = 2;

impl Span {
    /// The attribute `name`; empty when it is not there.
    pub fn get(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    /// `service.name` of who sent it.
    pub fn service(&self) -> &str {
        self.resource.get("service.name").map_or("", String::as_str)
    }
}

/// A collector that can be ended and started again.
pub struct Collector {
    pod: Pod,
    program: Program,
    process: Mutex<Option<Process>>,
    file: PathBuf,
    tls: Option<Files>,
}

impl Collector {
    /// Starts one in a pod of its own.
    pub fn start(network: &Network) -> anyhow::Result<Self> {
        Self::start_as(network, "collector", false)
    }

    /// One that speaks TLS, and wants a certificate of whoever sends.
    pub fn secured(network: &Network) -> anyhow::Result<Self> {
        Self::start_as(network, "vault", true)
    }

    fn start_as(network: &Network, name: &str, secured: bool) -> anyhow::Result<Self> {
        let pod = network.pod(name)?;
        let directory = network.dir().join(name);
        std::fs::create_dir_all(&directory)?;
        let (file, config) = (directory.join("sent.json"), directory.join("config.yaml"));
        let tls = secured.then(|| Files::make(&directory, pod.ip().into())).transpose()?;
        std::fs::write(&config, configuration(&file.display().to_string(), tls.as_ref()))?;
        let binary = binary().map_err(anyhow::Error::msg)?;
        let program = Program::new(binary).label("otelcol").arg(format!("--config=file:{}", config.display()));
        let collector = Self { pod, program, process: Mutex::default(), file, tls };
        collector.restart()?;
        Ok(collector)
    }

    /// The files of a secured one.
    pub fn tls(&self) -> &Files {
        self.tls.as_ref().expect("this collector is secured")
    }

    pub fn pod(&self) -> &Pod {
        &self.pod
    }

    /// What `--otlp-endpoint` has to say for gRPC.
    pub fn grpc(&self) -> String {
        format!("{}://{}:{GRPC}", self.scheme(), self.pod.ip())
    }

    /// The same for HTTP.
    pub fn http(&self) -> String {
        format!("{}://{}:{HTTP}", self.scheme(), self.pod.ip())
    }

    fn scheme(&self) -> &str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&self) {
        self.process.lock().expect("nobody panics inside").take();
    }

    /// Starts it again, until it takes spans.
    pub fn restart(&self) -> anyhow::Result<()> {
        let mut process = self.process.lock().expect("nobody panics inside");
        process.take();
        let started = self.pod.spawn(self.program.clone())?;
        started.wait_log("Everything is ready", LIMIT).context("the collector")?;
        *process = Some(started);
        Ok(())
    }

    /// Everything it has been sent so far, a value for each request.
    fn sent(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        // The last line may still be being written.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// All spans.
    pub fn spans(&self) -> Vec<Span> {
        self.sent().iter().flat_map(spans).collect()
    }

    /// All points of metrics, those of the same series in their order.
    pub fn points(&self) -> Vec<Point> {
        self.sent().iter().flat_map(figures::points).collect()
    }

    /// All log records.
    pub fn records(&self) -> Vec<LogRecord> {
        self.sent().iter().flat_map(figures::records).collect()
    }

    /// The spans of one trace.
    pub fn trace(&self, id: &str) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.trace == id).collect()
    }

    /// Waits until the trace has `count` spans.
    pub async fn wait(&self, id: &str, count: usize) -> anyhow::Result<Vec<Span>> {
        let all = || async { Some(self.trace(id)).filter(|spans| spans.len() >= count) };
        let found = poll_until_async(Instant::now() + LIMIT, "the spans of a trace", all).await;
        let spans = found.with_context(|| format!("trace {id} has {:#?}", self.trace(id)))?;
        ensure!(spans.len() == count, "trace {id} has more than {count} spans: {spans:#?}");
        Ok(spans)
    }
}

fn configuration(file: &str, tls: Option<&Files>) -> String {
    let tls = tls.map(Files::receiver).unwrap_or_default();
    let pipeline = "{ receivers: [otlp], exporters: [file] }";
    format!(
        "receivers:\n  otlp:\n    protocols:\n      grpc: {{ endpoint: '0.0.0.0:{GRPC}'{tls} }}\n      http: {{ endpoint: '0.0.0.0:{HTTP}'{tls} }}\n\
         exporters:\n  file: {{ path: '{file}', append: true, flush_interval: 50ms }}\n\
         service:\n  telemetry: {{ metrics: {{ level: none }} }}\n  pipelines:\n    traces: {pipeline}\n    metrics: {pipeline}\n    logs: {pipeline}\n"
    )
}

fn spans(sent: &Value) -> Vec<Span> {
    let mut found = Vec::new();
    for resource in list(&sent["resourceSpans"]) {
        let of = attributes(&resource["resource"]["attributes"]);
        for span in list(&resource["scopeSpans"]).flat_map(|scope| list(&scope["spans"])) {
            let text = |name: &str| span[name].as_str().unwrap_or_default().to_owned();
            found.push(Span {
                trace: text("traceId"),
                id: text("spanId"),
                parent: text("parentSpanId"),
                name: text("name"),
                kind: span["kind"].as_u64().unwrap_or_default(),
                status: span["status"]["code"].as_u64().unwrap_or_default(),
                attributes: attributes(&span["attributes"]),
                resource: of.clone(),
            });
        }
    }
    found
}
