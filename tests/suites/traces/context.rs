//! How a trace comes in and goes on: forms of headers, decisions of callers, and what is recorded in spite of them.
//!
//! Seen at both ends: by the application, which echoes its headers, and at the collector.

use crate::Scene;
use crate::spans::{one, seen};
use anyhow::{Context, ensure};
use weft_tests::Outcome;
use weft_tests::client::Http1;
use weft_tests::collector::{ERROR, SERVER};

/// What the application saw of a GET with these header lines, sent from the pod `from`.
async fn told(scene: &Scene, from: &str, headers: &str) -> anyhow::Result<serde_json::Value> {
    let mut client = Http1::dial(scene.world.pod(from), scene.world.echo(80))?;
    client.request(format!("GET /echo HTTP/1.1\r\nhost: echo\r\n{headers}\r\n")).await?.json()
}

pub async fn b3_single(scene: &Scene) -> Outcome {
    let trace = "33333333333333333333333333333333";
    let answer = told(scene, "client", &format!("B3: {trace}-b7ad6b7169203331-1-05e3ac9a4f6e3b90\r\n")).await?;
    let b3 = seen(&answer, "b3").context("no b3 arrived")?;
    ensure!(seen(&answer, "traceparent").is_none(), "{answer}");
    let spans = scene.collector.wait(trace, 3).await?;
    let served = one(&spans, "the server's", |span| span.kind == SERVER)?;
    ensure!(b3 == format!("{trace}-{}-1-{}", served.id, served.parent), "{b3} and {served:#?}");
    one(&spans, "the caller's child", |span| span.parent == "b7ad6b7169203331").map(drop)
}

pub async fn b3_multi(scene: &Scene) -> Outcome {
    let headers = "X-B3-TraceId: a3ce929d0e0e4736\r\nX-B3-SpanId: b7ad6b7169203331\r\nX-B3-Sampled: 1\r\n";
    let answer = told(scene, "client", headers).await?;
    let spans = scene.collector.wait("0000000000000000a3ce929d0e0e4736", 3).await?;
    let served = one(&spans, "the server's", |span| span.kind == SERVER)?;
    let saw = |name| seen(&answer, name).unwrap_or_default();
    ensure!(saw("x-b3-spanid") == served.id && saw("x-b3-parentspanid") == served.parent, "{answer} and {spans:#?}");
    ensure!(saw("x-b3-traceid").ends_with("a3ce929d0e0e4736") && saw("x-b3-sampled") == "1", "{answer}");
    ensure!(seen(&answer, "traceparent").is_none() && seen(&answer, "b3").is_none(), "{answer}");
    Ok(())
}

pub async fn unsampled(scene: &Scene) -> Outcome {
    let (trace, marker) = ("44444444444444444444444444444444", "55555555555555555555555555555555");
    let parent = format!("00-{trace}-b7ad6b7169203331-00");
    let answer = told(scene, "client", &format!("traceparent: {parent}\r\ntracestate: a=1,b=2\r\n")).await?;
    ensure!(seen(&answer, "traceparent").as_deref() == Some(&*parent), "{answer}");
    ensure!(seen(&answer, "tracestate").as_deref() == Some("a=1,b=2"), "{answer}");
    let answer = told(scene, "client", &format!("b3: {trace}-b7ad6b7169203331-0\r\n")).await?;
    ensure!(seen(&answer, "b3").as_deref() == Some(&*format!("{trace}-b7ad6b7169203331-0")), "{answer}");
    // What came later has arrived, so what came before would have.
    told(scene, "client", &format!("traceparent: 00-{marker}-b7ad6b7169203331-01\r\n")).await?;
    scene.collector.wait(marker, 3).await?;
    ensure!(scene.collector.trace(trace).is_empty(), "{:#?}", scene.collector.trace(trace));
    Ok(())
}

pub async fn malformed(scene: &Scene) -> Outcome {
    let zeros = "00-00000000000000000000000000000000-b7ad6b7169203331-01".to_owned();
    let twice = "00-66666666666666666666666666666666-b7ad6b7169203331-01\r\ntraceparent: 00-77777777777777777777777777777777-b7ad6b7169203331-01".to_owned();
    let ff = "ff-66666666666666666666666666666666-b7ad6b7169203331-01".to_owned();
    for bad in [zeros, twice, ff, "x".repeat(20_000), "00-\u{e9}".to_owned()] {
        let answer = told(scene, "client", &format!("traceparent: {bad}\r\ntracestate: a=1\r\n")).await?;
        let fresh = seen(&answer, "traceparent").with_context(|| format!("{bad:.80}: {answer}"))?;
        let trace = fresh.split('-').nth(1).unwrap_or_default();
        ensure!(fresh.len() == 55 && !bad.contains(trace), "{bad:.80} became {fresh}");
        ensure!(seen(&answer, "tracestate").is_none(), "{bad:.80}: {answer}");
        scene.collector.wait(trace, 3).await?;
    }
    Ok(())
}

pub async fn errors(scene: &Scene) -> Outcome {
    // The sampler records nothing here, and the servers' sidecars follow it.
    let answer = told(scene, "errors", "").await?;
    let fine = seen(&answer, "traceparent").context("no decision was passed on")?;
    ensure!(fine.ends_with("-00"), "{fine}");
    let fine = fine.split('-').nth(1).unwrap_or_default().to_owned();
    let trace = "88888888888888888888888888888888";
    let mut client = Http1::dial(scene.world.pod("errors"), scene.world.echo(80))?;
    let head = format!("host: echo\r\ntraceparent: 00-{trace}-b7ad6b7169203331-00\r\n");
    let answer = client.request(format!("POST /status/500 HTTP/1.1\r\n{head}content-length: 0\r\n\r\n")).await?;
    ensure!(answer.status() == 500, "{answer:?}");
    let spans = scene.collector.wait(trace, 2).await?;
    let whole = one(&spans, "the caller's child", |span| span.parent == "b7ad6b7169203331")?;
    ensure!(whole.status == ERROR && whole.get("http.response.status_code") == "500", "{whole:#?}");
    ensure!(whole.service() == "errors", "{whole:#?}");
    ensure!(scene.collector.trace(&fine).is_empty(), "a request that went well was told of");
    Ok(())
}
