//! What proxies and discovery say of themselves: metrics as docs/metrics.md has them, and the access log.
//!
//! No collector is needed here; the client's spans go nowhere, and its metrics carry their traces all the same.

mod access;
mod page;
mod series;

use std::process::ExitCode;
use weft_examples::mesh::Workload;
use weft_tests::world::{NAMESPACE, server, workload};
use weft_tests::{Plan, Suite, World, ports};

fn main() -> ExitCode {
    Suite::on("meshed", world)
        .case("every metric is in docs/metrics.md, with its type and labels, and nothing else is", page::agrees)
        .case("OpenMetrics is for those who ask, and has exemplars that name traces", page::exemplars)
        .case("100,000 host names make no series", series::host_names)
        .case("the access log has a line for what its filter lets through", access::filtered)
        .case("a text line is a line", access::text)
        .run()
}

fn world() -> anyhow::Result<World> {
    let server = workload("echo", 0).application(server("echo-0")).proxy_arg("--access-log=json");
    let client = Workload::new(NAMESPACE, "client", "client")
        .proxy_arg("--access-log=text")
        .proxy_arg("--otlp-endpoint=http://127.0.0.1:9")
        .proxy_arg("--trace-sampler=parentbased_always_off");
    Plan::new()
        .documents(ports::service_document(NAMESPACE, "echo"))
        .workload(server.proxy_arg("--access-log-filter=status >= 500 or path == \"/sum\""))
        .workload(client)
        .start()
}
