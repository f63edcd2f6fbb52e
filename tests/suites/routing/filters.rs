//! What a rule changes in a request, in its answer, and where it redirects.
//!
//! The test server says what it saw; a redirect never gets there.

use crate::ask::Ask;
use anyhow::{Context, ensure};
use weft_tests::client::Http1;
use weft_tests::{Outcome, World};

pub async fn request_headers(world: &World) -> Outcome {
    let table: [(Ask, &str, &[&str]); 6] = [
        (Ask::get("/set").header("x-other", "val"), "x-set", &["new"]),
        (Ask::get("/set").header("x-set", "old"), "x-set", &["new"]),
        (Ask::get("/add"), "x-add", &["new"]),
        (Ask::get("/add").header("x-add", "old"), "x-add", &["old", "new"]),
        (Ask::get("/remove").header("x-remove", "old"), "x-remove", &[]),
        (Ask::get("/remove").header("x-other", "val"), "x-other", &["val"]),
    ];
    for (ask, name, expected) in table {
        for answer in ask.both(world, "headers").await? {
            let seen = answer.header_seen(name)?;
            ensure!(seen == *expected, "{ask:?}: {name} was {seen:?}, not {expected:?}");
        }
    }
    Ok(())
}

pub async fn backend_headers(world: &World) -> Outcome {
    for answer in Ask::get("/backend").header("x-mine", "1").both(world, "headers").await? {
        ensure!(answer.by() == "echo-v2-0", "{answer:?}");
        ensure!(
            answer.header_seen("x-rule")? == ["rule"] && answer.header_seen("x-both")? == ["backend"],
            "{answer:?}"
        );
        ensure!(answer.header_seen("x-mine")?.is_empty(), "{answer:?}");
        ensure!(answer.header("x-said") == Some("rule") && answer.header("x-heard") == Some("backend"), "{answer:?}");
        ensure!(answer.header("content-type").is_none(), "{answer:?}");
    }
    Ok(())
}

/// `path` leads to `location` with `status`, whatever the version of HTTP; `location` is what HTTP/1 gets on port 80.
async fn leads(world: &World, path: &str, status: u16, location: &str) -> Outcome {
    let ask = Ask::get(path);
    let answer = ask.http1(world, world.client(), "redirect", 80).await?;
    ensure!(answer.status == status && answer.header("location") == Some(location), "{path}: {answer:?}");
    let answer = ask.http2(world, world.client(), "redirect").await?;
    // The port that was dialled is part of it, unless the redirect names scheme or port.
    let (scheme, rest) = location.split_once("://").context("a location has a scheme")?;
    let (host, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let dialled = if scheme == "http" && !host.contains(':') { ":82" } else { "" };
    let location = format!("{scheme}://{host}{dialled}{target}");
    ensure!(answer.status == status && answer.header("location") == Some(&location), "{path}: {answer:?}");
    Ok(())
}

pub async fn redirect_host_and_status(world: &World) -> Outcome {
    leads(world, "/host?q=1", 302, "http://example.org/host?q=1").await?;
    for status in [301, 303, 307, 308] {
        leads(world, &format!("/{status}/x"), status, &format!("http://example.org/{status}/x")).await?;
    }
    for answer in Ask::get("/308").both(world, "redirect").await? {
        ensure!(answer.header("x-moved") == Some("yes"), "{answer:?}");
    }
    Ok(())
}

pub async fn redirect_path(world: &World) -> Outcome {
    leads(world, "/original/lemon", 302, "http://echo/replaced/lemon").await?;
    leads(world, "/original", 302, "http://echo/replaced").await?;
    leads(world, "/full/path/original?a=b", 302, "http://echo/whole?a=b").await
}

pub async fn redirect_port_and_scheme(world: &World) -> Outcome {
    leads(world, "/port", 302, "http://echo:8083/port").await?;
    leads(world, "/https", 302, "https://echo/https").await?;
    leads(world, "/both", 302, "https://example.org:8443/both").await
}

pub async fn redirect_with_body(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.at("redirect", 80))?;
    let first = client.get("/host").await?;
    ensure!(first.status() == 302 && first.head.header("connection").is_none(), "{first:?}");
    let request = "POST /host HTTP/1.1\r\nhost: echo\r\ncontent-length: 5\r\n\r\nhello";
    let second = client.request(request).await?;
    ensure!(second.status() == 302 && second.head.header("connection") == Some("close"), "{second:?}");
    ensure!(client.is_closed().await?, "the connection stays open");
    Ok(())
}

pub async fn rewrite(world: &World) -> Outcome {
    for (asked, seen) in [
        ("/prefix/one/two?q=1", "/one/two?q=1"),
        ("/prefix/one", "/one"),
        ("/strip/three", "/three"),
        ("/strip", "/"),
        ("/full/one/two", "/one"),
    ] {
        for answer in Ask::get(asked).both(world, "rewrite").await? {
            ensure!(answer.path_seen()? == seen, "{asked}: {answer:?}");
        }
    }
    let ask = Ask::get("/host/one");
    let answer = ask.http1(world, world.client(), "rewrite", 80).await?;
    ensure!(answer.header_seen("host")? == ["one.example.org"] && answer.path_seen()? == "/host/one", "{answer:?}");
    let answer = ask.http2(world, world.client(), "rewrite").await?;
    ensure!(answer.seen()?["authority"] == "one.example.org", "{answer:?}");
    // The absolute form names the host twice.
    let mut client = Http1::dial(world.client(), world.at("rewrite", 80))?;
    let response = client.request("GET http://old.example.org/host/two HTTP/1.1\r\nhost: echo\r\n\r\n").await?;
    let seen = response.json()?;
    ensure!(seen["line"] == "GET /host/two HTTP/1.1", "{seen}");
    Ok(())
}
