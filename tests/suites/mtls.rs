//! Between two sidecars everything is TLS 1.3 with both identities checked, and never anything less.
//!
//! Looks at the bytes from outside, tries to be an impostor, and reads what the application is told about its caller.

use anyhow::{Context, ensure};
use std::process::ExitCode;
use weft_examples::capture::Capture;
use weft_examples::mesh::Workload;
use weft_examples::pods::Program;
use weft_tests::client::{Http1, exchange};
use weft_tests::ports::{ECHO, HTTP};
use weft_tests::programs::curl;
use weft_tests::world::{NAMESPACE, SOON, server};
use weft_tests::{Outcome, Plan, Suite, World};

fn main() -> ExitCode {
    Suite::on("meshed", || Plan::new().echo("echo", 1).echo("impostor", 0).client("client").start())
        .case("nothing readable travels between pods", nothing_readable)
        .case("the application learns who called", caller_identity)
        .case("what a client claims about itself is removed", claims_are_removed)
        .case("certificates name the workload and end within a day", certificates)
        .case("an endpoint with another identity than its own is refused", impostor)
        .case("a meshed endpoint is never spoken to in the clear", never_plaintext)
        .case("a caller without a certificate is served as a stranger", plain_caller)
        .run()
}

const CLIENT: &str = "spiffe://weft.local/ns/test/sa/client";

async fn nothing_readable(world: &World) -> Outcome {
    let capture = Capture::start(world.network())?;
    // New connections, since only those are seen from their start.
    let other = world.mesh().join(Workload::new(NAMESPACE, "watched", "watched"))?;
    let said = curl(other.pod(), &["-d", "a secret of ours", &world.url("/echo")])?;
    ensure!(said.contains("a secret of ours"), "{said}");
    let back = exchange(other.pod(), world.echo(ECHO), b"another secret").await?;
    ensure!(back == b"another secret");
    let seen = capture.stop();
    ensure!(seen.connections > 0 && seen.encrypted > 0, "the capture saw nothing: {seen:?}");
    ensure!(seen.plaintext.is_empty(), "readable: {:?}", seen.plaintext);
    ensure!(seen.versions.keys().all(|version| version.contains("1.3")), "{:?}", seen.versions);
    ensure!(seen.alpn.keys().all(|protocols| protocols.contains("weft-")), "{:?}", seen.alpn);
    Ok(())
}

/// Every value of `x-forwarded-client-cert` that the application saw.
fn told(seen: &serde_json::Value) -> Vec<String> {
    let headers = seen["headers"].as_array().into_iter().flatten();
    let told = headers.filter(|pair| pair[0] == "x-forwarded-client-cert");
    told.map(|pair| pair[1].as_str().unwrap_or("").to_owned()).collect()
}

async fn caller_identity(world: &World) -> Outcome {
    let seen = Http1::dial(world.client(), world.echo(80))?.get("/echo").await?.json()?;
    let told = told(&seen);
    ensure!(told.len() == 1 && told[0].contains(&format!("URI={CLIENT}")), "{seen}");
    Ok(())
}

async fn claims_are_removed(world: &World) -> Outcome {
    let claim = "x-forwarded-client-cert: URI=spiffe://weft.local/ns/test/sa/admin";
    for name in [claim.to_owned(), claim.replace("x-f", "X-F")] {
        let request = format!("GET /echo HTTP/1.1\r\nhost: echo\r\n{name}\r\n\r\n");
        let seen = Http1::dial(world.client(), world.echo(80))?.request(request).await?.json()?;
        ensure!(!seen.to_string().contains("sa/admin"), "{seen}");
    }
    // Also when the caller has no sidecar that would remove it.
    let stranger = world.mesh().bystander(NAMESPACE, "claimant")?;
    let at = format!("http://{}:{HTTP}/echo", world.pod("echo-0").ip());
    let said = curl(&stranger, &["-H", claim, &at])?;
    ensure!(!said.contains("sa/admin"), "{said}");
    Ok(())
}

async fn certificates(world: &World) -> Outcome {
    let said = world.mesh().weftctl(&["get", "certificates", "-A", "-o", "json"])?;
    for account in ["client", "echo"] {
        ensure!(said.contains(&format!("spiffe://weft.local/ns/test/sa/{account}")), "{said}");
    }
    // What the sidecar shows to somebody who asks for the mesh's protocol.
    let stranger = world.mesh().bystander(NAMESPACE, "curious")?;
    let at = format!("{}:{HTTP}", world.pod("echo-0").ip());
    let ask = |more: &[&str]| {
        let openssl = Program::new("openssl").args(["s_client", "-connect", &at, "-alpn", "weft-http/1.1"]);
        stranger.run(openssl.args(more))
    };
    let shown = ask(&["-tls1_3", "-showcerts"])?;
    ensure!(shown.stdout.contains("BEGIN CERTIFICATE"), "{}", shown.text());
    let x509 = ["x509", "-noout", "-ext", "subjectAltName", "-checkend", "86400"];
    let read = stranger.run(Program::new("openssl").args(x509).input(shown.stdout))?;
    ensure!(read.stdout.contains("URI:spiffe://weft.local/ns/test/sa/echo"), "{}", read.text());
    ensure!(read.stdout.contains("will expire"), "it lasts longer than a day: {}", read.text());
    let old = ask(&["-tls1_2"])?;
    ensure!(!old.stdout.contains("BEGIN CERTIFICATE"), "TLS 1.2 was accepted: {}", old.text());
    Ok(())
}

/// An endpoint of the service `impostor`, described by hand: whoever is at `address` has to be `account`.
fn describe(name: &str, address: std::net::IpAddr, account: &str) -> String {
    format!(
        "apiVersion: weft.dev/v1alpha1\nkind: Endpoint\nmetadata: {{ name: {name}, namespace: {NAMESPACE} }}\n\
         spec: {{ service: impostor, addresses: [\"{address}\"], serviceAccount: {account} }}\n"
    )
}

/// What a client is told who dials the service whose only endpoint was described with `document`.
async fn refusal(world: &World, name: &str, document: String) -> anyhow::Result<(u16, String)> {
    world.mesh().apply(&document)?;
    let at = world.at("impostor", 80);
    let refused = async {
        loop {
            let mut client = Http1::dial(world.client(), at)?;
            let answer = client.get("/name").await?;
            let reason = answer.head.header("weft-reason").unwrap_or("").to_owned();
            // Until the proxy has heard of the endpoint.
            if reason != "no-endpoints" {
                return anyhow::Ok((answer.status(), reason));
            }
            tokio::task::yield_now().await;
        }
    };
    let outcome = tokio::time::timeout(SOON, refused).await.context("the endpoint never came");
    world.mesh().weftctl(&["delete", "endpoint", name, "-n", NAMESPACE])?;
    outcome?
}

async fn impostor(world: &World) -> Outcome {
    // A meshed pod with a perfectly good certificate, which is not the one that was promised.
    let document = describe("wolf", world.pod("echo-0").ip().into(), "grandmother");
    let (status, reason) = refusal(world, "wolf", document).await?;
    ensure!(
        (status, reason.as_str()) == (502, "peer-identity") || (status, reason.as_str()) == (503, "peer-identity"),
        "{status} {reason}"
    );
    Ok(())
}

async fn never_plaintext(world: &World) -> Outcome {
    let plain = world.mesh().bystander(NAMESPACE, "plain")?;
    let process = plain.spawn(server("plain"))?;
    process.wait_log("is ready", SOON)?;
    let (status, reason) = refusal(world, "naked", describe("naked", plain.ip().into(), "dressed")).await?;
    ensure!(status >= 500 && !reason.is_empty(), "{status} {reason}");
    Ok(())
}

async fn plain_caller(world: &World) -> Outcome {
    let stranger = world.mesh().bystander(NAMESPACE, "stranger")?;
    let said = curl(&stranger, &[&format!("http://{}:{HTTP}/echo", world.pod("echo-0").ip())])?;
    let seen: serde_json::Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    ensure!(seen["replica"] == "echo-0" && told(&seen).is_empty(), "{seen}");
    Ok(())
}
