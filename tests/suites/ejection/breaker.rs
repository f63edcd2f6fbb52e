//! What is beyond a circuit breaker's bounds is refused at once; what is within them is served, and for no longer than it takes.
//!
//! Servers that wait until they are told to go on hold requests under way, so that nothing rests on how long anything takes.

use super::{all_become, all_well, lent, requests};
use anyhow::{Context, ensure};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::time::Instant;
use weft_examples::pods::poll_until_async;
use weft_tests::client::{Http1, Response1};
use weft_tests::world::SOON;
use weft_tests::{Outcome, World};

/// Answers to `/name` from `at`, all asked for at once.
fn at_once(
    world: &World,
    service: &str,
    many: usize,
) -> FuturesUnordered<impl Future<Output = anyhow::Result<Response1>>> {
    let at = world.at(service, 80);
    (0..many).map(|_| async move { Ok(Http1::dial(world.client(), at)?.get("/name").await?) }).collect()
}

/// Of `many` requests at once `most` may be under way: they are served once all others have been refused, with 503 and one of `reasons`.
async fn storm(world: &World, service: &str, many: usize, most: usize, reasons: &[&str]) -> Outcome {
    let servers: &[&str] = if service == "bounded" { &["bounded-0"] } else { &["echo-0", "echo-1", "echo-2"] };
    all_become(world, servers, "waits").await?;
    let mut asking = at_once(world, service, many);
    let (mut served, mut refused) = (0, 0);
    while let Some(answer) = asking.next().await.transpose()? {
        match answer.status() {
            200 => served += 1,
            503 => {
                let reason = answer.head.header("weft-reason");
                ensure!(reason.is_some_and(|reason| reasons.contains(&reason)), "{answer:?}");
                refused += 1;
            }
            _ => anyhow::bail!("{answer:?}"),
        }
        ensure!(served == 0 || refused >= many - most, "somebody was served while {refused} were refused");
        if refused == many - most {
            all_become(world, servers, "well").await?;
        }
    }
    ensure!((1..=most).contains(&served), "{served} of {many} were served");
    let (service, metrics) = (format!("{service}.test"), world.metrics("client"));
    let counted = |reason: &&str| metrics.sum("weft_requests_total", &[("service", &service), ("reason", reason)]);
    let counted: f64 = reasons.iter().map(counted).sum();
    ensure!(counted >= refused as f64, "{counted} counted, {refused} refused");
    Ok(())
}

pub async fn circuit(world: &World) -> Outcome {
    all_well(world).await?;
    world.wait_replicas("bounded", &["bounded-0"])?;
    storm(world, "bounded", 10, 3, &["max-requests", "max-pending-requests"]).await?;
    requests_each(world, "bounded", 10).await
}

/// Requests one after the other, each over a connection of its own, none of which may fail.
async fn requests_each(world: &World, service: &str, count: usize) -> Outcome {
    for _ in 0..count {
        requests(world, service, 1).await?;
    }
    Ok(())
}

pub async fn connections(world: &World) -> Outcome {
    all_well(world).await?;
    world.wait_served("few")?;
    // One after the other: three endpoints, of which two may be connected at a time.
    requests_each(world, "few", 12).await?;
    storm(world, "few", 6, 2, &["max-connections"]).await?;
    requests_each(world, "few", 12).await
}

pub async fn pending(world: &World) -> Outcome {
    all_well(world).await?;
    for n in 0..3 {
        world.mesh().weftctl(&["delete", "endpoint", &format!("unwaiting-{n}"), "-n", "test"])?;
    }
    // An address of the pods' network that nobody has.
    let [a, b, c, _] = world.client().ip().octets();
    world.mesh().apply(
        &lent(world, "unwaiting", 0).replace(&world.pod("echo-0").ip().to_string(), &format!("{a}.{b}.{c}.250")),
    )?;
    let at = world.at("unwaiting", 80);
    let refused = |world: &World| {
        let labels = [("service", "unwaiting.test"), ("reason", "max-pending-requests")];
        world.metrics("client").sum("weft_requests_total", &labels)
    };
    // Until the client's proxy has heard of it, others answer.
    let all = || async {
        let asking = (0..4).map(|_| async { Http1::dial(world.client(), at)?.get("/name").await });
        let answers = futures::future::join_all(asking).await;
        let reason = |answer: &std::io::Result<Response1>| {
            answer.as_ref().ok().and_then(|answer| answer.head.header("weft-reason").map(str::to_owned))
        };
        let waiting = answers.iter().filter(|a| reason(a).as_deref() == Some("max-pending-requests")).count();
        (waiting >= 2 && refused(world) >= 2.0).then_some(())
    };
    Ok(poll_until_async(Instant::now() + SOON + SOON, "requests that may not wait", all).await?)
}

pub async fn retries(world: &World) -> Outcome {
    all_well(world).await?;
    world.wait_served("once")?;
    let at = world.at("once", 80);
    // All are refused by the application; while one waits to be tried again, the others may not.
    let ask = || async { anyhow::Ok(Http1::dial(world.client(), at)?.get("/fail-always/once").await?) };
    let mut asking: FuturesUnordered<_> = (0..4).map(|_| ask()).collect();
    let refused = loop {
        let answer = asking.next().await.context("none is refused")??;
        if answer.head.header("weft-reason") == Some("max-retries") {
            break answer;
        }
    };
    ensure!(refused.status() == 503, "{refused:?}");
    let labels = [("service", "once.test"), ("reason", "max-retries")];
    let counted = world.metrics("client").sum("weft_retries_refused_total", &labels);
    ensure!(counted >= 1.0, "{counted} counted");
    Ok(())
}
