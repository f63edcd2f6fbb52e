//! Metrics and the access log at a real OpenTelemetry Collector, over both protocols, in plaintext and with TLS on both sides.
//!
//! The collector is built by `scripts/collector`; where it cannot be, each case says why it is left out.

mod logs;
mod metrics;
mod secured;

use anyhow::Context;
use std::process::ExitCode;
use std::time::Duration;
use weft_examples::mesh::{Options, Workload};
use weft_examples::pods::Network;
use weft_tests::collector::{self, Collector};
use weft_tests::suite::Stage;
use weft_tests::world::{NAMESPACE, server, workload};
use weft_tests::{Plan, Suite, World, ports};

/// How long anything may take to arrive, on a machine that does other things as well.
pub const LIMIT: Duration = Duration::from_secs(40);

fn main() -> ExitCode {
    Suite::on("meshed", Scene::new)
        .unless(collector::binary().err().map(|reason| format!("there is no collector: {reason}")))
        .case("a proxy's metrics are those of /metrics, over gRPC", metrics::over_grpc)
        .case("and over HTTP", metrics::over_http)
        .case("so are discovery's", metrics::of_discovery)
        .case("histograms have the same buckets, and exemplars with their traces", metrics::histograms)
        .case("the access log arrives as records, with trace, attributes and severity", logs::records)
        .case("only what its filter lets through, and no line where none was asked for", logs::filtered)
        .case("over TLS with a certificate on both sides all three signals arrive", secured::arrives)
        .case("without a certificate, or by another authority, nothing does, and it is counted", secured::refused)
        .case("files that are wrong keep a proxy from starting, by the variable's name", secured::bad_files)
        .case("a collector that is gone costs a counter, and nothing is missing when it is back", metrics::gone)
        .run()
}

/// A mesh and two collectors.
pub struct Scene {
    pub world: World,
    pub collector: Collector,
    pub secured: Collector,
}

impl Scene {
    fn new() -> anyhow::Result<Self> {
        let network = Network::new()?;
        let (collector, secured) = (Collector::start(&network)?, Collector::secured(&network)?);
        let discovery_args = vec![
            format!("--otlp-endpoint={}", collector.grpc()),
            "--metrics-exporter=otlp".to_owned(),
            "--metric-interval=500ms".to_owned(),
        ];
        let plan = Plan::new()
            .options(Options { discovery_args, ..Options::default() })
            .documents(ports::service_document(NAMESPACE, "echo"))
            .workload(replica(&collector))
            .workload(client(&collector))
            .workload(secured::workload("secured", &secured, "ca.crt", true))
            .workload(
                secured::workload("posting", &secured, "ca.crt", true)
                    .proxy_env(PROTOCOL, "http/protobuf")
                    .proxy_env(ENDPOINT, &secured.http()),
            )
            .workload(secured::workload("stranger", &secured, "ca.crt", false))
            .workload(secured::workload("misled", &secured, "other.crt", true));
        let world = plan.start_on(network).context("a mesh that exports")?;
        Ok(Self { world, collector, secured })
    }
}

pub const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
pub const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";

/// As a user would set it, by the variables that OpenTelemetry names.
fn client(collector: &Collector) -> Workload {
    Workload::new(NAMESPACE, "client", "client")
        .proxy_env(ENDPOINT, &collector.grpc())
        .proxy_env("OTEL_METRICS_EXPORTER", "otlp")
        .proxy_env("OTEL_METRIC_EXPORT_INTERVAL", "500")
        .proxy_env("OTEL_LOGS_EXPORTER", "otlp")
        .proxy_env("OTEL_BLRP_SCHEDULE_DELAY", "100")
        .proxy_env("OTEL_TRACES_SAMPLER", "parentbased_always_off")
        .proxy_env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=te%73t")
        .proxy_arg("--access-log=json")
}

/// No traces, no lines: metrics and the records of what failed, over HTTP.
fn replica(collector: &Collector) -> Workload {
    workload("echo", 0)
        .application(server("echo-0"))
        .proxy_arg(format!("--otlp-endpoint={}", collector.http()))
        .proxy_arg("--otlp-protocol=http/protobuf")
        .proxy_arg("--traces-exporter=none")
        .proxy_arg("--metrics-exporter=otlp")
        .proxy_arg("--metric-interval=500ms")
        .proxy_arg("--logs-exporter=otlp")
        .proxy_arg("--access-log-filter=status >= 500")
        .proxy_arg("--record-delay=100ms")
}

impl Stage for Scene {
    fn testimony(&self) -> String {
        self.world.testimony()
    }
}
