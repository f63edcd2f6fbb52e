//! What is safe to repeat is repeated, inside a budget; what is not is not. Nobody notices a replica that dies.
//!
//! Three replicas under a steady load, and counters in the server that tell how often a request really arrived.

use anyhow::ensure;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval};
use weft_examples::pods::{Pod, poll_until_async};
use weft_tests::client::{Http1, Http2};
use weft_tests::world::SOON;
use weft_tests::{Outcome, Plan, Suite, World, pages};

const TIGHT: &str = "apiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: { name: tight, namespace: test }\n\
                     spec:\n  targetRefs: [{ kind: Service, name: tight }]\n\
                     \x20 retry: { attempts: 3, budget: { percent: 10, minPerSecond: 1 } }\n\
                     \x20 timeouts: { request: 300ms }\n";

/// Both of its replicas are later than a hedge waits.
const FRUGAL: &str = "apiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: { name: frugal, namespace: test }\n\
                      spec:\n  targetRefs: [{ kind: Service, name: frugal }]\n\
                      \x20 retry: { attempts: 2, budget: { percent: 10, minPerSecond: 0 }, hedge: { after: 20ms } }\n";
/// How late the one replica of `hedged` is that is slow.
const SLOW: Duration = Duration::from_secs(6);

fn world() -> anyhow::Result<World> {
    let plan = Plan::new().echo("echo", 3).echo("tight", 1).echo("patient", 1).documents(TIGHT).client("client");
    let late = |plan: Plan, service: &str, index: u32, delay: Duration| {
        let delay = format!("{}ms", delay.as_millis());
        plan.replica(service, index, |workload, server| (workload, server.args(["--delay", &delay])))
    };
    let plan = late(plan.echo("hedged", 2), "hedged", 2, SLOW);
    let plan = (0..2).fold(plan.echo("frugal", 0), |plan, n| late(plan, "frugal", n, Duration::from_millis(150)));
    let plan = plan.documents(FRUGAL).documents(pages::example("retries", 1)?);
    plan.documents(pages::example("retries", 0)?).start()
}

fn main() -> ExitCode {
    Suite::on("meshed", world)
        .case("a retry goes to another replica", elsewhere)
        .case("retry-after is waited for, within its bound", retry_after)
        .case("a body longer than the replay buffer is sent once, a shorter one again and whole", bodies)
        .case("a GET that met a 503 is tried again", get_is_retried)
        .case("a POST that met a 503 is not", post_is_not_retried)
        .case("a POST whose connection broke before an answer is not sent twice", post_hang_up)
        .case("an application cannot pass for a sidecar that reached nobody", claim)
        .case("a GET whose connection broke before an answer is", get_hang_up)
        .case("retries stay inside their budget", budget)
        .case("a request that takes too long is ended with 504", request_timeout)
        .case("a slow replica is hedged: nobody waits for it, and bodies arrive whole", hedged)
        .case("over HTTP/2 the slower stream is cancelled", hedged_http2)
        .case("a POST is at one replica only, however late", post_is_not_hedged)
        .case("hedges stay inside the budget of retries", hedges_in_budget)
        .case("explain tells when another replica would be asked", hedging_explained)
        .case("the application killed at 500 requests a second: none fails", application_killed)
        .case("the whole pod killed at 500 requests a second: none fails", pod_killed)
        .run()
}

/// How often the replicas together saw requests counted under `key`.
async fn arrivals(world: &World, service: &str, key: &str) -> anyhow::Result<u64> {
    let replicas: Vec<_> = world.members().filter(|member| member.account() == service).collect();
    let mut sum = 0;
    for replica in replicas {
        let at = (replica.pod().ip(), weft_tests::ports::HTTP).into();
        let response = Http1::dial(world.client(), at)?.get(&format!("/counted/{key}")).await?;
        sum += response.text().parse::<u64>()?;
    }
    Ok(sum)
}

async fn get_is_retried(world: &World) -> Outcome {
    world.wait_replicas("echo", &["echo-0", "echo-1", "echo-2"])?;
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    for n in 0..5 {
        let response = client.get(&format!("/fail-always/get-{n}")).await?;
        ensure!(response.status() == 503, "{response:?}");
        let tries = arrivals(world, "echo", &format!("get-{n}")).await?;
        ensure!(tries == 3, "{tries} tries instead of the first and two more");
    }
    Ok(())
}

async fn post_is_not_retried(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let response =
        client.request("POST /fail-always/post HTTP/1.1\r\nhost: echo\r\ncontent-length: 2\r\n\r\nhi").await?;
    ensure!(response.status() == 503 && response.head.header("weft-reason").is_none(), "{response:?}");
    let tries = arrivals(world, "echo", "post").await?;
    ensure!(tries == 1, "it arrived {tries} times");
    Ok(())
}

async fn post_hang_up(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let response = client.request("POST /hang-up/post-h HTTP/1.1\r\nhost: echo\r\ncontent-length: 2\r\n\r\nhi").await?;
    ensure!(response.status() == 502 && response.head.header("weft-reason").is_some(), "{response:?}");
    let tries = arrivals(world, "echo", "post-h").await?;
    ensure!(tries == 1, "it arrived {tries} times");
    Ok(())
}

async fn claim(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let response = client.request("POST /claim/c HTTP/1.1\r\nhost: echo\r\ncontent-length: 2\r\n\r\nhi").await?;
    ensure!(response.status() == 503 && response.head.header("weft-reason").is_none(), "{response:?}");
    let tries = arrivals(world, "echo", "c").await?;
    ensure!(tries == 1, "it arrived {tries} times");
    Ok(())
}

async fn get_hang_up(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let response = client.get("/hang-up/get-h").await?;
    ensure!(response.status() == 502, "{response:?}");
    let tries = arrivals(world, "echo", "get-h").await?;
    ensure!(tries == 3, "it arrived {tries} times");
    Ok(())
}

async fn elsewhere(world: &World) -> Outcome {
    world.wait_replicas("echo", &["echo-0", "echo-1", "echo-2"])?;
    Http1::dial(world.client(), world.echo(80))?.get("/fail-always/elsewhere").await?;
    for replica in world.members().filter(|member| member.account() == "echo") {
        let mut client = Http1::dial(replica.pod(), ([127, 0, 0, 1], weft_tests::ports::HTTP).into())?;
        let got = client.get("/counted/elsewhere").await?.text();
        ensure!(got == "1", "{} got {got} of three tries", replica.name());
    }
    Ok(())
}

async fn retry_after(world: &World) -> Outcome {
    world.wait_replicas("patient", &["patient-0"])?;
    let mut client = Http1::dial(world.client(), world.at("patient", 80))?;
    for (asked, key, least, most) in [("1", "short", 1000, 11_000), ("3600", "long", 2000, 12_000)] {
        let begun = Instant::now();
        let response = client.get(&format!("/retry-after/{asked}/{key}")).await?;
        let took = begun.elapsed().as_millis();
        ensure!(response.status() == 200, "{response:?}");
        ensure!((least..most).contains(&took), "retry-after {asked}: {took} ms");
    }
    Ok(())
}

async fn bodies(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    for (key, size, tries) in [("body-short", 60_000, 3), ("body-long", 70_000, 1)] {
        let body = vec![b'x'; size];
        let head = format!("PUT /fail-always/{key} HTTP/1.1\r\nhost: echo\r\ncontent-length: {size}\r\n\r\n");
        let response = client.request([head.as_bytes(), &body].concat()).await?;
        ensure!(response.status() == 503, "{response:?}");
        let arrived = arrivals(world, "echo", key).await?;
        ensure!(arrived == tries, "{size} bytes arrived {arrived} times instead of {tries}");
        // What arrived was whole: the server reads all of a body before it counts, and the connection goes on.
        let name = client.get("/name").await?;
        ensure!(name.status() == 200, "{name:?}");
    }
    Ok(())
}

async fn budget(world: &World) -> Outcome {
    world.wait_replicas("tight", &["tight-0"])?;
    let mut client = Http1::dial(world.client(), world.at("tight", 80))?;
    let mut refused = 0;
    for _ in 0..200 {
        let response = client.get("/fail-always/budget").await?;
        // On a busy machine one or the other takes longer than the policy's 300 ms.
        ensure!(matches!(response.status(), 503 | 504), "{response:?}");
        refused += u64::from(response.head.header("weft-reason") == Some("retry-budget-exhausted"));
    }
    ensure!(refused > 100, "only {refused} answers say that the budget was used up");
    let counted = world.metrics("client").sum("weft_retries_refused_total", &[("service", "tight.test")]);
    ensure!(counted >= refused as f64, "{counted} counted, {refused} seen");
    let tries = arrivals(world, "tight", "budget").await?;
    // 200, a tenth of that, and one a second on top, for however long a busy machine took.
    ensure!((200..240).contains(&tries), "{tries} tries for 200 requests");
    Ok(())
}

async fn request_timeout(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.at("tight", 80))?;
    let response = client.get("/delay/5s").await?;
    ensure!(response.status() == 504, "{response:?}");
    ensure!(response.head.header("weft-reason") == Some("request-timeout"), "{response:?}");
    Ok(())
}

fn hedges(world: &World, service: &str) -> (f64, f64) {
    let (metrics, labels) = (world.metrics("client"), [("service", service)]);
    (metrics.sum("weft_hedges_total", &labels), metrics.sum("weft_hedges_won_total", &labels))
}

async fn hedged(world: &World) -> Outcome {
    world.wait_served("hedged")?;
    let mut client = Http1::dial(world.client(), world.at("hedged", 80))?;
    let (before, left) = (hedges(world, "hedged.test"), cancellations(world));
    let body = vec![b'x'; 10_000];
    let sum = 10_000 * u64::from(b'x');
    for n in 0..12 {
        let begun = Instant::now();
        let response = client.get("/count/hedged").await?;
        ensure!(
            response.status() == 200 && begun.elapsed() < SLOW,
            "GET {n} after {:?}: {response:?}",
            begun.elapsed()
        );
        let begun = Instant::now();
        let put = [b"PUT /sum HTTP/1.1\r\nhost: echo\r\ncontent-length: 10000\r\n\r\n", &body[..]].concat();
        let response = client.request(put).await?;
        ensure!(response.text() == format!("10000 {sum}"), "PUT {n}: {response:?}");
        ensure!(begun.elapsed() < SLOW, "PUT {n} after {:?}", begun.elapsed());
    }
    let (sent, won) = hedges(world, "hedged.test");
    let (sent, won) = (sent - before.0, won - before.1);
    ensure!(won >= 4.0 && sent >= won, "{sent} hedges, of which {won} won, for every third of 24 requests");
    cancelled(world, left).await?;
    // Asked in turn, the slow replica answers when it is through with what was cancelled.
    let arrived = arrivals(world, "hedged", "hedged").await? as f64;
    ensure!((12.0..=12.0 + sent).contains(&arrived), "12 requests and {sent} hedges arrived {arrived} times");
    let cut = world.metrics("client").sum("weft_requests_total", &[("service", "hedged.test"), ("status", "200")]);
    ensure!(cut >= 24.0, "{cut} of 24 requests are counted with their answers");
    ensure!(world.metrics("client").sum("weft_ejections_total", &[("service", "hedged.test")]) == 0.0);
    Ok(())
}

async fn hedged_http2(world: &World) -> Outcome {
    world.wait_served("hedged")?;
    let client = Http2::dial(world.client(), world.at("hedged", 80)).await?;
    let (before, left) = (hedges(world, "hedged.test").1, cancellations(world));
    for n in 0..9 {
        let begun = Instant::now();
        let response = client.call(http::Method::PUT, "/sum", vec![1; 5000].into(), None).await?;
        ensure!(response.text() == "5000 5000", "{n}: {response:?}");
        ensure!(begun.elapsed() < SLOW, "{n} after {:?}", begun.elapsed());
    }
    let won = hedges(world, "hedged.test").1 - before;
    ensure!(won >= 2.0, "{won} hedges won");
    cancelled(world, left).await
}

/// The slow replica's sidecar has heard of two more that were cancelled than `before`, long before its application answers.
async fn cancelled(world: &World, before: f64) -> Outcome {
    let heard = || async { (cancellations(world) >= before + 2.0).then_some(()) };
    Ok(poll_until_async(Instant::now() + SOON, "requests to be cancelled", heard).await?)
}

fn cancellations(world: &World) -> f64 {
    let left = [("direction", "inbound"), ("reason", "client-gone")];
    world.metrics("hedged-2").sum("weft_requests_total", &left)
}

async fn post_is_not_hedged(world: &World) -> Outcome {
    let before = hedges(world, "hedged.test").0;
    let posts = (0..3).map(|_| async {
        let mut client = Http1::dial(world.client(), world.at("hedged", 80))?;
        anyhow::Ok(client.request("POST /count/post HTTP/1.1\r\nhost: echo\r\ncontent-length: 2\r\n\r\nhi").await?)
    });
    for response in futures::future::try_join_all(posts).await? {
        ensure!(response.status() == 200, "{response:?}");
    }
    ensure!(hedges(world, "hedged.test").0 == before, "a POST was hedged");
    let arrived = arrivals(world, "hedged", "post").await?;
    ensure!(arrived == 3, "3 requests arrived {arrived} times");
    Ok(())
}

async fn hedges_in_budget(world: &World) -> Outcome {
    world.wait_replicas("frugal", &["frugal-0", "frugal-1"])?;
    let refused = || {
        world.metrics("client").sum("weft_retries_refused_total", &[("service", "frugal.test"), ("reason", "hedge")])
    };
    let (sent, denied) = (hedges(world, "frugal.test").0, refused());
    let ask = (0..10).map(|_| async {
        let mut client = Http1::dial(world.client(), world.at("frugal", 80))?;
        for _ in 0..10 {
            let response = client.get("/count/frugal").await?;
            ensure!(response.status() == 200, "{response:?}");
        }
        anyhow::Ok(())
    });
    futures::future::try_join_all(ask).await?;
    let (sent, denied) = (hedges(world, "frugal.test").0 - sent, refused() - denied);
    // A tenth of 100, and what the requests before had saved up.
    ensure!((1.0..=20.0).contains(&sent), "{sent} hedges for 100 requests");
    ensure!(sent + denied >= 90.0, "{sent} hedges and {denied} that the budget refused, though all were late");
    Ok(())
}

async fn hedging_explained(world: &World) -> Outcome {
    let explain = |method: &str| {
        world.mesh().weftctl(&["explain", "--from", "client", "--method", method, "--to", "http://hedged.test/"])
    };
    let said = explain("GET")?;
    ensure!(said.contains("hedging") && said.contains("another endpoint is asked as well"), "{said}");
    let said = explain("POST")?;
    ensure!(said.contains("only one endpoint may have this request"), "{said}");
    Ok(())
}

/// A steady load from inside `pod`: how many were answered with 200, and what became of the others.
struct Load {
    tasks: tokio::task::JoinSet<Vec<String>>,
    served: Arc<AtomicU64>,
}

impl Load {
    /// 500 requests a second over 20 connections, for `duration`.
    fn start(pod: &Pod, to: std::net::SocketAddr, duration: Duration) -> anyhow::Result<Self> {
        let served = Arc::new(AtomicU64::new(0));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let mut client = Http1::dial(pod, to)?;
            let (served, pod) = (served.clone(), pod.clone());
            tasks.spawn(async move {
                let mut failures = vec![];
                let mut tick = interval(Duration::from_millis(40));
                tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
                let end = tokio::time::Instant::now() + duration;
                while tokio::time::Instant::now() < end {
                    tick.tick().await;
                    match client.get("/name").await {
                        Ok(response) if response.status() == 200 => {
                            served.fetch_add(1, Ordering::Relaxed);
                        }
                        other => {
                            failures.push(format!("{other:?}"));
                            match Http1::dial(&pod, to) {
                                Ok(fresh) => client = fresh,
                                Err(error) => return vec![error.to_string()],
                            }
                        }
                    }
                }
                failures
            });
        }
        Ok(Self { tasks, served })
    }

    /// Waits until `count` more have been served.
    async fn served(&self, count: u64) -> Outcome {
        let wanted = self.served.load(Ordering::Relaxed) + count;
        let deadline = Instant::now() + SOON;
        let look = || async { (self.served.load(Ordering::Relaxed) >= wanted).then_some(()) };
        Ok(poll_until_async(deadline, "the load to be served", look).await?)
    }

    async fn end(self) -> (u64, Vec<String>) {
        let failures = self.tasks.join_all().await.into_iter().flatten().collect();
        (self.served.load(Ordering::Relaxed), failures)
    }
}

async fn application_killed(world: &World) -> Outcome {
    let load = Load::start(world.client(), world.echo(80), Duration::from_secs(4))?;
    load.served(300).await?;
    world.member("echo-0").kill_application();
    load.served(500).await?;
    world.member("echo-0").start_application()?;
    let (served, failures) = load.end().await;
    ensure!(failures.is_empty(), "{} failed of {}: {:?}", failures.len(), served, &failures[..failures.len().min(3)]);
    ensure!(served > 1000, "only {served} served");
    Ok(())
}

async fn pod_killed(world: &World) -> Outcome {
    world.wait_replicas("echo", &["echo-0", "echo-1", "echo-2"])?;
    let load = Load::start(world.client(), world.echo(80), Duration::from_secs(4))?;
    load.served(300).await?;
    world.member("echo-1").kill();
    let (served, failures) = load.end().await;
    ensure!(failures.is_empty(), "{} failed of {}: {:?}", failures.len(), served, &failures[..failures.len().min(3)]);
    ensure!(served > 1000, "only {served} served");
    Ok(())
}
