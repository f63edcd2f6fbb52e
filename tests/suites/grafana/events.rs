//! Everything that the dashboards have a panel for, made to happen: failures and what is done about them, refusals, opaque
//! bytes, broken connections.
//!
//! Each of them leaves a series for good; what happens once is therefore enough for a query over time.

use anyhow::{Context, ensure};
use futures::future::join_all;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use weft_examples::mesh::Metrics;
use weft_examples::pods::{Program, poll_until_async};
use weft_tests::client::{Http1, exchange};
use weft_tests::programs::dig;
use weft_tests::{Outcome, World, ports};

/// How long it may take until each has happened.
const LIMIT: Duration = Duration::from_secs(50);

/// What becomes of requests to `echo`: one replica is slow, the budget is small, and marked requests fail on purpose.
pub const POLICIES: &str = "apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: echo, namespace: test }
spec:
  targetRefs: [{ kind: Service, name: echo }]
  loadBalancer: { algorithm: round-robin }
  retry: { attempts: 2, budget: { percent: 0, minPerSecond: 2 }, hedge: { after: 50ms } }
  outlierDetection: { consecutiveGatewayErrors: 5, baseEjectionTime: 1s }
  healthCheck: { http: { path: /healthz }, interval: 500ms, timeout: 5s, unhealthyThreshold: 1, healthyThreshold: 1 }
  faults: { abort: { percent: 100, status: 418 }, matches: [{ headers: [{ name: x-test-fault, value: \"yes\" }] }] }
---
apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: no-admin, namespace: test }
spec:
  action: DENY
  rules: [{ to: [{ ports: [8080], paths: [\"/admin/*\"] }] }]
";

/// In the range of virtual addresses, and no service's.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 19, 255, 254)), 80);

/// What the client's sidecar has to have counted at least once.
const COUNTED: [&str; 12] = [
    "weft_requests_total",
    "weft_retries_total",
    "weft_retries_refused_total",
    "weft_hedges_total",
    "weft_hedges_won_total",
    "weft_health_checks_total",
    "weft_faults_injected_total",
    "weft_connections_refused_total",
    "weft_malformed_total",
    "weft_tcp_sent_bytes_total",
    "weft_upstream_connections_total",
    "weft_dns_queries_total",
];

/// Goes on until all of it has been counted.
pub async fn happen(world: &World) -> Outcome {
    world.member("leaver").terminate_proxy();
    let deadline = Instant::now() + LIMIT;
    let mut missing = vec!["nothing was tried"];
    while !missing.is_empty() {
        ensure!(Instant::now() < deadline, "never happened: {missing:?}");
        once(world).await?;
        let (client, server) = (world.metrics("client"), world.metrics("echo-0"));
        missing = COUNTED.into_iter().filter(|name| client.sum(name, &[]) == 0.0).collect();
        missing.extend(seen_by_server(&server));
        let reasons = client.sum_by("weft_requests_total", "reason", &[]);
        missing.extend((reasons.len() < 2).then_some("a refusal"));
    }
    Ok(())
}

fn seen_by_server(server: &Metrics) -> Vec<&'static str> {
    let names = ["weft_authorization_total", "weft_tls_handshakes_failed_total"];
    names.into_iter().filter(|name| server.sum(name, &[]) == 0.0).collect()
}

async fn once(world: &World) -> Outcome {
    requests(world).await?;
    // A connection that is answered by a reset is an error of its own kind, and what is wanted.
    let _ = exchange(world.client(), NOBODY, b"anybody?").await;
    let _ = exchange(world.client(), world.echo(80), b"GET / HTTP/1.1\r\nno field\r\n\r\n").await;
    exchange(world.client(), world.echo(ports::COUNT), b"opaque").await?;
    dig(world.client(), &["echo.test.svc.cluster.local", "A"])?;
    // Somebody who passes for a sidecar and has no certificate.
    let at = format!("{}:{}", world.pod("echo-0").ip(), ports::HTTP);
    world
        .mesh()
        .node()
        .run(Program::new("openssl").args(["s_client", "-connect", &at, "-alpn", "weft-h2"]).input(""))?;
    left_out(world).await
}

/// Requests of every kind. None of their answers is looked at: what they leave behind is.
pub async fn requests(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    for path in ["/name", "/status/500", "/admin/x"].into_iter().cycle().take(18) {
        client.get(path).await.with_context(|| path.to_owned())?;
    }
    // More at once than the budget has retries for, however slow the machine is.
    let failing = async || anyhow::Ok(Http1::dial(world.client(), world.echo(80))?.get("/fail-always/budget").await?);
    join_all((0..24).map(|_| failing())).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    client.request("GET /name HTTP/1.1\r\nhost: echo\r\nx-test-fault: yes\r\n\r\n").await?;
    Ok(())
}

/// A replica is found unhealthy and is well again; all fail in a row, and one is ejected for it.
pub async fn left_out(world: &World) -> Outcome {
    let at = ([127, 0, 0, 1], ports::HTTP).into();
    let becomes = async |status: u16| {
        let path = format!("/healthz-becomes/{status}");
        anyhow::Ok(Http1::dial(world.pod("echo-1"), at)?.get(&path).await?)
    };
    becomes(503).await?;
    let found = || async {
        let mut client = Http1::dial(world.client(), world.echo(80)).ok()?;
        for _ in 0..15 {
            client.get("/fail-always/out").await.ok()?;
        }
        let metrics = world.metrics("client");
        let out = ["weft_unhealthy_endpoints", "weft_endpoints_ejected"];
        out.iter().all(|name| metrics.select(name, &[]).count() > 0).then_some(())
    };
    let found = poll_until_async(Instant::now() + LIMIT, "endpoints to be left out", found).await;
    becomes(200).await?;
    Ok(found?)
}
