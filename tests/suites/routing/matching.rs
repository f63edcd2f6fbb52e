//! Which rule a request falls to.
//!
//! Tables of requests and who has to answer them, over both versions of HTTP.

use crate::ask::Ask;
use anyhow::ensure;
use weft_tests::{Outcome, World};

const ONE: &str = "echo-v1-0";
const TWO: &str = "echo-v2-0";
const NONE: &str = "404 no-route";

async fn check(world: &World, service: &str, table: &[(Ask, &str)]) -> Outcome {
    for (ask, expected) in table {
        for answer in ask.both(world, service).await? {
            ensure!(answer.by() == *expected, "{ask:?} was answered by {:?}, not {expected:?}", answer.by());
        }
    }
    Ok(())
}

pub async fn prefixes_and_headers(world: &World) -> Outcome {
    let table = [
        (Ask::get("/"), ONE),
        (Ask::get("/example"), ONE),
        (Ask::get("/").header("version", "one"), ONE),
        (Ask::get("/v2"), TWO),
        (Ask::get("/v2/"), TWO),
        (Ask::get("/v2/example"), TWO),
        (Ask::get("/").header("version", "two"), TWO),
        (Ask::get("/v2example"), ONE),
        (Ask::get("/foo/v2/example"), ONE),
    ];
    check(world, "matching", &table).await
}

pub async fn strict(world: &World) -> Outcome {
    let table = [
        (Ask::get("/exact"), ONE),
        (Ask::get("/exact?q=1"), ONE),
        (Ask::get("/exact/"), NONE),
        (Ask::get("/re/12"), TWO),
        (Ask::get("/re/12/x"), NONE),
        (Ask::get("/put/x").method("PUT"), ONE),
        (Ask::get("/put/x"), NONE),
        (Ask::get("/").header("x-user", "beta-1"), TWO),
        (Ask::get("/").header("x-user", "not-beta-1"), NONE),
        (Ask::get("/exact").header("x-user", "beta-1"), ONE),
    ];
    check(world, "strict", &table).await
}

pub async fn query(world: &World) -> Outcome {
    let table = [
        (Ask::get("/?animal=whale"), ONE),
        (Ask::get("/any?x=1&animal=dolphin"), TWO),
        (Ask::get("/?animal=dolphin&color=blue"), ONE),
        (Ask::get("/?animal=sea+lion"), TWO),
        (Ask::get("/?animal=sea%20cow"), TWO),
        (Ask::get("/?animal=whale&animal=dolphin"), ONE),
        (Ask::get("/?color=blue"), NONE),
        (Ask::get("/?ANIMAL=Whale"), NONE),
        (Ask::get("/?animal=whaledolphin"), NONE),
        (Ask::get("/"), NONE),
    ];
    check(world, "query", &table).await
}

pub async fn hostnames(world: &World) -> Outcome {
    let table = [
        (Ask::get("/").host("very.specific.com"), ONE),
        (Ask::get("/").host("VERY.specific.com:1234"), ONE),
        (Ask::get("/").host("less.specific.com"), TWO),
        (Ask::get("/").host("a.b.wildcard.io"), TWO),
        (Ask::get("/").host("a.deep.wildcard.io"), ONE),
        (Ask::get("/").host("wildcard.io"), NONE),
        (Ask::get("/").host("other.com"), NONE),
    ];
    check(world, "hosts", &table).await
}

pub async fn ports(world: &World) -> Outcome {
    for (service, port, expected) in [("echo-v2", 81, Some("81")), ("echo-v2", 80, None), ("named", 81, Some("81"))] {
        let answer = Ask::get("/").http1(world, world.client(), service, port).await?;
        ensure!(answer.by() == TWO && answer.header("x-port") == expected, "{service}:{port}: {answer:?}");
    }
    Ok(())
}

pub async fn named_rule(world: &World) -> Outcome {
    check(world, "named", &[(Ask::get("/named"), ONE), (Ask::get("/unnamed"), TWO)]).await?;
    let metrics = world.metrics("client");
    for route in ["named/named-rule", "named/1"] {
        let count = metrics.sum("weft_requests_total", &[("route", route), ("status", "200")]);
        ensure!(count == 2.0, "{route} was counted {count} times");
    }
    Ok(())
}
