//! What a request leaves behind at a real OpenTelemetry Collector, and what happens to requests when there is none.
//!
//! The collector is built by `scripts/collector`; where it cannot be, the suite says why and leaves its cases out.

mod context;
mod failing;
mod shop;
mod spans;

use anyhow::Context;
use std::process::ExitCode;
use weft_examples::mesh::Workload;
use weft_examples::pods::Network;
use weft_tests::collector::{self, Collector};
use weft_tests::suite::Stage;
use weft_tests::world::{NAMESPACE, workload};
use weft_tests::{Plan, Suite, World, ports};

fn main() -> ExitCode {
    if let Err(reason) = collector::binary() {
        println!("traces: left out, for there is no collector: {reason}");
        return ExitCode::SUCCESS;
    }
    let suite = Suite::on("meshed", Scene::new)
        .case("one request through two sidecars is one connected trace", spans::connected)
        .case("gRPC is told of in its own terms", spans::grpc)
        .case("each try is a child of its own", spans::retried)
        .case("a refusal of the mesh is a span with its reason", spans::refused)
        .case("B3 in one header comes and goes on so", context::b3_single)
        .case("B3 in several headers comes and goes on so", context::b3_multi)
        .case("a caller that does not sample is obeyed, and its headers stay as they are", context::unsampled)
        .case("malformed headers begin a new trace", context::malformed)
        .case("errors are told of whatever the sampler says", context::errors)
        .case("a collector that is gone costs a counter, and spans arrive again when it is back", failing::gone)
        .case("a collector that swallows everything costs bounded memory and no request", failing::swallowing);
    suite.case("the shop: frontend, search, ranking and features in one trace", shop::connected).run()
}

/// A mesh and a collector.
pub struct Scene {
    pub world: World,
    pub collector: Collector,
}

impl Scene {
    fn new() -> anyhow::Result<Self> {
        let network = Network::new()?;
        let collector = Collector::start(&network)?;
        let client = |name: &str, sampler: &str| {
            let client = Workload::new(NAMESPACE, name, name).proxy_arg(format!("--trace-sampler={sampler}"));
            client.proxy_arg("--span-delay=100ms")
        };
        // As a user would set it, by the variables that OpenTelemetry names.
        let all = client("client", "parentbased_always_on")
            .proxy_env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.grpc())
            .proxy_env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=te%73t");
        let errors = client("errors", "parentbased_always_off").proxy_arg("--trace-errors");
        let errors = errors
            .proxy_env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.http())
            .proxy_env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        let few = client("few", "always_on")
            .proxy_arg(format!("--otlp-endpoint={}", collector.grpc()))
            .proxy_arg("--span-queue=64")
            .proxy_arg("--span-batch=32")
            .proxy_arg("--span-timeout=300ms");
        let plan = Plan::new()
            .documents(ports::service_document(NAMESPACE, "echo"))
            .documents(ports::service_document(NAMESPACE, "nobody"))
            .workload(server(0, &collector))
            .workload(server(1, &collector))
            .workload(server(2, &collector))
            .workload(all)
            .workload(errors)
            .workload(few);
        let world = plan.start_on(network).context("a mesh with tracing")?;
        world.wait_replicas("echo", &["echo-0", "echo-1", "echo-2"])?;
        Ok(Self { world, collector })
    }
}

/// A server whose sidecar records what it is asked to, and nothing of its own accord.
fn server(index: u32, collector: &Collector) -> Workload {
    workload("echo", index)
        .application(weft_tests::world::server(&format!("echo-{index}")))
        .proxy_arg(format!("--otlp-endpoint={}", collector.grpc()))
        .proxy_arg("--trace-sampler=parentbased_always_off")
        .proxy_arg("--span-delay=100ms")
}

impl Stage for Scene {
    fn testimony(&self) -> String {
        self.world.testimony()
    }
}
