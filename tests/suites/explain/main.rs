//! `weftctl explain` tells what real requests then meet: rules, shares, redirects, refusals, endpoints that are out.
//!
//! The routes are those of the page about it, and its example run is compared with a real one.

mod access;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Request;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;
use weft_examples::pods::{Output, Program, poll_until};
use weft_tests::client::{Http1, Http2, Response1};
use weft_tests::world::SOON;
use weft_tests::{Outcome, Plan, Suite, World, pages};

/// A service that nobody serves, beside what the page has.
const MORE: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: lost, namespace: test }\nspec:\n\
    \x20 parentRefs: [{ group: \"\", kind: Service, name: empty }]\n  rules:\n\
    \x20 - matches: [{ path: { value: /lost } }]\n    backendRefs: [{ name: nowhere, port: 80 }]\n\
    \x20 - matches: [{ path: { value: /none } }]\n    backendRefs: [{ name: empty, port: 80 }]\n";

fn main() -> ExitCode {
    Suite::on("meshed", world)
        .case("it names the rule that applies and what the others missed", rules)
        .case("redirects, refusals and answers are as it says", agrees)
        .case("a split goes to its backends, and a hash to the endpoint it names", shares)
        .case("what the mesh itself answers carries the reason that it gives", reasons)
        .case("the run on its page is a real one", page)
        .case("the other end decides as it says, and so does the policy it names", access::decides)
        .case("an endpoint of a later priority waits its turn", priority)
        .case("it can be read by programs and cut short", forms)
        .case("what it cannot answer it says in a line", errors)
        .case("an endpoint that nobody can ask is told of, and the rest stays as good", access::unasked)
        .case("an endpoint that is not ready is out, and then nobody is left", not_ready)
        .run()
}

fn world() -> anyhow::Result<World> {
    let routes = pages::example("explain", 0)?;
    Plan::new()
        .echo("echo", 0)
        .echo("empty", 0)
        .echo("ranked", 0)
        .echo("echo-v1", 2)
        .echo("echo-v2", 1)
        .documents(MORE)
        .documents(routes)
        .client("client")
        .start()
}

fn weftctl(world: &World, args: &[&str]) -> anyhow::Result<Output> {
    let program = world.mesh().discovery()[0].weftctl_program()?.args(args);
    Ok(world.mesh().node().run(program)?)
}

/// What the client's proxy says about a request to `url` with these fields.
fn explained(world: &World, url: &str, headers: &[&str]) -> anyhow::Result<Value> {
    let headers = headers.iter().flat_map(|header| ["-H", header]);
    let args: Vec<&str> =
        ["explain", "--from", "client", "--to", url, "-o", "json"].into_iter().chain(headers).collect();
    let output = weftctl(world, &args)?;
    ensure!(output.status.success(), "weftctl {args:?}: {}", output.text());
    Ok(serde_json::from_str(&output.stdout)?)
}

/// What a real request to port 80 of `service` meets.
async fn asked(world: &World, service: &str, path: &str, headers: &[&str]) -> anyhow::Result<Response1> {
    let fields: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {service}.test\r\n{fields}\r\n");
    Ok(Http1::dial(world.client(), world.at(service, 80))?.request(request).await?)
}

/// The endpoints that take part in the first try, of all backends.
fn candidates(explained: &Value) -> Vec<String> {
    let ways = explained["ways"].as_array().cloned().unwrap_or_default();
    let endpoints = ways.iter().filter_map(|way| way["tries"]["endpoints"].as_array()).flatten();
    let chosen = endpoints.filter(|endpoint| endpoint["standing"] == "candidate");
    chosen.map(|endpoint| endpoint["id"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn rules(world: &World) -> Outcome {
    for (path, header, rule) in [
        ("/api/a", "user: ann", "split/testers"),
        ("/api/a", "user: bob", "split/all"),
        ("/old/a", "user: ann", "split/moved"),
    ] {
        let said = explained(world, &format!("http://echo.test{path}"), &[header])?;
        ensure!(said["routing"]["rule"] == rule, "{path} {header}: {said:#}");
        let considered = said["routing"]["considered"].as_array().context("no matches")?;
        ensure!(considered.len() == 3, "{said:#}");
        for one in considered {
            let (chosen, missed) = (one["rule"] == rule, one["missed"].as_array().is_some_and(|m| !m.is_empty()));
            ensure!(chosen == (one["verdict"] == "chosen"), "{one:#}");
            ensure!(missed == (one["verdict"] == "unmatched"), "{one:#}");
        }
    }
    let said = explained(world, "http://echo.test/api", &["user: bob"])?;
    let missed = &said["routing"]["considered"][0]["missed"];
    ensure!(*missed == serde_json::json!([{"part": "header user", "asked": "ann", "found": "bob"}]), "{said:#}");
    Ok(())
}

async fn agrees(world: &World) -> Outcome {
    for (service, path, header) in [
        ("echo", "/api/a?b=c", "user: ann"),
        ("echo", "/api/a", "user: bob"),
        ("echo", "/old/a?b=c", "user: ann"),
        ("echo", "/other", "user: ann"),
        ("echo-v2", "/other", "user: ann"),
        ("empty", "/lost", "user: ann"),
        ("empty", "/none", "user: ann"),
        ("empty", "/", "user: ann"),
    ] {
        let said = explained(world, &format!("http://{service}.test{path}"), &[header])?;
        let real = asked(world, service, path, &[header]).await?;
        let told = &said["outcome"];
        let agreed = if let Some(refusal) = told.get("refused") {
            refusal["status"] == real.status() && refusal["reason"].as_str() == real.head.header("weft-reason")
        } else if let Some(to) = told.get("redirected") {
            to["status"] == real.status() && to["location"].as_str() == real.head.header("location")
        } else {
            let by = real.json().map(|seen| seen["replica"].as_str().unwrap_or_default().to_owned());
            real.status() == 200 && by.is_ok_and(|by| candidates(&said).contains(&by))
        };
        ensure!(agreed, "{service}{path} {header}: said {said:#}, and then came {real:?}");
    }
    Ok(())
}

async fn shares(world: &World) -> Outcome {
    let said = explained(world, "http://echo.test/api", &[])?;
    let share = |at: usize| said["ways"][at]["share"].as_f64();
    ensure!(share(0) == Some(75.0) && share(1) == Some(25.0), "{said:#}");
    let mut served = BTreeMap::<String, u32>::new();
    for number in 0..100 {
        let user = format!("user: {number}");
        let real = asked(world, "echo", "/api", &[&user]).await?;
        *served.entry(real.json()?["replica"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    ensure!(served.keys().eq(&["echo-v1-0", "echo-v1-1", "echo-v2-0"]), "{served:?}");
    let second = served["echo-v2-0"];
    // 25 on average, with a deviation of 4.3.
    ensure!((3..55).contains(&second), "{served:?}");
    for number in 0..10 {
        let user = format!("user: {number}");
        let said = explained(world, "http://echo-v1.test/", &[&user])?;
        let tries = &said["ways"][0]["tries"];
        ensure!(tries["retry"]["origin"] == "policy" && tries["retry"]["value"]["attempts"] == 5, "{said:#}");
        let real = asked(world, "echo-v1", "/", &[&user]).await?.json()?;
        ensure!(
            tries["hash"]["endpoint"].is_string() && tries["hash"]["endpoint"] == real["replica"],
            "{said:#} {real}"
        );
    }
    Ok(())
}

async fn reasons(world: &World) -> Outcome {
    for (service, path, status, grpc, reason) in [
        ("echo", "/other", 404, "12", "no-route"),
        ("empty", "/lost", 500, "14", "invalid-backend"),
        ("empty", "/none", 503, "14", "no-endpoints"),
    ] {
        let real = asked(world, service, path, &[]).await?;
        ensure!(real.status() == status && real.head.header("weft-reason") == Some(reason), "{real:?}");
        for content_type in ["text/plain", "application/grpc"] {
            let request = Request::builder().method("POST").uri(format!("http://{service}.test{path}"));
            let request = request.header("content-type", content_type).body(())?;
            let client = Http2::dial(world.client(), world.at(service, 82)).await?;
            let real = client.send(request, Bytes::new(), None).await?;
            ensure!(real.headers.get("weft-reason").is_some_and(|said| said == reason), "{real:?}");
            match content_type {
                "text/plain" => ensure!(real.status == status, "{real:?}"),
                _ => ensure!(real.headers.get("grpc-status").is_some_and(|said| said == grpc), "{real:?}"),
            }
        }
    }
    Ok(())
}

/// What is the same in every run: words without digits.
fn gist(text: &str) -> Vec<String> {
    let word = |word: &str| if word.contains(|c: char| c.is_ascii_digit()) { "#".to_owned() } else { word.to_owned() };
    text.lines().map(|line| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")).collect()
}

async fn page(world: &World) -> Outcome {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/explain.md"))?;
    let (_, rest) = page.split_once("```console\n").context("the page has no run")?;
    let (written, _) = rest.split_once("```").context("the run on the page has no end")?;
    let args = ["explain", "--from", "client", "--to", "http://echo.test/api/search?q=x", "-H", "user: bob"];
    let real = weftctl(world, &args)?;
    ensure!(real.status.success(), "{}", real.text());
    ensure!(gist(&real.stdout) == gist(written), "the run on the page is not this one:\n{}", real.stdout);
    ensure!(real.stdout.lines().all(|line| line.len() <= 80), "{}", real.stdout);
    Ok(())
}

async fn forms(world: &World) -> Outcome {
    let args = ["explain", "--from", "test/client", "--to", "http://echo-v2.test:9090", "--grpc", "test.Echo/Say"];
    let yaml = weftctl(world, &[&args[..], &["-o", "yaml"]].concat())?;
    ensure!(yaml.status.success() && yaml.stdout.contains("outcome: forwarded"), "{}", yaml.text());
    let table = weftctl(world, &args)?.stdout;
    ensure!(table.contains("POST /test.Echo/Say") && table.contains("(grpc)") && !table.contains('\x1b'), "{table}");
    // Of a service any proxy will do; an endpoint by its own name is past all routes.
    let args = ["explain", "--from", "echo-v1", "--to", "http://echo-v2-0.echo-v2.test:8080/"];
    let table = weftctl(world, &args)?.stdout;
    ensure!(table.contains("test/echo-v1-") && table.contains("past all routes"), "{table}");
    let weftctl = world.mesh().discovery()[0].weftctl_program()?.args(args).to_string();
    let cut = world.mesh().node().run(Program::new("sh").args(["-c", &format!("{weftctl} | head -1")]))?;
    ensure!(cut.stdout.starts_with("request") && cut.stderr.is_empty(), "{}", cut.text());
    Ok(())
}

async fn errors(world: &World) -> Outcome {
    for (from, to, status, words) in [
        ("nobody", "http://echo.test/", 1, "no proxy nobody is connected"),
        ("client", "http://www.example.com/", 1, "is no name of the mesh"),
        ("client", "http://nothing.test/", 1, "there is no service nothing.test"),
        ("client", "http://192.0.2.1/", 1, "is no address of the mesh"),
        ("client", "http://echo.test:99/", 1, "has no port 99"),
        ("client", "http://nobody.echo.test/", 1, "has no endpoint nobody"),
        ("client", "echo.test", 2, "write http://"),
        ("client", "https://echo.test/", 2, "TLS"),
        ("a/b/c", "http://echo.test/", 2, "NAMESPACE/NAME"),
    ] {
        let output = weftctl(world, &["explain", "--from", from, "--to", to])?;
        ensure!(output.status.code() == Some(status) && output.stdout.is_empty(), "{to}: {}", output.text());
        ensure!(output.stderr.contains(words), "{to}: {}", output.stderr);
        ensure!(status == 2 || output.stderr.lines().count() == 1, "{to}: {}", output.stderr);
    }
    Ok(())
}

async fn not_ready(world: &World) -> Outcome {
    world.member("echo-v2-0").kill_application();
    let mut said = Value::Null;
    let out = || {
        said = explained(world, "http://echo-v2.test/", &[]).ok()?;
        (said["ways"][0]["tries"]["endpoints"][0]["standing"]["out"] == "not-ready").then_some(())
    };
    poll_until(Instant::now() + 2 * SOON, "the endpoint to be out", out).with_context(|| format!("{said:#}"))?;
    ensure!(said["outcome"]["refused"]["reason"] == "no-endpoints", "{said:#}");
    let real = asked(world, "echo-v2", "/", &[]).await?;
    ensure!(real.status() == 503 && real.head.header("weft-reason") == Some("no-endpoints"), "{real:?}");
    // A split tells it of one of its backends.
    let said = explained(world, "http://echo.test/api", &[])?;
    ensure!(said["outcome"] == "forwarded" && said["ways"][1]["refused"]["reason"] == "no-endpoints", "{said:#}");
    Ok(())
}

async fn priority(world: &World) -> Outcome {
    let lent = |n: u32| {
        let ip = world.pod(&format!("echo-v1-{n}")).ip();
        format!(
            "apiVersion: weft.dev/v1alpha1\nkind: Endpoint\nmetadata: {{ name: ranked-{n}, namespace: test }}\nspec: {{ service: ranked, \
             addresses: [{ip}], ports: {{ http: {} }}, serviceAccount: echo-v1, priority: {n} }}\n",
            weft_tests::ports::HTTP
        )
    };
    world.mesh().apply(&[lent(0), lent(1)].join("---\n"))?;
    let mut said = String::new();
    let stands = || {
        said = weftctl(world, &["explain", "--from", "client", "--to", "http://ranked.test/"]).ok()?.stdout;
        let line = |id: &str| said.lines().find(|line| line.trim_start().starts_with(id)).unwrap_or("");
        (line("ranked-0").ends_with("yes") && line("ranked-1").ends_with("later: priority")).then_some(())
    };
    poll_until(Instant::now() + SOON, "the standings", stands).with_context(|| said.clone())?;
    // As it says: nobody comes to the second while the first is there.
    for _ in 0..20 {
        let answer = asked(world, "ranked", "/name", &[]).await?;
        ensure!(answer.text() == "echo-v1-0", "{answer:?}");
    }
    Ok(())
}
