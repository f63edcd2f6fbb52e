//! What is told of the other end, and what real requests meet there: over HTTP/1.1, gRPC and TCP.
//!
//! Policies are for echo-v2 alone, and gone when the case is over.

use super::{asked, explained, weftctl};
use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Request;
use serde_json::Value;
use std::time::Instant;
use weft_examples::pods::poll_until;
use weft_tests::client::{Http2, exchange};
use weft_tests::ports::ECHO;
use weft_tests::world::SOON;
use weft_tests::{Outcome, World};

fn policy(name: &str, more: &str) -> String {
    format!(
        "apiVersion: weft.dev/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {{ name: {name}, namespace: test }}\nspec:\n\
         \x20 targetRefs: [{{ kind: Service, name: echo-v2 }}]\n{more}"
    )
}

/// What the endpoint of echo-v2 says about `path` on `port`.
fn ruled(world: &World, port: u16, path: &str, more: &[&str]) -> anyhow::Result<(Value, Value)> {
    let url = format!("http://echo-v2.test:{port}{path}");
    let args = [&["explain", "--from", "client", "--to", &url, "-o", "json"], more].concat();
    let output = weftctl(world, &args)?;
    ensure!(output.status.success(), "weftctl {args:?}: {}", output.text());
    let said: Value = serde_json::from_str(&output.stdout)?;
    let access = &said["ways"][0]["access"];
    ensure!(access["endpoint"] == "echo-v2-0", "{said:#}");
    Ok((access["ruling"].clone(), said["outcome"].clone()))
}

/// Applies `documents` and waits until the ruling about GET / is `wanted`.
fn until_ruled(world: &World, documents: &str, wanted: &Value) -> Outcome {
    if !documents.is_empty() {
        world.mesh().apply(documents)?;
    }
    let mut last = None;
    let ruled = || {
        last = Some(ruled(world, 80, "/", &[]));
        matches!(&last, Some(Ok((ruling, _))) if ruling == wanted).then_some(())
    };
    poll_until(Instant::now() + SOON, "the ruling", ruled).with_context(|| format!("{last:?} instead of {wanted}"))?;
    Ok(())
}

/// Whether real requests over HTTP/1.1, gRPC and TCP meet what is said of each.
async fn meets(world: &World, path: &str) -> Outcome {
    let (ruling, outcome) = ruled(world, 80, path, &["-H", "user: ann"])?;
    let real = asked(world, "echo-v2", path, &["user: ann"]).await?;
    let agrees = match ruling.get("refused") {
        Some(refused) => {
            let (answer, told) = (&refused["answer"], real.head.header("weft-reason"));
            let named = refused["policy"].as_str().map(|policy| format!("denied-by={policy}"));
            outcome["refused"] == *answer
                && answer["status"] == real.status()
                && answer["reason"].as_str() == told
                && named.is_none_or(|named| told == Some(&named))
        }
        None => outcome == "forwarded" && real.status() == 200,
    };
    ensure!(agrees, "{path}: {ruling:#}, and then came {real:?}");

    let (ruling, _) = ruled(world, 9090, "/", &["--grpc", "weft.test.Echo/None"])?;
    let request = Request::builder().method("POST").uri("http://echo-v2.test/weft.test.Echo/None");
    let request = request.header("content-type", "application/grpc").body(())?;
    let client = Http2::dial(world.client(), world.at("echo-v2", 9090)).await?;
    let real = client.send(request, Bytes::new(), None).await?;
    let told = real.headers.get("weft-reason").and_then(|told| told.to_str().ok());
    ensure!(ruling["refused"]["answer"]["reason"].as_str() == told, "{ruling:#}, and then came {real:?}");
    ensure!(told.is_none() || real.headers.get("grpc-status").is_some_and(|status| status == "7"), "{real:?}");

    let (ruling, _) = ruled(world, ECHO, "/", &[])?;
    let reset = exchange(world.client(), world.at("echo-v2", ECHO), b"hello").await.is_err();
    ensure!(ruling.get("refused").is_some() == reset, "{ruling:#}, reset: {reset}");
    ensure!(ruling["refused"]["answer"].is_null(), "{ruling:#}");
    Ok(())
}

pub async fn decides(world: &World) -> Outcome {
    let allowed =
        |policy: &str, audit: Option<&str>| serde_json::json!({"allowed": {"policy": policy, "audit": audit}});
    let mine = "spiffe://weft.local/ns/test/sa/client";
    let rules = format!("  rules:\n  - from: [{{ identities: [\"{mine}\"] }}]\n    to: [{{ ports: [8080] }}]\n");
    let deny = policy("no-admin", "  action: DENY\n  rules: [{ to: [{ ports: [8080], paths: [\"/admin/*\"] }] }]\n");
    let trial = policy("trial", "  action: DENY\n  mode: audit\n  rules: [{}]\n");
    ensure!(ruled(world, 80, "/", &[])?.0 == "open");
    for (documents, wanted) in [
        (deny, allowed("default", None)),
        (policy("readers", &format!("  action: ALLOW\n{rules}")), allowed("test/readers", None)),
        (trial, allowed("test/readers", Some("test/trial"))),
    ] {
        until_ruled(world, &documents, &wanted)?;
        for path in ["/", "/admin/a", "/admin%2fa", "/a%00/../b"] {
            meets(world, path).await?;
        }
    }
    let url = "http://echo-v2.test/admin/a";
    let table = weftctl(world, &["explain", "--from", "client", "--to", url])?.stdout;
    ensure!(table.contains("\naccess    denied at echo-v2-0 by policy test/no-admin: refused: 403"), "{table}");
    ensure!(table.contains("\nresult    refused: 403, weft-reason: denied-by=test/no-admin"), "{table}");
    let audited = world.metrics("echo-v2-0");
    let before = audited.sum("weft_authorization_total", &[]);
    ruled(world, 80, "/admin/a", &[])?;
    ensure!(world.metrics("echo-v2-0").sum("weft_authorization_total", &[]) == before, "a question is counted");

    for name in ["no-admin", "readers", "trial"] {
        world.mesh().weftctl(&["delete", "authorizationpolicy", name, "-n", "test"])?;
    }
    let closed = "apiVersion: weft.dev/v1alpha1\nkind: NamespacePolicy\nmetadata: { name: default, namespace: test }\n\
        spec: { defaultAction: DENY }\n";
    let answer =
        serde_json::json!({"status": 403, "reason": "denied-by=default", "text": "not allowed (denied by default)"});
    until_ruled(world, closed, &serde_json::json!({"refused": {"policy": "default", "answer": answer}}))?;
    meets(world, "/").await?;
    world.mesh().weftctl(&["delete", "namespacepolicy", "default", "-n", "test"])?;
    until_ruled(world, "", &Value::from("open"))
}

pub async fn unasked(world: &World) -> Outcome {
    let address = world.pod("echo-v1-0").ip();
    for (name, account, ruling, words) in [
        ("bare", "", "no-sidecar", "bare-0 has no sidecar: nobody decides"),
        (
            "claimed",
            "serviceAccount: claimed",
            "unknown",
            "proxy test/claimed-0 is not connected to the replicas asked",
        ),
    ] {
        world.mesh().apply(&format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: test }}\n\
             spec: {{ ports: [{{ name: http, port: 80, targetPort: 8080 }}] }}\n---\n\
             apiVersion: weft.dev/v1alpha1\nkind: Endpoint\nmetadata: {{ name: {name}-0, namespace: test }}\n\
             spec:\n  service: {name}\n  addresses: [\"{address}\"]\n  {account}\n"
        ))?;
        let url = format!("http://{name}.test/");
        let mut said = Value::Null;
        let known = || {
            said = explained(world, &url, &[]).ok()?;
            said["ways"][0]["access"].is_object().then_some(())
        };
        poll_until(Instant::now() + SOON, "the endpoint to be known", known).with_context(|| format!("{said:#}"))?;
        let told = &said["ways"][0]["access"]["ruling"];
        ensure!(told == ruling || told.get(ruling).is_some(), "{said:#}");
        ensure!(said["outcome"] == "forwarded", "{said:#}");
        let table = weftctl(world, &["explain", "--from", "client", "--to", &url])?.stdout;
        ensure!(table.split_whitespace().collect::<Vec<_>>().join(" ").contains(words), "{table}");
    }
    Ok(())
}
