//! The demo's shop: what one customer asks for is one trace through all services, none of which knows of Weft.
//!
//! On a network of its own, with one replica of each service.

use crate::Scene;
use anyhow::{Context, ensure};
use std::net::{IpAddr, SocketAddr};
use weft_examples::mesh::{Mesh, Options, START_LIMIT, Workload, binary};
use weft_examples::pods::{Network, Program};
use weft_tests::Outcome;
use weft_tests::collector::{CLIENT, Collector, SERVER, Span};
use weft_tests::programs::curl;

const SHOP: &str = "shop";
/// Service, what its port is called, in the order in which they call each other.
const SERVICES: [(&str, &str); 4] =
    [("frontend", "http"), ("search", "grpc"), ("ranking", "grpc"), ("features", "http2")];

pub async fn connected(_: &Scene) -> Outcome {
    let network = Network::new()?;
    let collector = Collector::start(&network)?;
    let mesh = Mesh::start_on(network, &Options::default())?;
    mesh.apply(include_str!("../../../examples/shop.yaml"))?;
    let workloads: Vec<Workload> = SERVICES.iter().map(|(name, port)| replica(name, port)).collect::<Result<_, _>>()?;
    let customer = Workload::new(SHOP, "customer", "customer").proxy_arg("--trace-sampler=parentbased_always_on");
    let traced = workloads.into_iter().chain([customer]).map(|workload| {
        workload.proxy_arg(format!("--otlp-endpoint={}", collector.grpc())).proxy_arg("--span-delay=100ms")
    });
    let members = mesh.join_all(traced.collect())?;
    mesh.wait_endpoints(SHOP, &["frontend-0", "search-0", "ranking-0", "features-0"], START_LIMIT)?;
    let customer = members.iter().find(|member| member.name() == "customer").context("no customer")?;
    let asked = Program::new("getent").args(["ahostsv4", "frontend.shop.svc.cluster.local"]);
    let address = customer.pod().run_ok(asked)?;
    let address: IpAddr = address.split_whitespace().next().context("frontend has no address")?.parse()?;
    let url = format!("http://{}/search?q=tea", SocketAddr::new(address, 80));
    let reply = curl(customer.pod(), &["-w", " %{http_code}", &url])?;
    ensure!(reply.ends_with(" 200"), "{reply:?}");
    let trace = wait_root(&collector).await?;
    // Four hops: the request, its one try, and the server's side of each.
    let spans = collector.wait(&trace, 12).await?;
    let mut parent = String::new();
    for (hop, (service, _)) in SERVICES.iter().enumerate() {
        let whole = next(&spans, &parent, CLIENT)?;
        ensure!(whole.get("weft.service") == format!("{service}.shop"), "hop {hop}: {spans:#?}");
        let tried = next(&spans, &whole.id, CLIENT)?;
        let served = next(&spans, &tried.id, SERVER)?;
        ensure!(served.service() == *service, "hop {hop}: {spans:#?}");
        parent = served.id.clone();
    }
    Ok(())
}

fn replica(service: &str, port: &str) -> anyhow::Result<Workload> {
    let name = format!("{service}-0");
    let program = Program::new(binary("weft-shop")?).label(service).args([service, "--name", &name]);
    let workload = Workload::new(SHOP, &name, service).registers(format!("{service}={port}:8080"));
    Ok(workload.health_check("tcp:8080").application(program))
}

/// The trace that the customer's request began.
async fn wait_root(collector: &Collector) -> anyhow::Result<String> {
    let deadline = std::time::Instant::now() + START_LIMIT;
    let root = || async {
        let root = |span: &Span| span.parent.is_empty() && span.get("weft.service") == "frontend.shop";
        collector.spans().into_iter().find(root).map(|span| span.trace)
    };
    Ok(weft_examples::pods::poll_until_async(deadline, "the customer's span", root).await?)
}

fn next<'a>(spans: &'a [Span], parent: &str, kind: u64) -> anyhow::Result<&'a Span> {
    let mut found = spans.iter().filter(|span| span.parent == parent && span.kind == kind);
    let one = found.next().with_context(|| format!("nobody of kind {kind} below {parent:?} in {spans:#?}"))?;
    ensure!(found.next().is_none(), "more than one below {parent:?} in {spans:#?}");
    Ok(one)
}
