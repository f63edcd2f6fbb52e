//! `weftctl check` against a mesh in which one thing after the other is made wrong: each is found, alone, with what to do.
//!
//! On a real etcd, so that its values can be spoilt and it can be taken away. What no later case can do without comes last.

mod older;

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use older::Older;
use serde_json::Value;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use weft_examples::etcd::EtcdCluster;
use weft_examples::mesh::{Options, PROXY_UID, Workload, binary};
use weft_examples::pods::{Network, Program, poll_until};
use weft_tests::programs::{curl, run};
use weft_tests::suite::Stage;
use weft_tests::world::NAMESPACE;
use weft_tests::{Outcome, Plan, Suite, World};

/// How long anything here may take to come about: leases lapse in 15 s, and machines stand still.
const LONG: Duration = Duration::from_secs(45);

struct Kept {
    world: World,
    etcd: Mutex<EtcdCluster>,
}

impl Stage for Kept {
    fn testimony(&self) -> String {
        self.world.testimony()
    }
}

fn start() -> anyhow::Result<Kept> {
    let network = Network::new()?;
    let etcd = EtcdCluster::start_on(network.node(), 1).context("etcd")?;
    let store = Some(format!("etcd:{}", etcd.endpoints().join(",")));
    let options = Options { store, ..Options::default() };
    let world = Plan::new().options(options).echo("echo", 4).client("client").start_on(network)?;
    Ok(Kept { world, etcd: Mutex::new(etcd) })
}

fn main() -> ExitCode {
    Suite::on("etcd", start)
        .case("all is well", all_is_well)
        .case("a redirect that was taken away", redirect)
        .case("policies for nobody, routes of nobody and to nobody", orphans)
        .case("a service that nobody serves", nobody_serves)
        .case("a proxy of another version is a warning, and one that cannot be asked a fault", another_version)
        .case("a value in the store that cannot be read", unreadable)
        .case("a proxy that hangs is behind and does not answer", hangs)
        .case("a replica that is not there, beside one that is", replica_away)
        .unless(lib().is_none().then(|| "there is no faketime here: Debian's package faketime".to_owned()))
        .case("a clock that is wrong here, and what it makes of certificates and anchors", clock_here)
        .case("a clock that is wrong in one pod", clock_there)
        .unless(None)
        .case("proxies that are gone, and the brake that keeps their endpoints", gone)
        .case("a store that does not answer", store_away)
        .run()
}

/// Every question, in its order.
const CHECKS: [&str; 17] = [
    "discovery",
    "ready",
    "store",
    "values",
    "brake",
    "anchors",
    "clocks",
    "certificates",
    "connected",
    "current",
    "answers",
    "redirects",
    "versions",
    "endpoints",
    "policies",
    "routes",
    "backends",
];

fn weftctl(kept: &Kept, args: &[&str]) -> anyhow::Result<Program> {
    Ok(kept.world.mesh().discovery()[0].weftctl_program()?.args(args))
}

/// The exit status and all findings.
fn findings(kept: &Kept) -> anyhow::Result<(Option<i32>, Vec<Value>)> {
    told(kept, weftctl(kept, &["check", "-o", "json"])?)
}

fn told(kept: &Kept, program: Program) -> anyhow::Result<(Option<i32>, Vec<Value>)> {
    let output = kept.world.network().node().run(program)?;
    let findings = serde_json::from_str(&output.stdout).with_context(|| output.text())?;
    Ok((output.status.code(), findings))
}

/// What is not ok: each question with its faults.
fn faults(findings: &[Value]) -> Vec<(&str, String)> {
    let wrong = findings.iter().filter(|finding| finding["result"] != "ok");
    wrong.map(|finding| (finding["check"].as_str().unwrap_or_default(), finding["faults"].to_string())).collect()
}

/// Looks until exactly these questions have faults that hold these words, with advice and an exit status to match.
fn finds(kept: &Kept, wanted: &[(&str, &str)]) -> Outcome {
    let mut said = vec![];
    let look = || {
        let (status, findings) = findings(kept).map_err(|error| said.push(error.to_string())).ok()?;
        let wrong = faults(&findings);
        said.push(format!("{status:?} {wrong:?}"));
        let alike = wrong.len() == wanted.len()
            && wrong
                .iter()
                .zip(wanted)
                .all(|((check, faults), (wanted, words))| check == wanted && faults.contains(words));
        let failed = findings.iter().any(|finding| finding["result"] == "failed");
        let helped = findings.iter().all(|finding| (finding["result"] == "ok") == finding["advice"].is_null());
        (alike && helped && status == Some(i32::from(failed))).then_some(())
    };
    let found = poll_until(Instant::now() + LONG, "the findings", look);
    said.dedup();
    found.with_context(|| format!("wanted {wanted:?}, got {said:#?}"))
}

async fn all_is_well(kept: &Kept) -> Outcome {
    curl(kept.world.client(), &[&kept.world.url("/name")])?;
    finds(kept, &[])?;
    let (_, findings) = findings(kept)?;
    let checks: Vec<_> = findings.iter().filter_map(|finding| finding["check"].as_str()).collect();
    ensure!(checks == CHECKS, "{checks:?}");
    let table = run(kept.world.network().node(), weftctl(kept, &["check"])?)?;
    ensure!(table.lines().filter(|line| line.starts_with("ok  ")).count() == CHECKS.len(), "{table}");
    ensure!(table.ends_with("\nall 17 checks passed\n"), "{table}");
    ensure!(table.contains("redirects are in place, tried just now (5)"), "{table}");
    let yaml = run(kept.world.network().node(), weftctl(kept, &["check", "-o", "yaml"])?)?;
    let parsed: Vec<Value> = serde_yaml_ng::from_str(&yaml)?;
    ensure!(parsed.len() == CHECKS.len() && parsed[0]["result"] == "ok", "{yaml}");
    Ok(())
}

async fn redirect(kept: &Kept) -> Outcome {
    let pod = kept.world.pod("echo-0");
    let redirect = || anyhow::Ok(Program::new(binary("weft-proxy")?).arg("redirect"));
    run(pod, redirect()?.arg("remove"))?;
    let seen = finds(kept, &[("redirects", "test/echo-0: a connection to 127.0.0.1:15002 is not led to the proxy")]);
    run(pod, redirect()?.args(["apply", "--proxy-uid", &PROXY_UID.to_string()]))?;
    seen?;
    finds(kept, &[])
}

const ORPHANS: &str = "apiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: { name: lost, namespace: test }\n\
    spec: { targetRefs: [{ kind: Service, name: nobody }], timeouts: { request: 5s } }\n---\n\
    apiVersion: weft.dev/v1alpha1\nkind: AuthorizationPolicy\nmetadata: { name: lost, namespace: test }\n\
    spec: { targetRefs: [{ kind: Service, name: nowhere }], action: DENY, rules: [{}] }\n---\n\
    apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: lost, namespace: test }\n\
    spec: { parentRefs: [{ group: '', kind: Service, name: nobody }], rules: [{ backendRefs: [{ name: echo, port: 80 }] }] }\n---\n\
    apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: led-astray, namespace: test }\n\
    spec: { parentRefs: [{ group: '', kind: Service, name: echo }], rules: [{ backendRefs: [{ name: nothing, port: 80 }] }] }\n";

async fn orphans(kept: &Kept) -> Outcome {
    kept.world.mesh().apply(ORPHANS)?;
    let seen = finds(
        kept,
        &[
            ("policies", "TrafficPolicy test/lost is for Service test/nobody, which does not exist"),
            ("routes", "HTTPRoute test/lost: "),
            ("backends", "HTTPRoute test/led-astray: spec.rules[0].backendRefs[0]: "),
        ],
    );
    let (_, findings) = findings(kept)?;
    for (kind, name) in
        [("policy", "lost"), ("authorizationpolicy", "lost"), ("httproute", "lost"), ("httproute", "led-astray")]
    {
        kept.world.mesh().weftctl(&["delete", kind, name, "-n", NAMESPACE])?;
    }
    seen?;
    ensure!(
        format!("{findings:?}").contains("AuthorizationPolicy test/lost is for Service test/nowhere"),
        "{findings:#?}"
    );
    finds(kept, &[])
}

async fn nobody_serves(kept: &Kept) -> Outcome {
    let service =
        "apiVersion: v1\nkind: Service\nmetadata: { name: empty, namespace: test }\nspec: { ports: [{ port: 80 }] }\n";
    kept.world.mesh().apply(service)?;
    let seen = finds(kept, &[("endpoints", "test/empty has none")]);
    kept.world.mesh().weftctl(&["delete", "service", "empty", "-n", NAMESPACE])?;
    seen
}

async fn another_version(kept: &Kept) -> Outcome {
    let older = Older::join(&kept.world, "older").await?;
    finds(kept, &[("answers", "test/older: "), ("versions", &format!("test/older is {}", older::VERSION))])?;
    let (_, findings) = findings(kept)?;
    let versions = findings.iter().find(|finding| finding["check"] == "versions").context("versions")?;
    ensure!(versions["result"] == "warning", "{versions}");
    drop(older);
    finds(kept, &[])
}

/// A call of etcd's own JSON API.
fn etcd(kept: &Kept, method: &str, key: &str, more: &str) -> Outcome {
    let endpoint = kept.etcd.lock().unwrap_or_else(PoisonError::into_inner).endpoints().remove(0);
    let body = format!(r#"{{"key":"{}"{more}}}"#, BASE64.encode(key));
    let url = format!("{endpoint}/v3/kv/{method}");
    run(kept.world.network().node(), Program::new("curl").args(["-sS", "--fail", "-d", &body, &url])).map(drop)
}

async fn unreadable(kept: &Kept) -> Outcome {
    let key = "/weft/services/test/spoilt";
    etcd(kept, "put", key, &format!(r#","value":"{}""#, BASE64.encode("garbage")))?;
    let seen = finds(kept, &[("values", "services/test/spoilt")]);
    etcd(kept, "deleterange", key, "")?;
    seen?;
    finds(kept, &[])
}

async fn hangs(kept: &Kept) -> Outcome {
    let client = kept.world.member("client");
    let policy = |seconds: u32| {
        format!(
            "apiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{ name: echo, namespace: test }}\n\
             spec: {{ targetRefs: [{{ kind: Service, name: echo }}], timeouts: {{ request: {seconds}s }} }}\n"
        )
    };
    // Discovery gives a silent stream up after 15 s, which a busy machine may take for one look: so more than one.
    let mut last = vec![];
    for attempt in 0..5 {
        curl(kept.world.client(), &[&kept.world.url("/name")])?;
        finds(kept, &[])?;
        client.with_proxy(|proxy| proxy.stop());
        kept.world.mesh().apply(&policy(100 + attempt))?;
        let looked = findings(kept);
        client.with_proxy(|proxy| proxy.cont());
        last = looked?.1;
        let wrong = faults(&last);
        if matches!(&wrong[..], [("current", late), ("answers", silent)] if late.contains("test/client") && silent.contains("test/client"))
        {
            kept.world.mesh().weftctl(&["delete", "policy", "echo", "-n", NAMESPACE])?;
            return finds(kept, &[]);
        }
    }
    bail!("never behind and silent: {last:#?}")
}

async fn replica_away(kept: &Kept) -> Outcome {
    let program = weftctl(kept, &["--discovery", "unix:///nowhere/other.sock", "check", "-o", "json"])?;
    let (status, findings) = told(kept, program)?;
    ensure!(status == Some(1), "{status:?}");
    ensure!(
        matches!(&faults(&findings)[..], [("discovery", why)] if why.contains("/nowhere/other.sock")),
        "{findings:#?}"
    );
    ensure!(findings.iter().any(|finding| finding["check"] == "redirects"), "the rest is looked at all the same");
    Ok(())
}

/// The library that makes programs see another time.
fn lib() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    folders.map(|folder| folder.path().join("faketime/libfaketime.so.1")).find(|path| path.is_file())
}

fn at(program: Program, offset: &str) -> anyhow::Result<Program> {
    let lib = lib().context("no faketime")?;
    Ok(program.env("LD_PRELOAD", lib).env("FAKETIME", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1"))
}

async fn clock_here(kept: &Kept) -> Outcome {
    let later = |offset: &str| {
        let (status, findings) = told(kept, at(weftctl(kept, &["check", "-o", "json"])?, offset)?)?;
        ensure!(status == Some(1), "{offset}: {status:?}");
        anyhow::Ok(findings)
    };
    let hour = later("+1h")?;
    let clocks = faults(&hour);
    ensure!(
        matches!(&clocks[..], [("clocks", off)] if off.contains("this machine is 1h ahead of discovery-0")
        || off.contains("this machine is 59m59s ahead of discovery-0")),
        "{clocks:?}"
    );
    let day = later("+22h")?;
    ensure!(
        faults(&day).iter().any(|(check, late)| *check == "certificates" && late.contains("test/client ends in")),
        "{day:#?}"
    );
    let years = later("+3640d")?;
    let checks: Vec<_> = faults(&years).into_iter().map(|(check, _)| check).collect();
    ensure!(checks == ["anchors", "clocks", "certificates"], "{years:#?}");
    Ok(())
}

async fn clock_there(kept: &Kept) -> Outcome {
    let lib = lib().context("no faketime")?;
    let workload = Workload::new(NAMESPACE, "early", "early")
        .proxy_env("LD_PRELOAD", lib.to_str().context("a plain path")?)
        .proxy_env("FAKETIME", "+90s")
        .proxy_env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let early = kept.world.mesh().join(workload)?;
    let seen = finds(kept, &[("clocks", "test/early is 1m")]);
    drop(early);
    seen?;
    finds(kept, &[])
}

async fn gone(kept: &Kept) -> Outcome {
    for replica in 0..4 {
        kept.world.member(&format!("echo-{replica}")).kill();
    }
    // Their leases are in force for some seconds yet; then they lapse all at once, which looks like anything but four deaths.
    let waits = |check: &str, words: &str| {
        let mut said = vec![];
        let look = || {
            said = findings(kept).map(|(_, findings)| findings).unwrap_or_default();
            faults(&said).iter().any(|(wrong, why)| *wrong == check && why.contains(words)).then_some(())
        };
        poll_until(Instant::now() + LONG, check, look).with_context(|| format!("{said:#?}"))
    };
    waits("connected", "test/echo-3")?;
    waits("brake", "test/echo")
}

async fn store_away(kept: &Kept) -> Outcome {
    kept.etcd.lock().unwrap_or_else(PoisonError::into_inner).kill(0)?;
    let mut said = vec![];
    let look = || {
        let (status, findings) = findings(kept).ok()?;
        said = findings;
        let found = faults(&said).iter().any(|(check, why)| *check == "store" && why.contains("does not answer"));
        (found && status == Some(1)).then_some(())
    };
    poll_until(Instant::now() + LONG, "the store to be missed", look).with_context(|| format!("{said:#?}"))
}
