//! What an injected pod rests on: the sidecar sees whether the redirect is in place, and makes the kubelet's probes.
//!
//! Real sidecars in network namespaces; the node stands for the kubelet, outside the pod and without a certificate.

use anyhow::{Context, ensure};
use serde_json::json;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Instant;
use weft_examples::mesh::{PROXY_ADMIN_PORT, PROXY_UID, Reply, binary, get};
use weft_examples::pods::{Pod, Program, poll_until};
use weft_tests::ports::{self, GRPC, HTTP};
use weft_tests::world::SOON;
use weft_tests::{Outcome, Plan, Suite, World};

/// Nobody listens here.
const NOBODY: u16 = 9;

fn main() -> ExitCode {
    Suite::on("meshed", world)
        .case("a sidecar without its redirect is not ready and says why", unredirected)
        .case("who answers in the redirect's place is found out", stranger)
        .case("the redirect needs NET_ADMIN alone, legacy tables NET_RAW as well", capabilities)
        .case("wait ends when the sidecar is ready", wait)
        .case("the kubelet's probes and hooks pass where plaintext is refused", probes)
        .case("an opaque port is carried as bytes", opaque)
        .run()
}

fn world() -> anyhow::Result<World> {
    let probe = |action: serde_json::Value, port: u16| {
        let mut probe = action;
        probe["resolvedPort"] = port.into();
        probe["timeoutSeconds"] = 5.into();
        probe
    };
    let table = json!({
        "web/live": probe(json!({"httpGet": {"path": "/name", "port": "http"}}), HTTP),
        "web/ready": probe(json!({"httpGet": {"path": "/status/503", "port": HTTP}}), HTTP),
        "web/startup": probe(json!({"tcpSocket": {"port": HTTP}}), HTTP),
        "rpc/live": probe(json!({"grpc": {"port": GRPC}}), GRPC),
        "rpc/ready": probe(json!({"grpc": {"port": GRPC, "service": "nobody"}}), GRPC),
        "gone/live": probe(json!({"tcpSocket": {"port": NOBODY}}), NOBODY),
        "web/pre-stop": probe(json!({"httpGet": {"path": "/name", "port": "http"}, "hook": true}), HTTP),
        "web/post-start": probe(json!({"httpGet": {"path": "/status/503", "port": HTTP}, "hook": true}), HTTP),
    });
    let arg = format!("--application-probes={table}");
    let opaque = format!("--opaque-ports={}", ports::ECHO);
    Plan::new()
        .replica("echo", 0, |workload, server| (workload.proxy_arg(arg).proxy_arg(opaque), server))
        .documents(ports::service_document("test", "echo"))
        .client("client")
        .client("lone")
        .start()
}

fn redirect(pod: &Pod, action: &str) -> Outcome {
    let uid = PROXY_UID.to_string();
    let args: &[&str] =
        if action == "apply" { &["redirect", "apply", "--proxy-uid", &uid] } else { &["redirect", action] };
    pod.run_ok(Program::new(binary("weft-proxy")?).args(args))?;
    Ok(())
}

fn readyz(world: &World, name: &str) -> anyhow::Result<Reply> {
    let member = world.member(name);
    Ok(get(member.pod(), member.admin(), "/readyz")?)
}

/// Until `/readyz` says this.
fn until(world: &World, name: &str, status: u16, part: &str) -> Outcome {
    let mut said = String::new();
    let look = || {
        let reply = readyz(world, name);
        said = format!("{reply:?}");
        reply.is_ok_and(|reply| reply.status == status && reply.body.contains(part)).then_some(())
    };
    poll_until(Instant::now() + SOON * 4, "readiness", look).with_context(|| format!("{part:?} in {said}"))
}

async fn unredirected(world: &World) -> Outcome {
    let lone = world.member("lone");
    redirect(lone.pod(), "remove")?;
    lone.kill_proxy();
    lone.start_proxy()?;
    until(world, "lone", 503, "redirect: a connection to 127.0.0.1:15002 is not led to the proxy")?;
    let log = lone.with_proxy(|proxy| proxy.log()).context("a sidecar")?;
    ensure!(log.contains("the redirect is not in place: not ready"), "{log}");
    redirect(lone.pod(), "apply")?;
    until(world, "lone", 200, "ready")?;
    // IPv6 alone: half a redirect is none.
    let v6 = ["-w", "-t", "nat", "-F", "WEFT_OUTBOUND"];
    lone.pod().run_ok(Program::new("ip6tables").args(v6))?;
    until(world, "lone", 503, "redirect: a connection to [::1]:15002 ")?;
    redirect(lone.pod(), "apply")?;
    until(world, "lone", 200, "ready")
}

async fn stranger(world: &World) -> Outcome {
    let lone = world.member("lone");
    redirect(lone.pod(), "remove")?;
    let server = "import socket\ns = socket.create_server(('127.0.0.1', 15002))\nprint('up', flush=True)\n\
                  while True:\n    c, _ = s.accept()\n    c.sendall(b'weft-proxy ' + b'0' * 40)\n    c.close()\n";
    let server = lone.pod().spawn(Program::new("python3").args(["-c", server]).label("stranger"))?;
    server.wait_log("up", SOON)?;
    lone.kill_proxy();
    lone.start_proxy()?;
    until(world, "lone", 503, "redirect: 127.0.0.1:15002 is answered by somebody else")?;
    drop(server);
    redirect(lone.pod(), "apply")?;
    until(world, "lone", 200, "ready")
}

/// With exactly the capabilities that the injector gives, the redirect works; with fewer it does not.
async fn capabilities(world: &World) -> Outcome {
    let pod = world.network().pod("capable")?;
    let proxy = binary("weft-proxy")?.display().to_string();
    let apply = |backend: &str, capabilities: &str| -> anyhow::Result<bool> {
        let bounds = ["--bounding-set", capabilities, "--inh-caps", "-all", "--no-new-privs", &proxy];
        let program = Program::new("setpriv").args(bounds).args(["redirect", "apply", "--backend", backend]);
        Ok(pod.run(program)?.status.success())
    };
    ensure!(!apply("nft", "-all")?, "it needs something");
    ensure!(apply("nft", "-all,+net_admin")?, "nft with NET_ADMIN");
    ensure!(!apply("legacy", "-all,+net_admin")?, "legacy with NET_ADMIN alone: the documentation says otherwise");
    ensure!(apply("legacy", "-all,+net_admin,+net_raw")?, "legacy with NET_RAW as well");
    Ok(())
}

async fn wait(world: &World) -> Outcome {
    let waits = |pod: &Pod| -> anyhow::Result<weft_examples::pods::Output> {
        Ok(pod.run(Program::new(binary("weft-proxy")?).args(["wait", "--timeout", "300ms"]))?)
    };
    let ready = waits(world.client())?;
    ensure!(ready.status.success(), "{}", ready.text());
    let nobody = waits(&world.network().pod("nobody")?)?;
    ensure!(nobody.status.code() == Some(1) && nobody.stderr.contains("not ready after 300ms"), "{}", nobody.text());
    Ok(())
}

const STRICT: &str = "apiVersion: weft.dev/v1alpha1\nkind: NamespacePolicy\nmetadata: { name: default, namespace: test }\n\
                      spec: { mtls: strict }\n";

async fn probes(world: &World) -> Outcome {
    let (node, echo) = (world.network().node(), world.pod("echo-0"));
    world.mesh().apply(STRICT)?;
    let direct = SocketAddr::from((echo.ip(), HTTP));
    let refused = || get(node, direct, "/name").is_ok_and(|reply| reply.status == 403).then_some(());
    poll_until(Instant::now() + SOON, "plaintext to be refused", refused)?;
    let page = |page: &str| get(node, (echo.ip(), PROXY_ADMIN_PORT).into(), &format!("/application-probes/{page}"));
    let expected = [
        ("web/live", 200),
        ("web/ready", 503),
        ("web/startup", 200),
        ("rpc/live", 200),
        ("rpc/ready", 503),
        ("gone/live", 503),
        ("web/pre-stop", 200),
        ("web/post-start", 503),
        ("web/other", 404),
    ];
    for (name, status) in expected {
        let reply = page(name)?;
        ensure!(reply.status == status, "{name}: {reply:?}");
    }
    let down = page("gone/live")?;
    ensure!(down.body.starts_with(&format!("no connection to {}:{NOBODY}", echo.ip())), "{down:?}");
    world.member("echo-0").kill_application();
    let dead = page("web/live")?;
    ensure!(dead.status == 503, "{dead:?}");
    // The kubelet takes any answer to a hook for success; it is led to where no HTTP client can follow.
    let dead = page("web/pre-stop")?;
    let nowhere = format!("application-does-not-answer://{}:{HTTP}/name", echo.ip());
    ensure!(dead.status == 307 && dead.header("location") == Some(nowhere.as_str()), "{dead:?}");
    world.member("echo-0").start_application()?;
    let back = || page("web/live").is_ok_and(|reply| reply.status == 200).then_some(());
    poll_until(Instant::now() + SOON, "the application to be well again", back)?;
    let open = STRICT.replace("strict", "permissive");
    world.mesh().apply(&open)?;
    let taken = || get(node, direct, "/name").is_ok_and(|reply| reply.status == 200).then_some(());
    Ok(poll_until(Instant::now() + SOON, "plaintext to be taken", taken)?)
}

/// HTTP to a port that echoes bytes: looked at, it would get an answer of HTTP's.
async fn opaque(world: &World) -> Outcome {
    let node = world.network().node();
    let to = SocketAddr::from((world.pod("echo-0").ip(), ports::ECHO));
    let garbled = b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n";
    let answer = weft_tests::client::exchange(node, to, garbled).await?;
    ensure!(answer == garbled, "{:?}", String::from_utf8_lossy(&answer));
    Ok(())
}
