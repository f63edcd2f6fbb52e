//! Routes, as the Gateway API's conformance tests for meshes try them, over both versions of HTTP.
//!
//! Cases bear the names of those tests where there is one. Each has a service of its own to dial, without endpoints: only the
//! route that is attached to it can lead to `echo-v1` or `echo-v2`.

mod ask;
mod documents;
mod matching;
mod filters;
mod backends;
mod mirror;
mod grpc;

use std::process::ExitCode;
use weft_examples::mesh::Workload;
use weft_tests::{Plan, Suite, World};

/// A namespace of clients that have routes of their own.
const CONSUMER: &str = "consumer";

fn world() -> anyhow::Result<World> {
    let plan = Plan::new().echo("echo-v1", 1).echo("echo-v2", 1).client("client").documents(documents::all());
    let mut world = plan.start()?;
    world.join(vec![Workload::new(CONSUMER, "guest", "guest")])?;
    Ok(world)
}

fn main() -> ExitCode {
    Suite::on("meshed", world)
        .case("HTTPRouteMatching: path prefixes and headers", matching::prefixes_and_headers)
        .case("exact paths, expressions and methods; 404 when nothing matches", matching::strict)
        .case("HTTPRouteQueryParamMatching", matching::query)
        .case("host names, exact and with wildcards", matching::hostnames)
        .case("Ports: a route binds the port its parent names", matching::ports)
        .case("NamedRule: metrics have the rule's name", matching::named_rule)
        .case("HTTPRouteRequestHeaderModifier", filters::request_headers)
        .case("BackendRequestHeaderModifier and ResponseHeaderModifier", filters::backend_headers)
        .case("HTTPRouteRedirectHostAndStatus, 303, 307 and 308", filters::redirect_host_and_status)
        .case("HTTPRouteRedirectPath", filters::redirect_path)
        .case("HTTPRouteRedirectPort and HTTPRouteSchemeRedirect", filters::redirect_port_and_scheme)
        .case("a redirect of a request with a body ends its connection in order", filters::redirect_with_body)
        .case("HTTPRouteRewritePath and RewriteHost", filters::rewrite)
        .case("HTTPRouteRequestMirror: a copy of each request, with its body", mirror::copies)
        .case("a mirror that is slow, silent or gone disturbs nobody", mirror::undisturbed)
        .case("HTTPRouteWeight and TrafficSplit", backends::weight)
        .case("Frontend: a route is for the service that was dialled alone", backends::frontend)
        .case("ConsumerRoute: binds the clients of its own namespace", backends::consumer)
        .case("a backend that does not exist costs its share a 500", backends::invalid)
        .case("a backend in another namespace needs a ReferenceGrant", backends::granted)
        .case("retry: attempts and codes of a rule", backends::retry)
        .case("timeouts of a rule", backends::timeouts)
        .case("GRPCRouteWeight", grpc::weight)
        .case("GRPCRoute: service and method, exact and by expression", grpc::methods)
        .case("GRPCRouteRequestHeaderModifier", grpc::request_headers)
        .case("a GRPCRoute goes through get and delete", grpc::administered)
        .run()
}
