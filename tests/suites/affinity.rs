//! Session affinity: a session stays on its replica, moves once when that goes away, and is nobody's to invent.
//!
//! Three replicas of `echo` under the page's own policy. `front`, `stable`, `canary` and `herd` have endpoints that are written as
//! documents and lead to the same three, so that cases can take them away; `front` has the page's own route.

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Instant;
use weft_examples::pods::{Program, poll_until};
use weft_tests::client::{Http1, grpc};
use weft_tests::grpc::Message;
use weft_tests::pages::example;
use weft_tests::ports::{self, service_document};
use weft_tests::world::SOON;
use weft_tests::{Outcome, Plan, Suite, World};

/// Sessions of a service, sessions of a rule.
const POLICY: usize = 0;
const ROUTE: usize = 1;

const HERD: &str = "apiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: { name: herd, namespace: test }\n\
                    spec:\n  targetRefs: [{ kind: Service, name: herd }]\n  loadBalancer: { algorithm: random }\n  \
                    sessionAffinity: { cookie: { name: stay, sameSite: None, secure: true, path: /name, ttl: 1h } }\n";

const IDLE: &str = "apiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: { name: idle, namespace: test }\n\
                    spec:\n  targetRefs: [{ kind: Service, name: idle }]\n  loadBalancer: { algorithm: random }\n  \
                    sessionAffinity: { cookie: { name: stay, idleTimeout: 3s } }\n";

const RPC: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: { name: rpc, namespace: test }\nspec:\n  \
                   parentRefs: [{ group: '', kind: Service, name: rpc, port: 9090 }]\n  rules:\n  \
                   - sessionPersistence: { type: Header, sessionName: X-Call, absoluteTimeout: 1h }\n    \
                   backendRefs: [{ name: rpc, port: 9090 }]\n";

fn main() -> ExitCode {
    Suite::on("meshed", world)
        .case("without a cookie requests spread, each with a cookie of its own", spread)
        .case("with the cookie a session stays", stays)
        .case("many sessions use all replicas", many_sessions)
        .case("an invented cookie is no key to a replica", invented)
        .case("a cookie says nothing, and has the attributes asked for", opaque)
        .case("a new endpoint takes no session; a drained one keeps its own until it is gone", drained)
        .case("a session of a rule stays on its side of a split, whatever becomes of the weights", split)
        .case("a session in a header, and one that ends", header_and_end)
        .case("a session that is used goes on, and one that idles too long ends", idles)
        .case("calls of a GRPCRoute's rule have sessions", calls)
        .case("sessions outlive a restart of the proxy while discovery is away", restart)
        .case("when the replica dies the session moves once and stays", moves)
        .run()
}

fn world() -> anyhow::Result<World> {
    let services = ["front", "stable", "canary", "herd", "idle", "rpc"].map(|name| service_document("test", name));
    let documents =
        [example("affinity", POLICY)?, HERD.to_owned(), IDLE.to_owned(), RPC.to_owned()].into_iter().chain(services);
    let plan = documents.fold(Plan::new().echo("echo", 3).client("client"), Plan::documents);
    let world = plan.start()?;
    let everywhere = ["idle", "rpc"].into_iter().flat_map(|service| (0..3).map(move |n| (service, n)));
    let endpoints = [("stable", 0), ("canary", 1), ("canary", 2)].into_iter().chain(everywhere);
    let endpoints: Vec<String> = endpoints.map(|(service, n)| endpoint(&world, service, n, 1)).collect();
    apply(&world, &endpoints.join("---\n"))?;
    apply(&world, &example("affinity", ROUTE)?)?;
    Ok(world)
}

/// The `n`th replica of `echo` as an endpoint of `service`.
fn endpoint(world: &World, service: &str, n: u32, weight: u32) -> String {
    let ip = world.pod(&format!("echo-{n}")).ip();
    format!(
        "apiVersion: weft.dev/v1alpha1\nkind: Endpoint\nmetadata: {{ name: {service}-{n}, namespace: test }}\nspec: \
         {{ service: {service}, addresses: [{ip}], ports: {{ http: {} }}, serviceAccount: echo, weight: {weight} }}\n",
        ports::HTTP
    )
}

fn apply(world: &World, yaml: &str) -> Outcome {
    world.mesh().apply(yaml).map(drop).map_err(Into::into)
}

/// Who answers, and the cookie `stay` that came with it.
async fn visit(client: &mut Http1, cookie: Option<&str>) -> anyhow::Result<(String, Option<String>)> {
    visit_as(client, "stay", cookie).await
}

async fn visit_as(client: &mut Http1, name: &str, cookie: Option<&str>) -> anyhow::Result<(String, Option<String>)> {
    let cookie = cookie.map(|cookie| format!("cookie: theme=dark; {cookie}\r\n")).unwrap_or_default();
    let response = client.request(format!("GET /name HTTP/1.1\r\nhost: echo\r\n{cookie}\r\n")).await?;
    ensure!(response.status() == 200, "{response:?}");
    let set = response.head.header("set-cookie").filter(|set| set.starts_with(&format!("{name}=")));
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
    let (mut replicas, deadline) = (BTreeSet::new(), Instant::now() + SOON);
    while replicas.len() < 3 {
        ensure!(Instant::now() < deadline, "{replicas:?}");
        let homes = newcomers(world).await?;
        ensure!(homes.iter().all(|(_, cookie)| cookie.is_some()), "no cookie: {homes:?}");
        replicas.extend(homes.into_iter().map(|(replica, _)| replica));
    }
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
    let (mut homes, deadline) = (BTreeSet::new(), Instant::now() + SOON);
    // A replica that a busy machine has just held up gets no newcomers for a moment.
    while homes.len() < 3 {
        ensure!(Instant::now() < deadline, "{homes:?}");
        for (home, cookie) in newcomers(world).await? {
            // A connection of its own does not matter; the cookie does.
            let mut other = Http1::dial(world.client(), world.echo(80))?;
            ensure!(visit(&mut other, cookie.as_deref()).await?.0 == home);
            homes.insert(home);
        }
    }
    Ok(())
}

async fn invented(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let (_, own) = visit(&mut client, None).await?;
    let own = own.context("no cookie")?;
    let value = own.trim_start_matches("stay=");
    // One letter of each part: the key's number, the nonce, what is sealed, the seal.
    let forged = [2, 10, 40, 70].map(|at| {
        let other = if &value[at..=at] == "A" { "B" } else { "A" };
        format!("stay={}{other}{}", &value[..at], &value[at + 1..])
    });
    let simple = ["stay=", "stay=echo-0", "stay=%00%ff", &own[..own.len() - 4]].map(str::to_owned);
    for cookie in simple.iter().chain(&forged) {
        let (_, set) = visit(&mut client, Some(cookie)).await?;
        ensure!(set.is_some(), "{cookie:?} was taken for one of ours");
    }
    // A token of one service's sessions leads nowhere in another's.
    let mut other = Http1::dial(world.client(), world.at("front", 80))?;
    ensure!(visit_as(&mut other, "stay", Some(&own)).await?.1.is_none(), "front has no such sessions");
    Ok(())
}

async fn opaque(world: &World) -> Outcome {
    apply(world, &endpoint(world, "herd", 0, 1))?;
    world.wait_served("herd")?;
    let mut client = Http1::dial(world.client(), world.at("herd", 80))?;
    let response = client.request("GET /name HTTP/1.1\r\nhost: herd\r\n\r\n").await?;
    let set = response.head.header("set-cookie").context("no cookie")?.to_owned();
    ensure!(set.ends_with("; Path=/name; Max-Age=3600; HttpOnly; SameSite=None; Secure"), "{set}");
    let ip = world.pod("echo-0").ip().to_string();
    ensure!(["echo", "herd", "test", ip.as_str()].iter().all(|word| !set.contains(word)), "{set}");
    let mut second = Http1::dial(world.client(), world.at("herd", 80))?;
    let response = second.request("GET /name HTTP/1.1\r\nhost: herd\r\n\r\n").await?;
    let other = response.head.header("set-cookie").context("no cookie")?;
    let same = set.bytes().zip(other.bytes()).skip("stay=".len() + 6).take(68).filter(|(a, b)| a == b).count();
    ensure!(same < 20, "two cookies for the same endpoint look alike: {set} and {other}");
    Ok(())
}

/// New sessions of `service`, by replica and cookie.
async fn sessions(world: &World, service: &str, count: usize) -> anyhow::Result<Vec<(String, String)>> {
    let begin = (0..count).map(|_| async {
        let mut client = Http1::dial(world.client(), world.at(service, 80))?;
        let (replica, cookie) = visit(&mut client, None).await?;
        anyhow::Ok((replica, cookie.context("no cookie")?))
    });
    try_join_all(begin).await
}

async fn drained(world: &World) -> Outcome {
    let both = [endpoint(world, "herd", 0, 1), endpoint(world, "herd", 1, 1)].join("---\n");
    apply(world, &both)?;
    world.wait_replicas("herd", &["echo-0", "echo-1"])?;
    let held = sessions(world, "herd", 30).await?;
    apply(world, &endpoint(world, "herd", 2, 1))?;
    world.wait_replicas("herd", &["echo-0", "echo-1", "echo-2"])?;
    let stay = async |gone: &str| {
        for (home, cookie) in held.iter().filter(|(home, _)| home != gone) {
            let mut client = Http1::dial(world.client(), world.at("herd", 80))?;
            let (replica, again) = visit(&mut client, Some(cookie)).await?;
            ensure!(replica == *home && again.is_none(), "from {home} to {replica}");
        }
        anyhow::Ok(())
    };
    stay("").await?;
    apply(world, &endpoint(world, "herd", 0, 0))?;
    let deadline = Instant::now() + SOON;
    while sessions(world, "herd", 20).await?.iter().any(|(home, _)| home == "echo-0") {
        ensure!(Instant::now() < deadline, "a drained endpoint still gets new sessions");
    }
    stay("").await?;
    world.mesh().weftctl(&["delete", "endpoint", "herd-0", "-n", "test"])?;
    let (_, cookie) = held.iter().find(|(home, _)| home == "echo-0").context("nobody was on echo-0")?;
    let mut client = Http1::dial(world.client(), world.at("herd", 80))?;
    let moved = loop {
        if let (replica, Some(moved)) = visit(&mut client, Some(cookie)).await? {
            break (replica, moved);
        }
        ensure!(Instant::now() < deadline + SOON, "the session does not leave an endpoint that is gone");
    };
    for _ in 0..30 {
        let (replica, again) = visit(&mut client, Some(&moved.1)).await?;
        ensure!(replica == moved.0 && again.is_none(), "moved again, to {replica}");
    }
    stay("echo-0").await
}

async fn split(world: &World) -> Outcome {
    world.wait_served("front")?;
    let mut client = Http1::dial(world.client(), world.at("front", 80))?;
    let (mut canary, mut stable) = (None, 0);
    for _ in 0..200 {
        let (replica, cookie) = visit_as(&mut client, "checkout", None).await?;
        match replica.as_str() {
            "echo-0" => stable += 1,
            _ => canary = Some((replica, cookie.context("no cookie")?)),
        }
    }
    ensure!((140..200).contains(&stable), "{stable} of 200 went to the backend with 90 %");
    let (home, cookie) = canary.context("nobody went to the canary")?;
    let stays = async |client: &mut Http1| {
        for _ in 0..50 {
            let (replica, again) = visit_as(client, "checkout", Some(&cookie)).await?;
            ensure!(replica == home && again.is_none(), "from {home} to {replica}");
        }
        anyhow::Ok(())
    };
    stays(&mut client).await?;
    // GEP-1619: a session keeps its backend even when that has no weight any more.
    let route = example("affinity", ROUTE)?;
    apply(world, &route.replace("weight: 10", "weight: 0"))?;
    let deadline = Instant::now() + SOON;
    let mut row = 0;
    while row < 100 {
        row = if visit_as(&mut client, "checkout", None).await?.0 == "echo-0" { row + 1 } else { 0 };
        ensure!(Instant::now() < deadline, "the canary still gets new sessions");
    }
    stays(&mut client).await?;
    apply(world, &route)
}

async fn header_and_end(world: &World) -> Outcome {
    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: herd, namespace: test }\nspec:\n  \
                 parentRefs: [{ group: '', kind: Service, name: herd }]\n  rules:\n  - matches: [{ headers: [{ name: x-end, value: soon }] }]\n    \
                 sessionPersistence: { type: Header, sessionName: X-Session, absoluteTimeout: 2s }\n    backendRefs: [{ name: canary, port: 80 }]\n  \
                 - sessionPersistence: { type: Header, sessionName: X-Session, idleTimeout: 1h }\n    backendRefs: [{ name: canary, port: 80 }]\n";
    apply(world, route)?;
    let mut client = Http1::dial(world.client(), world.at("herd", 80))?;
    let deadline = Instant::now() + SOON;
    let mut ask = async |fields: String| {
        let response = client.request(format!("GET /name HTTP/1.1\r\nhost: herd\r\n{fields}\r\n")).await?;
        anyhow::Ok((response.text(), response.head.header("x-session").map(str::to_owned)))
    };
    let (home, token) = loop {
        if let (home, Some(token)) = ask(String::new()).await? {
            break (home, token);
        }
        ensure!(Instant::now() < deadline, "no session in a header");
    };
    for _ in 0..30 {
        let (replica, _) = ask(format!("x-session: {token}\r\n")).await?;
        ensure!(replica == home, "from {home} to {replica}");
    }
    // The end is in the token, whatever the client does with it.
    let begun = Instant::now();
    let (_, short) = ask("x-end: soon\r\n".to_owned()).await?;
    let short = short.context("no session in a header")?;
    while ask(format!("x-end: soon\r\nx-session: {short}\r\n")).await?.1.is_none() {
        ensure!(begun.elapsed() < SOON, "a session that should have ended");
    }
    ensure!(begun.elapsed().as_millis() > 900, "ended after {:?}", begun.elapsed());
    world.mesh().weftctl(&["delete", "httproute", "herd", "-n", "test"])?;
    Ok(())
}

async fn idles(world: &World) -> Outcome {
    world.wait_replicas("idle", &["echo-0", "echo-1", "echo-2"])?;
    let mut client = Http1::dial(world.client(), world.at("idle", 80))?;
    let mut pace = tokio::time::interval(std::time::Duration::from_millis(200));
    let deadline = Instant::now() + SOON + SOON;
    // For 7 s, which is longer than a session lasts that nobody uses. Begins anew when the machine has stood still for that long.
    let (home, cookie, sealed) = 'stays: loop {
        let (begun, mut sealed) = (Instant::now(), Instant::now());
        let (home, cookie) = visit(&mut client, None).await?;
        let mut cookie = cookie.context("no cookie")?;
        while begun.elapsed().as_secs() < 7 {
            pace.tick().await;
            let asked = Instant::now();
            let (replica, renewed) = visit(&mut client, Some(&cookie)).await?;
            if sealed.elapsed().as_secs() >= 2 {
                ensure!(asked < deadline, "never in time for its own session");
                continue 'stays;
            }
            ensure!(replica == home, "from {home} to {replica} after {:?}", begun.elapsed());
            if let Some(renewed) = renewed {
                (cookie, sealed) = (renewed, asked);
            }
        }
        break (home, cookie, sealed);
    };
    // Shown again and again, but not renewed: the last use that the mesh has sealed is long ago.
    let begun = Instant::now();
    while visit(&mut client, Some(&cookie)).await?.0 == home {
        ensure!(begun.elapsed() < SOON, "a session that should have ended");
        pace.tick().await;
    }
    ensure!(sealed.elapsed().as_millis() > 1500, "ended after {:?}", sealed.elapsed());
    Ok(())
}

async fn calls(world: &World) -> Outcome {
    world.wait_replicas("rpc", &["echo-0", "echo-1", "echo-2"])?;
    let mut client = grpc(world.client(), world.at("rpc", 9090)).await?;
    let mut call = async |token: Option<&str>| {
        let mut request = tonic::Request::new(Message::default());
        if let Some(token) = token {
            request.metadata_mut().insert("x-call", token.parse()?);
        }
        let response = client.unary(request).await?;
        let given = response.metadata().get("x-call").map(|token| token.to_str().map(str::to_owned)).transpose()?;
        anyhow::Ok((response.into_inner().replica, given))
    };
    let (home, token) = call(None).await?;
    let token = token.context("no session in the answer's metadata")?;
    for _ in 0..30 {
        let (replica, again) = call(Some(&token)).await?;
        ensure!(replica == home && again.is_none(), "from {home} to {replica}");
    }
    let mut replicas = BTreeSet::new();
    for _ in 0..60 {
        let (replica, given) = call(None).await?;
        ensure!(given.is_some_and(|given| given != token), "a new session has a token of its own");
        replicas.insert(replica);
    }
    ensure!(replicas.len() > 1, "without a token all calls go to {replicas:?}");
    Ok(())
}

async fn restart(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let (home, cookie) = visit(&mut client, None).await?;
    // Written a moment after the last change.
    let file = world.member("client").state_dir().join("catalog.json");
    let saved = || std::fs::read_to_string(&file).ok().filter(|text| text.contains("\"session_keys\":[{")).map(drop);
    poll_until(Instant::now() + SOON, "the keys on disk", saved)?;
    world.mesh().discovery()[0].kill();
    world.member("client").kill_proxy();
    world.member("client").start_proxy()?;
    world.member("client").wait_ready(SOON)?;
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    for _ in 0..30 {
        let (replica, again) = visit(&mut client, cookie.as_deref()).await?;
        ensure!(replica == home && again.is_none(), "from {home} to {replica}: {again:?}");
    }
    let mode = Program::new("stat").args(["-c", "%a"]).arg(file.display().to_string());
    ensure!(world.client().run(mode)?.text().trim() == "600", "keys that others can read");
    world.mesh().discovery()[0].start_again()?;
    world.mesh().discovery()[0].wait_ready(SOON)?;
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
