//! Which spans a request becomes, how they hang together, and what they say.
//!
//! Read back from the collector's file; a trace has exactly the spans that are expected, never more.

use crate::Scene;
use anyhow::{Context, ensure};
use weft_tests::Outcome;
use weft_tests::client::{self, Http1};
use weft_tests::collector::{CLIENT, ERROR, SERVER, Span};
use weft_tests::grpc::Message;
use weft_tests::ports;

/// The headers that the application saw, from what `/echo` answers.
pub fn seen(answer: &serde_json::Value, name: &str) -> Option<String> {
    let headers = answer["headers"].as_array()?;
    let pair = headers.iter().find(|pair| pair[0].as_str().is_some_and(|header| header.eq_ignore_ascii_case(name)))?;
    pair[1].as_str().map(str::to_owned)
}

/// The one span that `is` what is looked for.
pub fn one<'a>(spans: &'a [Span], what: &str, is: impl Fn(&Span) -> bool) -> anyhow::Result<&'a Span> {
    let found: Vec<&Span> = spans.iter().filter(|span| is(span)).collect();
    ensure!(found.len() == 1, "{} spans are {what} in {spans:#?}", found.len());
    Ok(found[0])
}

fn says(span: &Span, wanted: &[(&str, &str)]) -> Outcome {
    for (name, value) in wanted {
        ensure!(span.get(name) == *value, "{name} is {:?} and not {value:?} in {span:#?}", span.get(name));
    }
    Ok(())
}

pub async fn connected(scene: &Scene) -> Outcome {
    let mut client = Http1::dial(scene.world.client(), scene.world.echo(80))?;
    let answer = client.get("/echo/this?secret=1").await?.json()?;
    let traceparent = seen(&answer, "traceparent").context("the application was told of no trace")?;
    let parts: Vec<&str> = traceparent.split('-').collect();
    ensure!(parts.len() == 4 && parts[0] == "00" && parts[3] == "01", "{traceparent}");
    let spans = scene.collector.wait(parts[1], 3).await?;
    let whole = one(&spans, "the root", |span| span.parent.is_empty())?;
    let tried = one(&spans, "its try", |span| span.parent == whole.id)?;
    let served = one(&spans, "the server's", |span| span.kind == SERVER)?;
    ensure!(served.parent == tried.id && served.id == parts[2], "{spans:#?}");
    ensure!((whole.kind, tried.kind) == (CLIENT, CLIENT) && whole.name == "GET", "{spans:#?}");
    ensure!(spans.iter().all(|span| span.status == 0), "{spans:#?}");
    says(
        whole,
        &[
            ("http.request.method", "GET"),
            ("url.full", "http://echo/echo/this"),
            ("http.response.status_code", "200"),
            ("server.port", "80"),
            ("network.protocol.version", "1.1"),
            ("weft.service", "echo.test"),
            ("weft.reason", ""),
        ],
    )?;
    let replica = answer["replica"].as_str().unwrap_or_default();
    let identity = "spiffe://weft.local/ns/test/sa/echo";
    let address = scene.world.pod(replica).ip().to_string();
    says(tried, &[("weft.endpoint", replica), ("weft.attempt", "1"), ("weft.peer.identity", identity)])?;
    says(tried, &[("network.peer.address", &address), ("network.peer.port", "8080")])?;
    let caller = "spiffe://weft.local/ns/test/sa/client";
    let client = scene.world.client().ip().to_string();
    says(served, &[("url.path", "/echo/this"), ("weft.peer.identity", caller), ("client.address", &client)])?;
    ensure!((whole.service(), served.service()) == ("client", "echo"), "{spans:#?}");
    ensure!(whole.resource["deployment.environment.name"] == "test", "{:?}", whole.resource);
    ensure!(served.resource["service.instance.id"] == replica, "{:?}", served.resource);
    Ok(())
}

pub async fn grpc(scene: &Scene) -> Outcome {
    let mut client = client::grpc(scene.world.client(), scene.world.echo(ports::GRPC)).await?;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let mut request = tonic::Request::new(Message::default());
    request.metadata_mut().insert("traceparent", format!("00-{trace}-b7ad6b7169203331-01").parse()?);
    client.unary(request).await?;
    let spans = scene.collector.wait(trace, 3).await?;
    let whole = one(&spans, "the caller's child", |span| span.parent == "b7ad6b7169203331")?;
    let served = one(&spans, "the server's", |span| span.kind == SERVER)?;
    for span in [whole, served] {
        ensure!(span.name == span.get("rpc.method") && span.name.ends_with("/Unary"), "{span:#?}");
        let version = ("network.protocol.version", "2");
        says(span, &[("rpc.system.name", "grpc"), ("rpc.response.status_code", "OK"), version, ("url.path", "")])?;
    }
    Ok(())
}

pub async fn retried(scene: &Scene) -> Outcome {
    let mut client = Http1::dial(scene.world.client(), scene.world.echo(80))?;
    let trace = "11111111111111111111111111111111";
    let head = format!("host: echo\r\ntraceparent: 00-{trace}-b7ad6b7169203331-01\r\n");
    let answer = client.request(format!("GET /fail-always/traced HTTP/1.1\r\n{head}\r\n")).await?;
    ensure!(answer.status() == 503, "{answer:?}");
    // The request, three tries, and the server's side of each.
    let spans = scene.collector.wait(trace, 7).await?;
    let whole = one(&spans, "the caller's child", |span| span.parent == "b7ad6b7169203331")?;
    ensure!(whole.status == ERROR && whole.get("error.type") == "503", "{whole:#?}");
    let mut endpoints = Vec::new();
    for n in 1..=3 {
        let is = |span: &Span| span.parent == whole.id && span.get("weft.attempt") == n.to_string();
        let tried = one(&spans, "that try", is)?;
        let resent = if n == 1 { String::new() } else { (n - 1).to_string() };
        says(tried, &[("http.response.status_code", "503"), ("http.request.resend_count", &resent)])?;
        ensure!(tried.kind == CLIENT && tried.status == ERROR, "{tried:#?}");
        let served = one(&spans, "its server's side", |span| span.parent == tried.id)?;
        ensure!(served.kind == SERVER && served.status == ERROR, "{served:#?}");
        ensure!(served.resource["service.instance.id"] == tried.get("weft.endpoint"), "{spans:#?}");
        endpoints.push(tried.get("weft.endpoint"));
    }
    endpoints.sort_unstable();
    ensure!(endpoints == ["echo-0", "echo-1", "echo-2"], "{endpoints:?}");
    Ok(())
}

pub async fn refused(scene: &Scene) -> Outcome {
    let ask = async |service: &str, port: u16, trace: &str| {
        let head = format!("host: echo\r\ntraceparent: 00-{trace}-b7ad6b7169203331-01\r\ncontent-length: 0\r\n");
        let mut client = Http1::dial(scene.world.client(), scene.world.at(service, port))?;
        let answer = client.request(format!("POST /refused HTTP/1.1\r\n{head}\r\n")).await?;
        ensure!(answer.status() == 503, "{answer:?}");
        Ok(())
    };
    // By the client's sidecar: there is nobody to try.
    let trace = "22222222222222222222222222222222";
    ask("nobody", 80, trace).await?;
    let spans = scene.collector.wait(trace, 1).await?;
    ensure!(spans[0].status == ERROR && spans[0].parent == "b7ad6b7169203331", "{spans:#?}");
    let reason = ("weft.reason", "no-endpoints");
    says(&spans[0], &[reason, ("error.type", "no-endpoints"), ("http.response.status_code", "503")])?;
    // By the server's: nobody listens, at any replica.
    let trace = "23232323232323232323232323232323";
    ask("echo", ports::GONE - 2, trace).await?;
    let spans = scene.collector.wait(trace, 7).await?;
    for n in 1..=3 {
        let tried = one(&spans, "that try", |span| span.get("weft.attempt") == n.to_string())?;
        says(tried, &[("weft.reason", "unreached")])?;
        let served = one(&spans, "its server's side", |span| span.parent == tried.id)?;
        says(served, &[("weft.reason", "connect-refused"), ("error.type", "connect-refused")])?;
    }
    Ok(())
}
