//! Live requests as a watcher sees them: what is told, what is not, and what a watcher costs.
//!
//! `weftctl tap` beside real sidecars. A tap is waited for until the sidecars say that somebody watches, and ended as people do.

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use weft_examples::mesh::binary;
use weft_examples::pods::{Output, Process, Program, poll_until};
use weft_tests::client::{Http1, Http2, exchange, grpc};
use weft_tests::grpc::Message;
use weft_tests::{Outcome, Plan, Suite, World, ports};

/// A machine may stand still for a while.
const PATIENCE: Duration = Duration::from_secs(40);

fn main() -> ExitCode {
    Suite::on("meshed", world)
        .case("both sidecars tell of a request, each what it knows", both)
        .case("filters are carried out by the sidecars", filters)
        .case("a refused request has its reason", refused)
        .case("header fields are shown when asked for, and secrets never", headers)
        .case("gRPC has its own status, HTTP/2 its version", http2)
        .case("a retried request has its attempts", retried)
        .case("an opaque connection is told of at its end", opaque)
        .case("what a client sends stays within its line", escaped)
        .case("more than so many a second are counted, not told", capped)
        .case("a watcher that is killed leaves nothing behind", killed)
        .case("a watcher that reads nothing slows nobody", stopped)
        .case("it ends after so many, by Ctrl-C, and when nobody reads", ends)
        .case("what cannot be meant is refused", bad_input)
        .run()
}

fn world() -> anyhow::Result<World> {
    let nobody = ports::service_document("test", "nobody");
    Plan::new().echo("echo", 2).documents(nobody).client("client").client("other").start()
}

/// A watcher at work.
struct Tap {
    process: Process,
}

impl Tap {
    /// `line` behind `weftctl tap -n test -o json`, once the sidecars `told` have let it in.
    fn start(world: &World, line: &str, told: &[&str]) -> anyhow::Result<Self> {
        Self::start_as(world, &format!("-n test -o json {line}"), told)
    }

    fn start_as(world: &World, line: &str, told: &[&str]) -> anyhow::Result<Self> {
        let before: Vec<f64> = told.iter().map(|name| watchers(world, name)).collect();
        let program = world.mesh().discovery()[0].weftctl_program()?.arg("tap").args(line.split_whitespace());
        let label = format!("tap-{}", fastrand::u64(..));
        let process = world.mesh().node().spawn(program.label(label))?;
        let watched = || told.iter().zip(&before).all(|(name, before)| watchers(world, name) > *before);
        let all = || (watched() || !process.is_running()).then_some(());
        poll_until(Instant::now() + PATIENCE, "sidecars to be tapped", all).with_context(|| process.log())?;
        Ok(Self { process })
    }

    /// What it has printed of requests.
    fn events(&self) -> Vec<Value> {
        let log = self.process.log();
        let objects = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        objects.filter(|value| value["direction"].is_string()).collect()
    }

    /// Waits for `count` events, and for the end of the tap after Ctrl-C.
    fn end(self, count: usize) -> anyhow::Result<Vec<Value>> {
        let enough = || (self.events().len() >= count).then_some(());
        poll_until(Instant::now() + PATIENCE, "events", enough).with_context(|| self.process.log())?;
        self.process.signal(Signal::SIGINT);
        let status = self.process.wait_exit(PATIENCE).context("it does not end")?;
        ensure!(status.success(), "{status}: {}", self.process.log());
        Ok(self.events())
    }

    /// The numbers in its last line: requests, and dropped ones.
    fn totals(&self) -> anyhow::Result<(u64, u64)> {
        let log = self.process.log();
        let end =
            log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(|v| v["end"].is_object());
        let end = end.with_context(|| format!("no end in {log}"))?;
        let number = |name: &str| end["end"][name].as_u64().with_context(|| format!("{name} in {end}"));
        Ok((number("requests")?, number("dropped")?))
    }
}

/// How many watch the sidecar beside `name`.
fn watchers(world: &World, name: &str) -> f64 {
    world.metrics(name).sum("weft_taps_open", &[])
}

fn is(event: &Value, fields: &[(&str, &str)]) -> Outcome {
    for (name, value) in fields {
        ensure!(event[*name] == *value, "{name} is not {value:?} in {event}");
    }
    Ok(())
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

async fn both(world: &World) -> Outcome {
    wait_unwatched(world)?;
    let counted = |way: &str| {
        world
            .metrics("client")
            .sum(&format!("weft_{way}_bytes_total"), &[("service", "echo.test"), ("direction", "outbound")])
    };
    let before = (counted("request"), counted("response"));
    let tap = Tap::start(world, "", &["client", "echo-0", "echo-1"])?;
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let traced = format!("traceparent: 00-{TRACE}-b7ad6b7169203331-00");
    client
        .request(format!("POST /sum?secret=1 HTTP/1.1\r\nhost: echo\r\n{traced}\r\ncontent-length: 5\r\n\r\nabcde"))
        .await?;
    let events = tap.end(2)?;
    let side = |direction: &str| events.iter().find(|event| event["direction"] == direction);
    let (out, inside) = (side("outbound").context("no outbound")?, side("inbound").context("no inbound")?);
    for event in [out, inside] {
        is(event, &[("to", "echo.test"), ("method", "POST"), ("host", "echo"), ("path", "/sum"), ("traceId", TRACE)])?;
        is(event, &[("protocol", "http/1.1"), ("reason", ""), ("from", "test/client")])?;
        ensure!(event["status"] == 200 && event["sentBytes"] == 5, "{event}");
        ensure!(event["receivedBytes"].as_u64() > Some(0) && event["tookSeconds"].as_f64() > Some(0.0), "{event}");
        ensure!(event.get("requestHeaders").is_none() && !event.to_string().contains("secret"), "{event}");
    }
    ensure!(out["attempts"] == 1 && inside["attempts"] == 0, "{out} {inside}");
    is(out, &[("proxy", "test/client"), ("identity", "spiffe://weft.local/ns/test/sa/echo")])?;
    is(inside, &[("identity", "spiffe://weft.local/ns/test/sa/client")])?;
    let endpoint = out["endpoint"].as_str().unwrap_or_default();
    ensure!(endpoint.starts_with("echo-") && inside["proxy"] == format!("test/{endpoint}"), "{out} {inside}");
    ensure!(events.len() == 2, "{events:?}");
    let counted = (counted("request") - before.0, counted("response") - before.1);
    ensure!(counted == (5.0, out["receivedBytes"].as_f64().unwrap_or_default()), "{counted:?} bytes, {out}");
    Ok(())
}

async fn filters(world: &World) -> Outcome {
    wait_unwatched(world)?;
    let (client, all) = (["client"], ["client", "other", "echo-0", "echo-1"]);
    let cases: [(&str, &[&str], usize, &str, &str); 7] = [
        ("--proxy client --method post", &client, 1, "method", "POST"),
        ("--proxy client --path /status", &client, 2, "path", "/status/404"),
        ("--proxy client --status 4xx", &client, 1, "path", "/status/404"),
        ("--direction inbound --status 501", &all, 1, "path", "/status/501"),
        ("--from other --direction out", &all, 1, "proxy", "test/other"),
        ("--to test/nobody", &all, 1, "to", "nobody.test"),
        ("echo --path /name", &["echo-0", "echo-1"], 2, "direction", "inbound"),
    ];
    let taps: Vec<Tap> =
        cases.iter().map(|(line, told, ..)| Tap::start(world, line, told)).collect::<anyhow::Result<_>>()?;
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    client.request("POST /sum HTTP/1.1\r\nhost: echo\r\ncontent-length: 0\r\n\r\n").await?;
    for path in ["/status/404", "/status/501", "/name"] {
        client.get(path).await?;
    }
    Http1::dial(world.client(), world.at("nobody", 80))?.get("/gone").await?;
    Http1::dial(world.pod("other"), world.echo(80))?.get("/name/other").await?;
    for (tap, (line, _, count, field, value)) in taps.into_iter().zip(cases) {
        let events = tap.end(count)?;
        ensure!(events.len() == count, "{line}: {events:?}");
        ensure!(events.iter().any(|event| event[field] == value), "{line}: no {field} {value} in {events:?}");
    }
    Ok(())
}

async fn refused(world: &World) -> Outcome {
    wait_unwatched(world)?;
    let tap = Tap::start(world, "--reason no-endpoints", &["client"])?;
    let answer = Http1::dial(world.client(), world.at("nobody", 80))?.get("/lost").await?;
    ensure!(answer.status() == 503, "{answer:?}");
    let events = tap.end(1)?;
    is(&events[0], &[("reason", "no-endpoints"), ("to", "nobody.test"), ("endpoint", ""), ("path", "/lost")])?;
    ensure!(events[0]["status"] == 503 && events[0]["attempts"] == 0, "{events:?}");
    Ok(())
}

async fn headers(world: &World) -> Outcome {
    wait_unwatched(world)?;
    let secrets =
        "authorization: Bearer s3cret\r\nCookie: id=s3cret\r\nproxy-authorization: s3cret\r\nx-shown: yes\r\n";
    let request = format!("GET /echo HTTP/1.1\r\nhost: echo\r\n{secrets}\r\n");
    let tap = Tap::start(world, "--headers --proxy client", &["client"])?;
    Http1::dial(world.client(), world.echo(80))?.request(&request).await?;
    let asked = http::Request::get("http://echo/h2").header("cookie", "id=s3cret").header("x-shown", "yes").body(())?;
    Http2::dial(world.client(), world.echo(82)).await?.send(asked, bytes::Bytes::new(), None).await?;
    let events = tap.end(2)?;
    ensure!(events[0]["responseHeaders"].to_string().contains("content-length"), "{events:?}");
    for event in events {
        let fields = event["requestHeaders"].to_string();
        ensure!(fields.contains(r#"["x-shown","yes"]"#) && fields.contains(r#"["cookie","***"]"#), "{event}");
        ensure!(!event.to_string().contains("s3cret"), "{event}");
    }
    wait_unwatched(world)?;
    let tap = Tap::start_as(world, "-n test --headers --proxy client", &["client"])?;
    Http1::dial(world.client(), world.echo(80))?.request(&request).await?;
    poll_until(Instant::now() + PATIENCE, "fields", || tap.process.log().contains("    > x-shown: yes").then_some(()))
        .with_context(|| tap.process.log())?;
    let log = tap.process.log();
    ensure!(log.contains("    > authorization: ***\n") && !log.contains("s3cret"), "{log}");
    tap.end(0).map(drop)
}

async fn http2(world: &World) -> Outcome {
    wait_unwatched(world)?;
    let tap = Tap::start(world, "--proxy client", &["client"])?;
    let mut client = grpc(world.client(), world.echo(ports::GRPC)).await?;
    client.unary(Message { text: "hello".to_owned(), count: 1, ..Message::default() }).await?;
    let wrong = client.unary(Message { fail_with: 5, ..Message::default() }).await;
    ensure!(wrong.is_err(), "{wrong:?}");
    Http2::dial(world.client(), world.echo(82)).await?.get("/name").await?;
    let events = tap.end(3)?;
    let method = "/weft.test.v1.Echo/Unary";
    let ended = |status: u64| {
        events.iter().any(|e| e["grpcStatus"] == status && e["path"] == method && e["protocol"] == "grpc")
    };
    ensure!(ended(0) && ended(5), "{events:?}");
    let sent = events.iter().find(|event| event["grpcStatus"] == 0).and_then(|event| event["sentBytes"].as_u64());
    ensure!(sent > Some(5), "{events:?}");
    let plain = events.iter().find(|event| event["protocol"] == "http/2").context("no HTTP/2")?;
    ensure!(plain["status"] == 200 && plain.get("grpcStatus").is_none(), "{plain}");
    Ok(())
}

async fn retried(world: &World) -> Outcome {
    wait_unwatched(world)?;
    let tap = Tap::start(world, "--proxy client --path /fail-once", &["client"])?;
    let answer = Http1::dial(world.client(), world.echo(80))?.get("/fail-once/tap").await?;
    let events = tap.end(1)?;
    // Each replica fails once, and there are two tries more.
    let attempts = events[0]["attempts"].as_u64().unwrap_or(0);
    ensure!(attempts >= 2 && events[0]["status"] == u64::from(answer.status()), "{events:?}");
    Ok(())
}

async fn opaque(world: &World) -> Outcome {
    wait_unwatched(world)?;
    let tap = Tap::start(world, "--from client", &["client", "echo-0", "echo-1"])?;
    exchange(world.client(), world.echo(ports::ECHO), b"twelve bytes").await?;
    let gone = exchange(world.client(), world.echo(ports::GONE), b"anybody?").await;
    ensure!(gone.is_err(), "{gone:?}");
    let events = tap.end(4)?;
    let echoed: Vec<&Value> = events.iter().filter(|event| event["sentBytes"] == 12).collect();
    ensure!(echoed.len() == 2, "one of each side: {events:?}");
    for event in echoed {
        is(event, &[("protocol", "tcp"), ("method", ""), ("from", "test/client"), ("reason", "")])?;
        ensure!(event["receivedBytes"] == 12 && event.get("status").is_none(), "{event}");
    }
    // The server's sidecar knows; the client's was reset.
    ensure!(events.iter().any(|event| event["reason"] == "connect-refused"), "{events:?}");
    Ok(())
}

async fn escaped(world: &World) -> Outcome {
    wait_unwatched(world)?;
    let table = Tap::start_as(world, "-n test -o wide --headers --proxy client", &["client"])?;
    let json = Tap::start(world, "--headers --proxy client", &["client"])?;
    let evil = "GET /name/\u{9b}31m\u{85}x HTTP/1.1\r\nhost: echo\r\nx-evil: a\tb\u{9b}2J\r\n\r\n";
    Http1::dial(world.client(), world.echo(80))?.request(evil).await?;
    let shown = || table.process.log().contains("/name/").then_some(());
    poll_until(Instant::now() + PATIENCE, "a line", shown).with_context(|| table.process.log())?;
    for log in [table.process.log(), json.process.log()] {
        ensure!(!log.chars().any(|c| c.is_control() && c != '\n'), "control characters in {log:?}");
    }
    let events = json.end(1)?;
    is(&events[0], &[("path", "/name/\u{9b}31m\u{85}x")])?;
    table.end(0).map(drop)
}

async fn capped(world: &World) -> Outcome {
    wait_unwatched(world)?;
    let counted = |name: &str| world.metrics("client").sum(name, &[]);
    let (told, dropped) = ("weft_tapped_requests_total", "weft_tapped_requests_dropped_total");
    let before = (counted(told), counted(dropped));
    let tap = Tap::start(world, "--proxy client --rate 5 --for 10s", &["client"])?;
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    while counted(dropped) - before.1 < 50.0 && tap.process.is_running() {
        for _ in 0..20 {
            client.get("/name").await?;
        }
    }
    ensure!(tap.process.wait_exit(PATIENCE).is_some_and(|status| status.success()), "{}", tap.process.log());
    let (shown, missing) = tap.totals()?;
    let after = (counted(told) - before.0, counted(dropped) - before.1);
    ensure!(after == (shown as f64, missing as f64), "{shown} and {missing}, but the sidecar says {after:?}");
    // Ten seconds, and what began before the first and after the last.
    ensure!(missing >= 50 && shown <= 60, "{shown} shown, {missing} dropped");
    ensure!(tap.process.log().contains("dropped: more than 5 a second"), "{}", tap.process.log());
    Ok(())
}

/// Waits until nobody watches any more.
fn wait_unwatched(world: &World) -> Outcome {
    let off = || {
        let sidecars = world.members().all(|member| watchers(world, member.name()) == 0.0);
        let discovery = world.mesh().discovery()[0].metrics().sum("weft_discovery_taps", &[]);
        (sidecars && discovery == 0.0).then_some(())
    };
    poll_until(Instant::now() + PATIENCE, "nobody to watch", off).context("something is left of a watcher")
}

async fn killed(world: &World) -> Outcome {
    wait_unwatched(world)?;
    let tap = Tap::start_as(world, "-A -o json", &["client", "other", "echo-0", "echo-1"])?;
    tap.process.kill();
    wait_unwatched(world)
}

async fn stopped(world: &World) -> Outcome {
    wait_unwatched(world)?;
    let tap = Tap::start(world, "--rate 1000 --headers", &["client", "echo-0"])?;
    tap.process.stop();
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let (begun, mut slowest) = (Instant::now(), Duration::ZERO);
    const REQUESTS: u32 = 1500;
    for _ in 0..REQUESTS {
        let one = Instant::now();
        ensure!(client.get("/name").await?.status() == 200);
        slowest = slowest.max(one.elapsed());
    }
    // Whoever waited for the watcher would wait for as long as it stands still.
    ensure!(slowest < PATIENCE / 2, "one took {slowest:?}, all {:?}", begun.elapsed());
    tap.process.cont();
    tap.end(1)?;
    wait_unwatched(world)
}

/// The shell's word for a pipe from `weftctl tap LINE` into `reader`.
fn piped(world: &World, line: &str, reader: &str) -> anyhow::Result<Program> {
    let socket = world.mesh().discovery()[0].socket();
    let pipe = format!("{} --discovery {} tap {line} | {reader}", binary("weftctl")?.display(), socket.display());
    Ok(Program::new("/bin/sh").args(["-c", &pipe]).label(format!("pipe-{}", fastrand::u64(..))))
}

async fn ends(world: &World) -> Outcome {
    wait_unwatched(world)?;
    let (tap, head) =
        (Tap::start(world, "--proxy client --max 2", &["client"])?, piped(world, "-n test", "head -n 3")?);
    let head = world.mesh().node().spawn(head)?;
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let until = Instant::now() + PATIENCE;
    while tap.process.is_running() || head.is_running() {
        ensure!(Instant::now() < until, "{} {}", tap.process.log(), head.log());
        client.get("/name").await?;
    }
    ensure!(
        tap.process.status().is_some_and(|status| status.success()) && tap.totals()?.0 == 2,
        "{}",
        tap.process.log()
    );
    let log = head.log();
    ensure!(log.starts_with("TIME ") && !log.contains("rror") && !log.contains("panic"), "{log}");
    wait_unwatched(world)?;
    // By Ctrl-C, with nothing to show.
    Tap::start(world, "--path /none", &["client"])?.end(0)?;
    wait_unwatched(world)
}

fn tapped(world: &World, line: &str) -> anyhow::Result<Output> {
    let program = world.mesh().discovery()[0].weftctl_program()?.arg("tap").args(line.split_whitespace());
    Ok(world.mesh().node().run(program)?)
}

async fn bad_input(world: &World) -> Outcome {
    for (line, status, word) in [
        ("--status 50x", 2, "write 503, 5xx or >=500"),
        ("--status 700", 2, "100 to 599"),
        ("--method G=E(T", 2, "no HTTP method"),
        ("--path name", 2, "begins with /"),
        ("--reason Why?", 2, "as in no-endpoints"),
        ("--for 2d", 2, "between 1s and 24h"),
        ("--for soon", 2, "--for"),
        ("--max 0", 2, "--max"),
        ("--rate 2000", 2, "1..=1000"),
        ("--from a/b/c", 2, "NAMESPACE/NAME"),
        ("--to Echo", 2, "NAMESPACE/NAME"),
        ("echo --proxy client", 2, "cannot be used with"),
        ("echo -A", 2, "leave -A out"),
        ("-o yaml", 2, "json"),
        ("--proxy absent -n test", 1, "no sidecar absent in test is connected"),
        ("absent -n test", 1, "service absent in test"),
        ("-n nowhere", 1, "no sidecar in nowhere is connected"),
        ("-n test -A", 2, "cannot be used with"),
    ] {
        let output = tapped(world, line)?;
        ensure!(output.status.code() == Some(status), "{line}: {} {}", output.status, output.text());
        ensure!(output.stdout.is_empty() && output.stderr.contains(word), "{line}: no {word:?} in {}", output.text());
    }
    Ok(())
}
