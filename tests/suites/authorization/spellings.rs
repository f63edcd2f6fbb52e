//! A denied path in every spelling that a client can put on the wire, over both versions of HTTP.
//!
//! None may reach the application: each is denied, or refused as what nobody should rely on. The server is asked what it saw,
//! too, since a status alone could come from anywhere.

use crate::ask::{DENY_ADMIN, Policies, until};
use anyhow::ensure;
use bytes::Bytes;
use http::Request;
use weft_tests::client::{Http1, Http2};
use weft_tests::{Outcome, World};

/// Spellings of `/admin` and of what lies below it.
const SPELLINGS: [&str; 44] = [
    "/admin",
    "/admin/",
    "/admin/x",
    "/admin?x=y",
    "/admin//x",
    "//admin",
    "///admin/",
    "/./admin",
    "/././admin",
    "/admin/.",
    "/admin/./x",
    "/admin/../admin",
    "/x/../admin",
    "/x/y/../../admin",
    "/x/..//admin",
    "/../admin",
    "/..//../admin",
    "/%61dmin",
    "/%61%64%6d%69%6e",
    "/%61%64%6D%69%6E/x",
    "/admi%6e",
    "/%2561dmin",
    "/%252561dmin",
    "/%2fadmin",
    "/%2Fadmin",
    "/%252fadmin",
    "/x%2f..%2fadmin",
    "/x%2f../admin",
    "/x/%2e%2e/admin",
    "/x/%2E./admin",
    "/x/.%2e/admin",
    "/x/%252e%252e/admin",
    "/%2e/admin",
    "/x/..;/admin",
    "/x/..;a=b/admin",
    "/;/admin",
    "/;a=b/admin",
    "/admin;a=b",
    "/admin;/x",
    "/admin%3bx",
    "/admin%3fx",
    "/admin%23x",
    "/admin%00",
    "/admin%2fx",
];

/// What HTTP/1.1 can carry beside these.
const RAW: [&str; 10] = [
    "/\\admin",
    "/x\\..\\admin",
    "/%5cadmin",
    "/%c0%afadmin",
    "/admin#x",
    "/admin%",
    "/admin%zz",
    "http://echo/admin",
    "http://ECHO:80/x/../admin",
    "http://echo//admin",
];

fn stopped(status: u16, reason: &str) -> bool {
    (status == 403 && reason == "denied-by=test/no-admin") || (status == 400 && reason == "malformed-request")
}

pub async fn http1(world: &World) -> Outcome {
    let policies = Policies::apply(world, DENY_ADMIN)?;
    until(world, "client", "/admin/x", 403, "denied-by=test/no-admin").await?;
    let mut passed = Vec::new();
    for path in SPELLINGS.iter().chain(&RAW) {
        let mut client = Http1::dial(world.client(), world.echo(80))?;
        let said = client.request(format!("GET {path} HTTP/1.1\r\nhost: echo\r\n\r\n")).await?;
        if !stopped(said.status(), said.head.header("weft-reason").unwrap_or_default()) {
            passed.push((path, said.status(), said.text()));
        }
    }
    let tunnel = "GET /name HTTP/1.1\r\nhost: echo\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
                  http2-settings: AAMAAABkAAQAAP__\r\n\r\n";
    let said = Http1::dial(world.client(), world.echo(80))?.request(tunnel).await?;
    ensure!(said.status() == 400, "requests could hide in a tunnel: {said:?}");
    ensure!(passed.is_empty(), "{} of {} pass: {passed:#?}", passed.len(), SPELLINGS.len() + RAW.len());
    policies.delete().await
}

pub async fn http2(world: &World) -> Outcome {
    let policies = Policies::apply(world, DENY_ADMIN)?;
    until(world, "client", "/admin/x", 403, "denied-by=test/no-admin").await?;
    let client = Http2::dial(world.client(), world.echo(80)).await?;
    let mut passed = Vec::new();
    for path in SPELLINGS {
        let request = Request::builder().uri(format!("http://echo{path}")).body(())?;
        let said = client.send(request, Bytes::new(), None).await?;
        let reason = said.headers.get("weft-reason").and_then(|reason| reason.to_str().ok()).unwrap_or_default();
        if !stopped(said.status.as_u16(), reason) {
            passed.push((path, said.status, said.text()));
        }
    }
    ensure!(passed.is_empty(), "{} of {} pass: {passed:#?}", passed.len(), SPELLINGS.len());
    policies.delete().await
}

pub async fn unchanged(world: &World) -> Outcome {
    let policies = Policies::apply(world, DENY_ADMIN)?;
    until(world, "client", "/admin/x", 403, "denied-by=test/no-admin").await?;
    let client = Http2::dial(world.client(), world.echo(80)).await?;
    for path in ["/a%20b", "/a//b", "/a;v=1/b", "/x/./y", "/a%2fb", "/%41", "/administrator", "/a%2520b"] {
        let first = Http1::dial(world.client(), world.echo(80))?.get(path).await?.json()?;
        ensure!(first["line"] == format!("GET {path} HTTP/1.1"), "HTTP/1.1: {path} arrived as {first}");
        let second = client.get(path).await?.json()?;
        ensure!(second["path"] == path, "HTTP/2: {path} arrived as {second}");
    }
    policies.delete().await
}
