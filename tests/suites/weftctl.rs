//! `weftctl` as an operator meets it: what it prints, what it says when something is wrong, and its exit status.
//!
//! 0 done, 1 failed, 2 the command line was wrong; the answer on standard output, everything else on standard error.

#[path = "weftctl/manners.rs"]
mod manners;

use anyhow::{Context, ensure};
use serde_json::Value;
use std::process::ExitCode;
use std::time::Instant;
use weft_examples::mesh::binary;
use weft_examples::pods::{Output, Program, poll_until};
use weft_tests::client::Http1;
use weft_tests::programs::curl;
use weft_tests::world::SOON;
use weft_tests::{Outcome, Plan, Suite, World};

fn main() -> ExitCode {
    Suite::on("meshed", || Plan::new().echo("echo", 2).client("client").start())
        .case("get prints tables, JSON and YAML", get)
        .case("get of something that is not there fails and says so", get_missing)
        .case("status shows every proxy, its revision and that none is behind", status)
        .case("proxy dump shows what a proxy knows", dump)
        .case("proxy services and endpoints list what a proxy knows", known)
        .case("diagnose makes one archive, and says what is missing", diagnose)
        .case("stat tells success, rate and latency of services, routes and pods", stat)
        .case("edges tells who calls whom, and that it is encrypted", edges)
        .case("logs level changes what a proxy logs while it runs", log_level)
        .case("check says that all is well", check)
        .case("apply says what became of each document, and again that nothing changed", apply)
        .case("a dry run changes nothing", dry_run)
        .case("a route takes force within a second and goes again", route)
        .case("get routes judges routes of both kinds, anew each time", judged)
        .case("the example of the routing page", routing_page)
        .case("bad documents are refused naming the field", bad_documents)
        .case("a wrong command line ends with status 2", usage)
        .case("without discovery it fails and says what to look at", unreachable)
        .case("the table of manners has a row for every command", manners::every_command)
        .case("every listing has -o table, wide, json and yaml", manners::forms)
        .case("tables fit a terminal of any width, and colours are for terminals alone", manners::terminals)
        .case("nobody minds a reader that has seen enough", manners::closed_pipes)
        .case("every command refuses flags that it does not know, and wrong values, with status 2", manners::usage)
        .case(
            "every command that asks discovery says so when there is none, or none for this user",
            manners::nobody_there,
        )
        .case("proxy config tells every flag", manners::config)
        .run()
}

fn weftctl(world: &World, args: &[&str], input: &str) -> anyhow::Result<Output> {
    let program = world.mesh().discovery()[0].weftctl_program()?.args(args).input(input);
    Ok(world.mesh().node().run(program)?)
}

fn done(world: &World, args: &[&str], input: &str) -> anyhow::Result<String> {
    let output = weftctl(world, args, input)?;
    ensure!(output.status.success(), "weftctl {args:?}: {} {}", output.status, output.text());
    Ok(output.stdout)
}

/// It must end with `status` and say all of `words`, on standard error alone.
fn fails(world: &World, args: &[&str], input: &str, status: i32, words: &[&str]) -> Outcome {
    let output = weftctl(world, args, input)?;
    ensure!(output.status.code() == Some(status), "weftctl {args:?}: {} {}", output.status, output.text());
    ensure!(output.stdout.is_empty(), "weftctl {args:?} prints {:?}", output.stdout);
    for word in words {
        ensure!(output.stderr.contains(word), "weftctl {args:?} does not say {word:?}: {}", output.stderr);
    }
    Ok(())
}

async fn get(world: &World) -> Outcome {
    for (kind, wanted) in [("services", "echo"), ("endpoints", "echo-1"), ("certificates", "sa/client")] {
        let table = done(world, &["get", kind, "-A"], "")?;
        ensure!(table.lines().count() > 1 && table.contains(wanted), "{kind}: {table}");
        let json: Value = serde_json::from_str(&done(world, &["get", kind, "-A", "-o", "json"], "")?)?;
        ensure!(json.to_string().contains(wanted), "{kind}: {json}");
        let yaml = done(world, &["get", kind, "-A", "-o", "yaml"], "")?;
        ensure!(yaml.contains(wanted) && !yaml.starts_with('{'), "{kind}: {yaml}");
    }
    let one = done(world, &["get", "service", "echo", "-n", "test"], "")?;
    ensure!(one.contains("198.1"), "no virtual address: {one}");
    Ok(())
}

async fn get_missing(world: &World) -> Outcome {
    fails(world, &["get", "service", "nobody", "-n", "test"], "", 1, &["nobody"])?;
    fails(world, &["get", "unicorns"], "", 2, &["unicorns"])
}

async fn status(world: &World) -> Outcome {
    let mut said = String::new();
    let calm = || {
        said = done(world, &["status", "-o", "json"], "").ok()?;
        ["client", "echo-0", "echo-1"].iter().all(|name| said.contains(name)).then_some(())
    };
    poll_until(Instant::now() + SOON, "every proxy to be listed", calm).with_context(|| said.clone())?;
    let table = done(world, &["status"], "")?;
    ensure!(["client", "echo-0", "echo-1"].iter().all(|name| table.contains(name)), "{table}");
    Ok(())
}

async fn dump(world: &World) -> Outcome {
    curl(world.client(), &[&world.url("/name")])?;
    let said = done(world, &["proxy", "dump", "client", "-n", "test"], "")?;
    ensure!(said.contains("echo-0") && said.contains("echo-1"), "{said}");
    fails(world, &["proxy", "dump", "nobody", "-n", "test"], "", 1, &["nobody"])
}

async fn check(world: &World) -> Outcome {
    done(world, &["check"], "").map(drop)
}

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: { name: fresh, namespace: test }\n\
                       spec: { ports: [{ name: http, port: 80, targetPort: 8080 }] }\n";

async fn apply(world: &World) -> Outcome {
    let said = done(world, &["apply", "-f", "-"], SERVICE)?;
    ensure!(said.contains("fresh") && said.contains("created"), "{said}");
    let said = done(world, &["apply", "-f", "-"], SERVICE)?;
    ensure!(said.contains("unchanged"), "{said}");
    let said = done(world, &["apply", "-f", "-"], &SERVICE.replace("8080", "8081"))?;
    ensure!(said.contains("configured"), "{said}");
    done(world, &["delete", "service", "fresh", "-n", "test"], "")?;
    fails(world, &["delete", "service", "fresh", "-n", "test"], "", 1, &["fresh"])?;
    fails(world, &["apply", "-f", "-"], "a: [b", 1, &[])?;
    fails(world, &["apply", "-f", "/no/such/file.yaml"], "", 1, &["/no/such/file.yaml"])
}

async fn dry_run(world: &World) -> Outcome {
    let said = done(world, &["apply", "--dry-run", "-f", "-"], &SERVICE.replace("fresh", "dry"))?;
    ensure!(said.contains("dry"), "{said}");
    fails(world, &["get", "service", "dry", "-n", "test"], "", 1, &["dry"])
}

async fn known(world: &World) -> Outcome {
    curl(world.client(), &[&world.url("/name")])?;
    let table = done(world, &["proxy", "services", "client", "-n", "test", "-o", "wide"], "")?;
    ensure!(
        table.lines().any(|line| line.contains(" echo ") && line.contains("2/2") && line.contains("p2c-ewma")),
        "{table}"
    );
    let table = done(world, &["proxy", "endpoints", "client", "-n", "test", "--service", "echo"], "")?;
    ensure!(table.lines().count() == 3 && table.contains("echo-1") && table.contains(" ready "), "{table}");
    let json = done(world, &["proxy", "endpoints", "client", "-n", "test", "-o", "json"], "")?;
    let endpoints: Vec<Value> = serde_json::from_str(&json)?;
    ensure!(endpoints.iter().any(|endpoint| endpoint["id"] == "echo-0"), "{json}");
    fails(world, &["proxy", "services", "nobody"], "", 1, &["nobody", "weftctl status"])
}

async fn diagnose(world: &World) -> Outcome {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("it.tar.gz");
    let file = file.to_str().context("a path of plain letters")?;
    let said = done(world, &["diagnose", "client", "-n", "test", "-f", file], "")?;
    ensure!(said == format!("{file}\n"), "{said}");
    let unpacked = |of: &str| -> anyhow::Result<String> {
        let name = format!("weft-test-client/{of}");
        let output = world.mesh().node().run(Program::new("tar").args(["-xzOf", file, &name]))?;
        ensure!(output.status.success(), "{of}: {}", output.text());
        Ok(output.stdout)
    };
    ensure!(unpacked("metrics.txt")?.contains("weft_build_info"), "metrics");
    ensure!(unpacked("logs.txt")?.contains("serving"), "the last lines");
    ensure!(unpacked("configuration.json")?.contains("\"proxy\": \"client\""), "configuration");
    ensure!(unpacked("certificates.json")?.contains("sa/client"), "certificates");
    ensure!(
        unpacked("status.txt")?.contains("client") && unpacked("check.txt")?.contains("ok"),
        "the rest of the mesh"
    );
    let all = unpacked("")?;
    ensure!(!all.contains("PRIVATE KEY"), "keys do not leave a pod");
    fails(world, &["diagnose", "client", "-n", "test", "-f", file], "", 1, &["it.tar.gz", "exists"])?;
    ensure!(done(world, &["logs", "show", "test/client"], "")?.contains("serving"), "and without an archive");
    let pages = directory.path().join("man");
    done(world, &["manual", pages.to_str().context("a path of plain letters")?], "")?;
    ensure!(std::fs::read_to_string(pages.join("weftctl-stat.1"))?.contains("success"), "manual pages");
    Ok(())
}

/// Requests one after the other until this is dropped; every tenth fails.
fn load(world: &World) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    Ok(tokio::spawn(async move {
        for n in 0_u64.. {
            let path = if n % 10 == 0 { "/status/500" } else { "/name" };
            if client.get(path).await.is_err() {
                return;
            }
        }
    }))
}

async fn stat(world: &World) -> Outcome {
    let load = load(world)?;
    let json = |kind: &str, more: &[&str]| {
        let args = [&["stat", kind, "-w", "1s", "-o", "json"], more].concat();
        anyhow::Ok(serde_json::from_str::<Vec<Value>>(&done(world, &args, "")?)?)
    };
    let services = json("services", &["-n", "test"])?;
    let [echo] = &services[..] else { anyhow::bail!("one service is called: {services:?}") };
    ensure!(echo["service"] == "echo" && echo["requestsPerSecond"].as_f64() > Some(1.0), "{echo}");
    let success = echo["successRate"].as_f64().context("no success rate")?;
    ensure!((0.8..0.98).contains(&success), "nine of ten succeed: {echo}");
    let [p50, p99] = ["p50Seconds", "p99Seconds"].map(|field| echo[field].as_f64().unwrap_or(-1.0));
    ensure!(p50 > 0.0 && p50 <= p99, "{echo}");
    let pods = json("pods", &["-n", "test"])?;
    ensure!(pods.iter().any(|row| row["pod"] == "echo-0") && pods.iter().all(|row| row["pod"] != "client"), "{pods:?}");
    ensure!(json("services", &["-A", "--from", "test/client", "--to", "echo"])?.len() == 1, "by both ends");
    ensure!(json("services", &["-A", "--from", "test/echo-0"])?.is_empty(), "echo calls nobody");
    let table = done(world, &["stat", "-n", "test", "-w", "500ms"], "")?;
    ensure!(table.starts_with("NAMESPACE  SERVICE  SUCCESS  RPS"), "{table}");
    fails(world, &["stat", "pods", "--from", "client"], "", 2, &["--from"])?;
    fails(world, &["stat", "-w", "1ms"], "", 2, &["500ms"])?;
    load.abort();
    Ok(())
}

async fn edges(world: &World) -> Outcome {
    let load = load(world)?;
    let said = done(world, &["edges", "-n", "test", "-w", "1s", "-o", "json"], "")?;
    load.abort();
    let edges: Vec<Value> = serde_json::from_str(&said)?;
    let edge = edges.iter().find(|edge| edge["to"]["service"] == "echo").with_context(|| said.clone())?;
    ensure!(edge["from"]["serviceAccount"] == "client" && edge["mtls"]["connections"].as_f64() > Some(0.0), "{edge}");
    ensure!(edge["mtls"]["plaintext"] == 0.0 && edge["requestsPerSecond"].as_f64() > Some(1.0), "{edge}");
    Ok(())
}

async fn log_level(world: &World) -> Outcome {
    ensure!(done(world, &["logs", "level", "test/client"], "")? == "info\n", "as it was started");
    let said = done(world, &["logs", "level", "client", "info,weft_proxy=trace"], "")?;
    ensure!(said == "client logs info,weft_proxy=trace (before: info)\n", "{said}");
    ensure!(done(world, &["logs", "level", "client"], "")? == "info,weft_proxy=trace\n", "it is in force");
    fails(world, &["logs", "level", "client", "loud=nonsense"], "", 1, &["loud=nonsense"])?;
    ensure!(done(world, &["logs", "level", "client", "info"], "")?.contains("before: info,weft_proxy=trace"), "kept");
    fails(world, &["logs", "level", "nobody"], "", 1, &["weftctl status"])
}

const ROUTE: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: marked, namespace: test }\n\
    spec:\n  parentRefs: [{ group: \"\", kind: Service, name: echo }]\n  rules:\n\
    \x20 - matches: [{ path: { type: PathPrefix, value: /echo } }]\n\
    \x20   filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: x-route, value: marked }] } }]\n\
    \x20   backendRefs: [{ name: echo, port: 80 }]\n\
    \x20 - backendRefs: [{ name: echo, port: 80 }]\n";

async fn route(world: &World) -> Outcome {
    let marked = |wanted: bool| {
        let started = Instant::now();
        let look = || {
            let said = curl(world.client(), &[&world.url("/echo")]).ok()?;
            (said.contains("marked") == wanted).then(|| started.elapsed())
        };
        poll_until(started + SOON, if wanted { "the route to take force" } else { "the route to go" }, look)
    };
    marked(false)?;
    let mut took = vec![];
    for _ in 0..3 {
        done(world, &["apply", "-f", "-"], ROUTE)?;
        took.push(marked(true)?);
        done(world, &["delete", "httproute", "marked", "-n", "test"], "")?;
        marked(false)?;
    }
    // The best of them: a busy machine may stand still for one.
    ensure!(took.iter().any(|took| took.as_millis() < 1000), "it took {took:?}");
    Ok(())
}

async fn judged(world: &World) -> Outcome {
    let led = ROUTE.replace("marked", "led");
    let led = led.replace("backendRefs: [{ name: echo, port: 80 }]", "backendRefs: [{ name: later, port: 80 }]");
    let rpc = "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: { name: rpc, namespace: test }\nspec: \
               { parentRefs: [{ group: '', kind: Service, name: nobody }], rules: [{ backendRefs: [{ name: far, namespace: other, port: 80 }] }] }\n";
    done(world, &["apply", "-f", "-"], &format!("{led}---\n{rpc}"))?;
    let says = |name: &str, words: &[&str]| {
        let mut table = String::new();
        let look = || {
            table = done(world, &["get", "routes", "-n", "test"], "").ok()?;
            let row = table.lines().find(|line| line.split_whitespace().nth(1) == Some(name))?;
            words.iter().all(|word| row.contains(word)).then_some(())
        };
        let found = poll_until(Instant::now() + SOON, "the conditions", look);
        found.with_context(|| format!("{name} never {words:?}: {table}"))
    };
    says("led", &["HTTPRoute", "True", "False: BackendNotFound"])?;
    says("rpc", &["GRPCRoute", "False: NoMatchingParent", "False: RefNotPermitted"])?;
    let of_one_kind = done(world, &["get", "httproutes", "-n", "test"], "")?;
    ensure!(of_one_kind.contains("led") && !of_one_kind.contains("rpc"), "{of_one_kind}");
    let json: Value =
        serde_json::from_str(&done(world, &["get", "httproute", "led", "-n", "test", "-o", "json"], "")?)?;
    let parent = &json["status"]["parents"][0];
    ensure!(parent["controllerName"] == "weft.dev/mesh" && parent["parentRef"]["name"] == "echo", "{parent}");
    let yaml = done(world, &["get", "httproute", "led", "-n", "test", "-o", "yaml"], "")?;
    ensure!(yaml.contains("reason: BackendNotFound"), "{yaml}");
    // What was printed can be applied again; what was missing comes later.
    ensure!(done(world, &["apply", "-f", "-"], &yaml)?.contains("unchanged"));
    done(world, &["apply", "-f", "-"], &SERVICE.replace("fresh", "later"))?;
    says("led", &["True", "True"])?;
    for (kind, name) in [("httproute", "led"), ("grpcroute", "rpc"), ("service", "later")] {
        done(world, &["delete", kind, name, "-n", "test"], "")?;
    }
    Ok(())
}

async fn routing_page(world: &World) -> Outcome {
    done(world, &["apply", "-f", "-"], &weft_tests::pages::example("routing", 0)?)?;
    let url = world.url("/");
    let says = |args: &[&str], word: &str| {
        let mut said = String::new();
        let look = || {
            said = curl(world.client(), args).unwrap_or_default();
            said.to_lowercase().contains(word).then_some(())
        };
        poll_until(Instant::now() + SOON, word, look).with_context(|| said.clone())
    };
    says(&["-i", "-H", "x-user: beta-1", &url], "x-rule: beta")?;
    says(&["-i", &world.url("/old/a")], "/new/a")?;
    // `later` does not exist: its tenth of the requests.
    says(&["-i", &url], "weft-reason: invalid-backend")?;
    says(&["-i", &url], "http/1.1 200")?;
    let table = done(world, &["get", "routes", "-n", "test"], "")?;
    ensure!(table.contains("False: BackendNotFound"), "{table}");
    done(world, &["delete", "httproute", "echo", "-n", "test"], "").map(drop)
}

async fn bad_documents(world: &World) -> Outcome {
    let policy = |spec: &str| {
        format!(
            "apiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{ name: bad, namespace: test }}\n\
             spec: {{ targetRefs: [{{ kind: Service, name: echo }}], {spec} }}\n"
        )
    };
    let regex = format!("path: {{ type: RegularExpression, value: '{}' }}", "x".repeat(1025));
    for (document, field) in [
        (ROUTE.replace("path: { type: PathPrefix, value: /echo }", &regex), "spec.rules[0].matches[0].path.value"),
        (policy("loadBalancer: { algorithm: fastest }"), "spec.loadBalancer.algorithm"),
        (policy("timeouts: { request: -5s }"), "spec.timeouts.request"),
        (policy("sessionAffinity: { cookie: { name: a, sameSite: None } }"), "spec.sessionAffinity.cookie.sameSite"),
        (policy("sessionAffinity: { cookie: { name: a, ttl: -1h } }"), "spec.sessionAffinity.cookie.ttl"),
    ] {
        fails(world, &["apply", "-f", "-"], &document, 1, &[field])?;
    }
    fails(world, &["get", "policy", "bad", "-n", "test"], "", 1, &["bad"])
}

async fn usage(world: &World) -> Outcome {
    for args in [&["frobnicate"][..], &["get"], &["apply"], &["proxy", "dump"]] {
        fails(world, args, "", 2, &["Usage"])?;
    }
    fails(world, &["get", "services", "-o", "xml"], "", 2, &["xml", "table", "--help"])
}

async fn unreachable(world: &World) -> Outcome {
    let program = Program::new(binary("weftctl")?).args(["--discovery", "unix:///nowhere/discovery.sock", "status"]);
    let output = world.mesh().node().run(program)?;
    ensure!(output.status.code() == Some(1), "{}", output.text());
    ensure!(output.stderr.contains("/nowhere/discovery.sock"), "{}", output.stderr);
    Ok(())
}
