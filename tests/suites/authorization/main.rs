//! Who may call what: policies at the gate of the server's sidecar, seen from clients with and without one.
//!
//! Each case applies its own documents, waits until they hold, and takes them away again. The answers are the mesh's: status,
//! `weft-reason`, metric and log.

mod ask;
mod spellings;

use anyhow::{Context, ensure};
use ask::{Answer, DENY_ADMIN, Policies, ask, poll, until};
use std::io::ErrorKind;
use std::process::ExitCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weft_examples::mesh::get;
use weft_tests::client::{Http1, dial, exchange, grpc, patiently};
use weft_tests::grpc::Message;
use weft_tests::ports::{ECHO, GRPC, HTTP};
use weft_tests::{Outcome, Plan, Suite, World, pages};

fn main() -> ExitCode {
    Suite::on("meshed", || Plan::new().echo("echo", 1).client("client").client("cart").start())
        .case("the page's example lets in who it names", example)
        .case("the page's namespace policy is strict and closed", strict)
        .case("no spelling of a denied path passes in HTTP/1.1", spellings::http1)
        .case("no spelling of a denied path passes in HTTP/2", spellings::http2)
        .case("a path that is let in arrives as it was sent", spellings::unchanged)
        .case("an ALLOW policy without rules denies all", empty_allow)
        .case("a policy for another service means nothing here", other_target)
        .case("an address stands for a client without a sidecar", cidr)
        .case("an audit lets pass and counts", audit)
        .case("a change holds from an open connection's next request on", open_connection)
        .case("gRPC says permission denied", grpc_status)
        .case("an opaque connection is decided by client and port", opaque)
        .case("a policy with a fault leaves the old one in force", fault)
        .case("policies are listed and told to the proxy", listed)
        .case("a restarted proxy enforces what it knew while discovery is away", restarted)
        .run()
}

async fn example(world: &World) -> Outcome {
    let policies = Policies::apply(world, &pages::example("authorization", 0)?)?;
    until(world, "client", "/other", 403, "denied-by=test/readers").await?;
    ensure!(ask(world, "client", "/name").await?.status == 200);
    ensure!(ask(world, "client", "/public/a").await?.status == 200);
    let admin = ask(world, "client", "/admin/a").await?;
    ensure!(admin.is(403, "denied-by=test/no-admin"), "{admin:?}");
    let cart = ask(world, "cart", "/name").await?;
    ensure!(cart.is(403, "denied-by=test/readers"), "{cart:?}");
    let post = Http1::dial(world.client(), world.echo(80))?
        .request("POST /name HTTP/1.1\r\nhost: echo\r\ncontent-length: 2\r\n\r\nhi")
        .await?;
    ensure!(post.status() == 403, "{post:?}");

    let metrics = world.metrics("echo-0");
    let of = |policy| metrics.sum("weft_authorization_total", &[("policy", policy), ("outcome", "denied")]);
    ensure!(of("test/readers") >= 3.0 && of("test/no-admin") >= 1.0, "{} {}", of("test/readers"), of("test/no-admin"));
    let counted = [("direction", "inbound"), ("status", "403"), ("reason", "denied")];
    ensure!(metrics.sum("weft_requests_total", &counted) >= 4.0);
    // Lines are written by a thread of their own.
    poll("the log to say so", async || {
        let log = world.member("echo-0").with_proxy(|proxy| proxy.log()).context("a sidecar")?;
        Ok(log.contains("test/readers") && log.contains("spiffe://weft.local/ns/test/sa/cart"))
    })
    .await?;
    policies.delete().await
}

async fn strict(world: &World) -> Outcome {
    let stranger = world.mesh().bystander("test", "plain")?;
    let at = (world.pod("echo-0").ip(), HTTP).into();
    ensure!(get(&stranger, at, "/name")?.status == 200, "permissive by default");
    let policies = Policies::apply(world, &pages::example("authorization", 1)?)?;
    until(world, "client", "/name", 403, "denied-by=default").await?;
    let said = Http1::dial(&stranger, at)?.get("/name").await?;
    ensure!(said.status() == 403 && said.head.header("weft-reason") == Some("denied-by=mtls"), "{said:?}");
    let reset = exchange(&stranger, (world.pod("echo-0").ip(), ECHO).into(), b"\0opaque").await;
    ensure!(reset.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    let metrics = world.metrics("echo-0");
    ensure!(metrics.sum("weft_authorization_total", &[("policy", "mtls")]) >= 2.0);
    ensure!(metrics.sum("weft_connections_refused_total", &[("reason", "denied")]) >= 1.0);
    let open = "apiVersion: weft.dev/v1alpha1\nkind: NamespacePolicy\nmetadata: { name: default, namespace: test }\n\
                spec: { mtls: strict }\n";
    world.mesh().apply(open)?;
    until(world, "client", "/name", 200, "").await?;
    let said = Http1::dial(&stranger, at)?.get("/name").await?;
    ensure!(said.status() == 403, "{said:?}");
    policies.delete().await
}

fn allow(name: &str, more: &str) -> String {
    format!(
        "apiVersion: weft.dev/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {{ name: {name}, namespace: test }}\n\
         spec:\n  action: ALLOW\n{more}\n"
    )
}

async fn empty_allow(world: &World) -> Outcome {
    let policies = Policies::apply(world, &allow("nobody", "  rules: []"))?;
    until(world, "client", "/name", 403, "denied-by=test/nobody").await?;
    policies.delete().await
}

async fn other_target(world: &World) -> Outcome {
    let other = allow("other", "  targetRefs: [{ name: elsewhere }]");
    let here = allow("here", "  targetRefs: [{ name: echo }]");
    let policies = Policies::apply(world, &format!("{other}---\n{here}"))?;
    until(world, "client", "/name", 403, "denied-by=test/here").await?;
    world.mesh().weftctl(&["delete", "authorizationpolicy", "here", "-n", "test"])?;
    until(world, "client", "/name", 200, "").await?;
    policies.delete().await
}

async fn cidr(world: &World) -> Outcome {
    let stranger = world.mesh().bystander("test", "outside")?;
    let at = (world.pod("echo-0").ip(), HTTP).into();
    let rule = format!("  rules: [{{ from: [{{ cidrs: [\"{}/32\"] }}] }}]", stranger.ip());
    let policies = Policies::apply(world, &allow("outside", &rule))?;
    until(world, "client", "/name", 403, "denied-by=test/outside").await?;
    ensure!(get(&stranger, at, "/name")?.status == 200);
    policies.delete().await
}

async fn audit(world: &World) -> Outcome {
    let policies = Policies::apply(world, &DENY_ADMIN.replace("action: DENY", "action: DENY\n  mode: audit"))?;
    poll("the audit to count", async || {
        let passed = ask(world, "client", "/admin/x").await?;
        ensure!(passed.status == 200, "{passed:?}");
        let labels = [("policy", "test/no-admin"), ("outcome", "audited")];
        Ok(world.metrics("echo-0").sum("weft_authorization_total", &labels) > 0.0)
    })
    .await?;
    policies.delete().await
}

async fn open_connection(world: &World) -> Outcome {
    let mut open = Http1::dial(world.client(), world.echo(80))?;
    ensure!(open.get("/admin/x").await?.status() == 200);
    let policies = Policies::apply(world, DENY_ADMIN)?;
    until(world, "client", "/admin/x", 403, "denied-by=test/no-admin").await?;
    let next = open.get("/admin/x").await?;
    ensure!(next.status() == 403, "{next:?}");
    ensure!(open.get("/name").await?.status() == 200, "the connection is still good");
    policies.delete().await
}

async fn grpc_status(world: &World) -> Outcome {
    let method = "paths: [\"/weft.test.v1.Echo/*\"]";
    let policies = Policies::apply(world, &DENY_ADMIN.replace("paths: [\"/admin/*\"]", method))?;
    let mut client = grpc(world.client(), world.echo(GRPC)).await?;
    poll("the policy to hold", async || {
        let answer = client.unary(Message { text: "hi".to_owned(), ..Message::default() }).await;
        Ok(match answer {
            Ok(_) => false,
            Err(status) => {
                ensure!(status.code() == tonic::Code::PermissionDenied, "{status:?}");
                let reason = status.metadata().get("weft-reason").and_then(|value| value.to_str().ok());
                ensure!(reason == Some("denied-by=test/no-admin"), "{status:?}");
                true
            }
        })
    })
    .await?;
    policies.delete().await
}

async fn opaque(world: &World) -> Outcome {
    let mut open = dial(world.client(), world.echo(ECHO))?;
    patiently("an echo", async {
        open.write_all(b"before").await?;
        open.read_exact(&mut [0; 6]).await
    })
    .await?;
    let rule = format!(
        "  rules:\n    - from: [{{ namespaces: [test] }}]\n      to: [{{ ports: [{HTTP}] }}]\n    \
         - from: [{{ identities: [\"spiffe://weft.local/ns/test/sa/cart\"] }}]\n      to: [{{ ports: [{ECHO}] }}]"
    );
    let policies = Policies::apply(world, &allow("by-port", &rule))?;
    poll("the other client to be reset", async || {
        Ok(exchange(world.client(), world.echo(ECHO), b"hello").await.is_err())
    })
    .await?;
    ensure!(exchange(world.pod("cart"), world.echo(ECHO), b"hello").await? == b"hello");
    ensure!(ask(world, "client", "/name").await?.status == 200);
    // What is open stays.
    patiently("an echo", async {
        open.write_all(b"after").await?;
        open.read_exact(&mut [0; 5]).await
    })
    .await?;
    policies.delete().await
}

async fn fault(world: &World) -> Outcome {
    let policies = Policies::apply(world, DENY_ADMIN)?;
    until(world, "client", "/admin/x", 403, "denied-by=test/no-admin").await?;
    let refused = world.mesh().apply(&DENY_ADMIN.replace("/admin/*", "/adm*n")).expect_err("a path with a star inside");
    ensure!(refused.to_string().contains("spec.rules[0].to[0].paths[0]"), "{refused}");
    let still: Answer = ask(world, "client", "/admin/x").await?;
    ensure!(still.status == 403, "{still:?}");
    policies.delete().await
}

async fn listed(world: &World) -> Outcome {
    let policies = Policies::apply(world, DENY_ADMIN)?;
    let table = world.mesh().weftctl(&["get", "authorizationpolicies", "-n", "test"])?;
    ensure!(table.contains("no-admin") && table.contains("DENY") && table.contains("the whole namespace"), "{table}");
    until(world, "client", "/admin/x", 403, "denied-by=test/no-admin").await?;
    let dump = world.mesh().weftctl(&["proxy", "dump", "echo-0", "-n", "test"])?;
    ensure!(dump.contains("no-admin"), "{dump}");
    policies.delete().await?;
    let none = world.mesh().weftctl(&["get", "authorizationpolicies", "-n", "test", "-o", "json"])?;
    ensure!(none.trim() == "[]", "{none}");
    Ok(())
}

async fn restarted(world: &World) -> Outcome {
    let policies = Policies::apply(world, DENY_ADMIN)?;
    until(world, "client", "/admin/x", 403, "denied-by=test/no-admin").await?;
    let echo = world.member("echo-0");
    poll("the policy to be on disk", async || {
        let saved = std::fs::read_to_string(echo.state_dir().join("catalog.json"))?;
        Ok(saved.contains("no-admin"))
    })
    .await?;
    let replica = &world.mesh().discovery()[0];
    replica.kill();
    echo.kill_proxy();
    echo.start_proxy()?;
    until(world, "client", "/admin/x", 403, "denied-by=test/no-admin").await?;
    ensure!(ask(world, "client", "/name").await?.status == 200);
    replica.start_again()?;
    poll("discovery to be back", async || Ok(world.mesh().weftctl(&["get", "services"]).is_ok())).await?;
    policies.delete().await
}
