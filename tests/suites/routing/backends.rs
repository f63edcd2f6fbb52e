//! Whose share a request falls to: weights, namespaces, what does not exist, and what a rule says about trying again.
//!
//! What is applied during a case is waited for, and taken away at its end.

use crate::ask::{Ask, weftctl};
use crate::documents::route;
use anyhow::ensure;
use std::time::Instant;
use weft_examples::mesh::get;
use weft_examples::pods::poll_until;
use weft_tests::client::Http1;
use weft_tests::ports::{self, service_document};
use weft_tests::world::SOON;
use weft_tests::{Outcome, World};

pub async fn weight(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.at("split", 80))?;
    let mut first = 0;
    for _ in 0..500 {
        match client.get("/name").await?.text().as_str() {
            "echo-v1-0" => first += 1,
            "echo-v2-0" => {}
            other => anyhow::bail!("answered by {other:?}"),
        }
    }
    // 350 on average, with a deviation of 10; six of them are a chance in a thousand million.
    ensure!((290..410).contains(&first), "{first} of 500 went to the backend with 70 %");
    Ok(())
}

pub async fn frontend(world: &World) -> Outcome {
    for answer in Ask::get("/").both(world, "front").await? {
        ensure!(answer.by() == "echo-v1-0" && answer.header("x-front") == Some("yes"), "{answer:?}");
    }
    for answer in Ask::get("/").both(world, "echo-v1").await? {
        ensure!(answer.by() == "echo-v1-0" && answer.header("x-front").is_none(), "{answer:?}");
    }
    // Dialled by its own address, an endpoint is past all routes.
    let pod = (world.pod("echo-v2-0").ip(), ports::target(81)).into();
    let response = Http1::dial(world.client(), pod)?.get("/").await?;
    ensure!(response.status() == 200 && response.head.header("x-port").is_none(), "{response:?}");
    Ok(())
}

/// Asks until `service` answers as `expected`, from the pod called `from`.
fn until(world: &World, from: &str, service: &str, expected: &str) -> Outcome {
    let mut said = String::new();
    let look = || {
        said = match get(world.pod(from), world.at(service, 80), "/") {
            Err(error) => error.to_string(),
            Ok(reply) if reply.status == 200 => {
                let replica = ["echo-v1-0", "echo-v2-0"].into_iter().find(|name| reply.body.contains(name));
                format!("{}{}", replica.unwrap_or_default(), reply.header("x-for").unwrap_or_default())
            }
            Ok(reply) => format!("{} {}", reply.status, reply.header("weft-reason").unwrap_or_default()),
        };
        (said == expected).then_some(())
    };
    let found = poll_until(Instant::now() + SOON, expected, look);
    ensure!(found.is_ok(), "{service} said {said:?} to {from}, never {expected:?}");
    Ok(())
}

pub async fn consumer(world: &World) -> Outcome {
    let rules = "{filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-for, value: guest}]}}], \
                 backendRefs: [{name: echo-v1, namespace: test, port: 80}]}";
    let document = route("HTTPRoute", "mine", "{name: echo-v1, namespace: test}", "", rules)
        .replace("name: mine, namespace: test", "name: mine, namespace: consumer");
    until(world, "guest", "echo-v1", "echo-v1-0")?;
    weftctl(world, &["apply", "-f", "-"], &document)?;
    until(world, "guest", "echo-v1", "echo-v1-0guest")?;
    until(world, "client", "echo-v1", "echo-v1-0")?;
    let dump = weftctl(world, &["proxy", "dump", "client", "-n", "test"], "")?.stdout;
    ensure!(!dump.contains("\"mine\""), "the other namespace's proxies keep a route that is not for them");
    weftctl(world, &["delete", "httproute", "mine", "-n", "consumer"], "")?;
    until(world, "guest", "echo-v1", "echo-v1-0")
}

pub async fn invalid(world: &World) -> Outcome {
    let (mut served, mut refused) = (0, 0);
    for _ in 0..60 {
        match Ask::get("/half").http1(world, world.client(), "half", 80).await?.by().as_str() {
            "echo-v1-0" => served += 1,
            "500 invalid-backend" => refused += 1,
            other => anyhow::bail!("{other}"),
        }
    }
    ensure!(served > 5 && refused > 5, "{served} served, {refused} refused");
    for answer in Ask::get("/port").both(world, "half").await? {
        ensure!(answer.by() == "500 invalid-backend", "{answer:?}");
    }
    Ok(())
}

const GRANT: &str = "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\n\
    metadata: { name: from-test, namespace: other }\nspec:\n\
    \x20 from: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: test }]\n\
    \x20 to: [{ group: '', kind: Service, name: far }]\n";

pub async fn granted(world: &World) -> Outcome {
    let address = world.pod("echo-v2-0").ip();
    let endpoint = format!(
        "apiVersion: weft.dev/v1alpha1\nkind: Endpoint\nmetadata: {{ name: far-0, namespace: other }}\n\
         spec: {{ service: far, addresses: [{address}] }}\n"
    );
    weftctl(world, &["apply", "-f", "-"], &format!("{}---\n{endpoint}", service_document("other", "far")))?;
    until(world, "client", "abroad", "500 invalid-backend")?;
    weftctl(world, &["apply", "-f", "-"], GRANT)?;
    until(world, "client", "abroad", "echo-v2-0")?;
    let listed = weftctl(world, &["get", "referencegrants", "-n", "other"], "")?.stdout;
    ensure!(listed.contains("from-test") && listed.contains("HTTPRoute test"), "{listed}");
    weftctl(world, &["delete", "referencegrant", "from-test", "-n", "other"], "")?;
    until(world, "client", "abroad", "500 invalid-backend")?;
    weftctl(world, &["delete", "-f", "-"], &endpoint).map(drop)
}

/// How often echo-v1 was asked for `key`.
async fn arrivals(world: &World, key: &str) -> anyhow::Result<String> {
    let at = (world.pod("echo-v1-0").ip(), ports::HTTP).into();
    Ok(Http1::dial(world.client(), at)?.get(&format!("/counted/{key}")).await?.text())
}

pub async fn retry(world: &World) -> Outcome {
    // Without a word from the rule it would be three.
    for (key, expected) in [("once-more", "2"), ("other-codes", "1"), ("off", "1")] {
        let path = format!("/fail-always/{key}");
        let answer = Ask::get(&path).http1(world, world.client(), "retried", 80).await?;
        let tries = arrivals(world, key).await?;
        ensure!(answer.status == 503 && tries == expected, "{key}: {tries} tries, {answer:?}");
    }
    Ok(())
}

pub async fn timeouts(world: &World) -> Outcome {
    for answer in Ask::get("/delay/5s").both(world, "timed").await? {
        ensure!(answer.by() == "504 request-timeout", "{answer:?}");
    }
    for answer in Ask::get("/delay/9s").both(world, "timed").await? {
        ensure!(answer.by() == "504 try-timeout", "{answer:?}");
    }
    Ok(())
}
