//! Session affinity by cookie: a session stays on its replica, and moves once when that goes away.
//!
//! Three replicas and a policy that asks for affinity; `curl` keeps the cookies like a browser.

use anyhow::ensure;
use futures::future::try_join_all;
use std::collections::BTreeSet;
use std::process::ExitCode;
use weft_tests::client::Http1;
use weft_tests::{Outcome, Plan, Suite, World};

const POLICY: &str = "apiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: { name: sticky, namespace: test }\n\
                      spec:\n  targetRefs: [{ kind: Service, name: echo }]\n  sessionAffinity: { cookie: { name: stay } }\n";

fn main() -> ExitCode {
    Suite::on("meshed", || Plan::new().echo("echo", 3).documents(POLICY).client("client").start())
        .case("without a cookie requests spread, each with a cookie of its own", spread)
        .case("with the cookie a session stays", stays)
        .case("many sessions use all replicas", many_sessions)
        .case("an invented cookie is no key to a replica", invented)
        .case("when the replica dies the session moves once and stays", moves)
        .run()
}

/// Who answers, and the cookie that came with it.
async fn visit(client: &mut Http1, cookie: Option<&str>) -> anyhow::Result<(String, Option<String>)> {
    let cookie = cookie.map(|cookie| format!("cookie: theme=dark; {cookie}\r\n")).unwrap_or_default();
    let response = client.request(format!("GET /name HTTP/1.1\r\nhost: echo\r\n{cookie}\r\n")).await?;
    ensure!(response.status() == 200, "{response:?}");
    let set = response.head.header("set-cookie").filter(|set| set.starts_with("stay="));
    let set = set.map(|set| set.split(';').next().unwrap_or("").to_owned());
    Ok((response.text(), set))
}

/// Thirty clients without a cookie, all at once: one after the other could all be served best by the same replica.
async fn newcomers(world: &World) -> anyhow::Result<Vec<(String, Option<String>)>> {
    let visits = (0..30).map(|_| async {
        let mut client = Http1::dial(world.client(), world.echo(80))?;
        visit(&mut client, None).await
    });
    try_join_all(visits).await
}

async fn spread(world: &World) -> Outcome {
    world.wait_replicas("echo", &["echo-0", "echo-1", "echo-2"])?;
    let homes = newcomers(world).await?;
    ensure!(homes.iter().all(|(_, cookie)| cookie.is_some()), "no cookie: {homes:?}");
    let replicas: BTreeSet<_> = homes.iter().map(|(replica, _)| replica).collect();
    ensure!(replicas.len() == 3, "{replicas:?}");
    Ok(())
}

async fn stays(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let (home, cookie) = visit(&mut client, None).await?;
    for _ in 0..50 {
        let (replica, again) = visit(&mut client, cookie.as_deref()).await?;
        ensure!(replica == home, "from {home} to {replica}");
        ensure!(again.is_none(), "a second cookie: {again:?}");
    }
    Ok(())
}

async fn many_sessions(world: &World) -> Outcome {
    let mut homes = BTreeSet::new();
    for (home, cookie) in newcomers(world).await? {
        // A connection of its own does not matter; the cookie does.
        let mut other = Http1::dial(world.client(), world.echo(80))?;
        ensure!(visit(&mut other, cookie.as_deref()).await?.0 == home);
        homes.insert(home);
    }
    ensure!(homes.len() == 3, "{homes:?}");
    Ok(())
}

async fn invented(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    for cookie in ["stay=", "stay=echo-0", "stay=%00%ff", "stay=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
        let (_, set) = visit(&mut client, Some(cookie)).await?;
        ensure!(set.is_some(), "{cookie:?} was taken for one of ours");
    }
    Ok(())
}

async fn moves(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let (home, cookie) = visit(&mut client, None).await?;
    world.member(&home).kill();
    let (second, moved) = visit(&mut client, cookie.as_deref()).await?;
    ensure!(second != home && moved.is_some(), "{second}, {moved:?}");
    for _ in 0..30 {
        let (replica, again) = visit(&mut client, moved.as_deref()).await?;
        ensure!(replica == second && again.is_none(), "moved again, to {replica}");
    }
    Ok(())
}
