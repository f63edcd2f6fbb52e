//! A client's deadline holds at every hop: no answer, no retry and no work of the application after it.
//!
//! Two services on a mesh: `echo` without a policy, and `slow` with the one of the documentation's page.

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Request;
use serde_json::Value;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use weft_tests::client::{Http1, Http2, Response1};
use weft_tests::{Outcome, Plan, Suite, World, pages, ports};

/// Long before the answers that take 30 s, however long the machine stands still.
const SOONER: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    Suite::on("meshed", || {
        let policy = pages::example("deadlines", 0)?;
        Plan::new().echo("echo", 1).echo("slow", 1).documents(policy).client("client").start()
    })
    .case("the whole request ends at the deadline, in both forms", ends)
    .case("gRPC over HTTP/2 is told DEADLINE_EXCEEDED", grpc_status)
    .case("the endpoint is told what is left", told)
    .case("the endpoint is told no more than the service's own time-out", told_of_timeout)
    .case("of deadline and time-out the earlier one ends the request and says so", earlier)
    .case("no retry outlives the deadline", no_retry_after)
    .case("a deadline that has passed is refused before the endpoint", passed)
    .case("the server's sidecar holds clients outside the mesh to it", inbound)
    .case("what cannot be read sets no deadline and is passed on", malformed)
    .run()
}

/// GET with one more field line.
async fn get(client: &mut Http1, path: &str, field: &str) -> anyhow::Result<Response1> {
    Ok(client.request(format!("GET {path} HTTP/1.1\r\nhost: echo\r\n{field}\r\n\r\n")).await?)
}

/// `x-request-deadline` for the moment so far from now.
fn moment(from_now: Duration) -> String {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + from_now;
    format!("x-request-deadline: {}.{:03}", at.as_secs(), at.subsec_millis())
}

fn exceeded(response: &Response1) -> anyhow::Result<()> {
    ensure!(response.status() == 504, "{response:?}");
    ensure!(response.head.header("weft-reason") == Some("deadline-exceeded"), "{response:?}");
    Ok(())
}

/// What the endpoint saw of the field `name`.
fn seen(json: &Value, name: &str) -> Option<String> {
    let fields = json["headers"].as_array()?;
    fields.iter().find(|pair| pair[0] == name)?[1].as_str().map(str::to_owned)
}

/// `grpc-timeout` as the sidecar writes it for times up to 100 s.
fn left(told: &str) -> anyhow::Result<Duration> {
    let (number, unit) = told.split_at(told.len().saturating_sub(1));
    let nanos = if unit == "u" { 1000 } else { 1 };
    ensure!(matches!(unit, "u" | "n"), "{told}");
    Ok(Duration::from_nanos(number.parse::<u64>()? * nanos))
}

async fn ends(world: &World) -> Outcome {
    for field in ["grpc-timeout: 200m".to_owned(), moment(Duration::from_millis(200))] {
        let mut client = Http1::dial(world.client(), world.echo(80))?;
        let started = Instant::now();
        exceeded(&get(&mut client, "/delay/30s", &field).await.with_context(|| field.clone())?)?;
        ensure!(started.elapsed() < SOONER, "{field}: after {:?}", started.elapsed());
    }
    Ok(())
}

async fn grpc_status(world: &World) -> Outcome {
    let client = Http2::dial(world.client(), world.echo(82)).await?;
    let request = Request::post("http://echo/delay/30s").header("content-type", "application/grpc");
    let request = request.header("grpc-timeout", "200m").body(())?;
    let started = Instant::now();
    let response = client.send(request, Bytes::new(), None).await?;
    ensure!(started.elapsed() < SOONER, "after {:?}", started.elapsed());
    let field = |name: &str| response.headers.get(name).and_then(|value| value.to_str().ok());
    ensure!(field("grpc-status") == Some("4"), "{response:?}");
    ensure!(field("weft-reason") == Some("deadline-exceeded"), "{response:?}");
    Ok(())
}

async fn told(world: &World) -> Outcome {
    let absolute = moment(Duration::from_secs(30));
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let one = get(&mut client, "/echo", &format!("grpc-timeout: 50S\r\n{absolute}")).await?.json()?;
    let request = Request::get("http://echo/echo").header("grpc-timeout", "20S").body(())?;
    let client = Http2::dial(world.client(), world.echo(82)).await?;
    let two = client.send(request, Bytes::new(), None).await?.json()?;
    for (seen_by, most) in [(&one, Duration::from_secs(30)), (&two, Duration::from_secs(20))] {
        let left = left(&seen(seen_by, "grpc-timeout").context("the endpoint is told nothing")?)?;
        ensure!(left < most && left > most - Duration::from_secs(10), "{left:?} of {most:?}");
    }
    let passed_on = seen(&one, "x-request-deadline").map(|value| format!("x-request-deadline: {value}"));
    ensure!(passed_on.as_ref() == Some(&absolute), "{one}");
    // Nobody is told what the client has not said.
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let unsaid = get(&mut client, "/echo", &absolute).await?.json()?;
    ensure!(seen(&unsaid, "grpc-timeout").is_none(), "{unsaid}");
    Ok(())
}

async fn told_of_timeout(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.at("slow", 80))?;
    let json = get(&mut client, "/echo", "grpc-timeout: 50S").await?.json()?;
    let left = left(&seen(&json, "grpc-timeout").context("the endpoint is told nothing")?)?;
    ensure!(left <= Duration::from_millis(300), "{left:?}");
    Ok(())
}

async fn earlier(world: &World) -> Outcome {
    let table = [("grpc-timeout: 50m", "deadline-exceeded"), ("grpc-timeout: 20S", "request-timeout")];
    for (field, reason) in table {
        // The server's sidecar holds the same end to be a deadline: when this side stands still, that answer can come first.
        let mut said = vec![];
        while said.last().is_none_or(|said| said != reason) {
            ensure!(said.len() < 10, "{field}: {said:?}");
            let mut client = Http1::dial(world.client(), world.at("slow", 80))?;
            let response = get(&mut client, "/delay/30s", field).await?;
            ensure!(response.status() == 504, "{response:?}");
            said.push(response.head.header("weft-reason").unwrap_or_default().to_owned());
        }
    }
    Ok(())
}

async fn no_retry_after(world: &World) -> Outcome {
    let replica = (world.pod("slow-0").ip(), ports::HTTP).into();
    let tries = async |key: &str| {
        let response = Http1::dial(world.client(), replica)?.get(&format!("/counted/{key}")).await?;
        anyhow::Ok(response.text().parse::<u64>()?)
    };
    let mut hurried = Http1::dial(world.client(), world.at("slow", 80))?;
    let response = get(&mut hurried, "/fail-always/hurried", "grpc-timeout: 20m").await?;
    ensure!(matches!(response.status(), 503 | 504), "{response:?}");
    let made = tries("hurried").await?;
    // Long enough for more tries of the first, if there were any.
    let mut patient = Http1::dial(world.client(), world.at("slow", 80))?;
    let _ = patient.get("/fail-always/patient").await?;
    ensure!(tries("patient").await? > 1, "nothing was tried again at all");
    let later = tries("hurried").await?;
    ensure!(made == later, "{made} tries by the deadline, {later} later");
    Ok(())
}

async fn passed(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    for field in ["grpc-timeout: 0n", "x-request-deadline: 1000000000.5"] {
        exceeded(&get(&mut client, "/count/passed", field).await?)?;
    }
    // The connection is still good.
    let arrived = client.get("/counted/passed").await?.text();
    ensure!(arrived == "0", "{arrived} requests reached the endpoint");
    let labels = [("direction", "outbound"), ("reason", "deadline-exceeded"), ("status", "504")];
    ensure!(world.metrics("client").sum("weft_requests_total", &labels) >= 2.0, "not counted");
    Ok(())
}

async fn inbound(world: &World) -> Outcome {
    let stranger = world.network().pod("stranger")?;
    let mut client = Http1::dial(&stranger, (world.pod("echo-0").ip(), ports::HTTP).into())?;
    exceeded(&get(&mut client, "/count/from-outside", "x-request-deadline: 1000000000").await?)?;
    let arrived = client.get("/counted/from-outside").await?.text();
    ensure!(arrived == "0", "{arrived} requests reached the application");
    let started = Instant::now();
    exceeded(&get(&mut client, "/delay/30s", "grpc-timeout: 200m").await?)?;
    ensure!(started.elapsed() < SOONER, "after {:?}", started.elapsed());
    let labels = [("direction", "inbound"), ("reason", "deadline-exceeded"), ("status", "504")];
    ensure!(world.metrics("echo-0").sum("weft_requests_total", &labels) >= 2.0, "not counted");
    Ok(())
}

async fn malformed(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    for (name, value) in [("grpc-timeout", "soon"), ("grpc-timeout", "123456789m"), ("x-request-deadline", "yesterday")]
    {
        let response = get(&mut client, "/echo", &format!("{name}: {value}")).await?;
        ensure!(response.status() == 200, "{response:?}");
        let json = response.json()?;
        ensure!(seen(&json, name).as_deref() == Some(value), "{json}");
    }
    Ok(())
}
