//! The dashboard's server as other programs meet it: curl with and without the token, from here and from elsewhere.
//!
//! Nothing that is refused tells anything of the mesh.

use crate::shop::{Dashboard, PATIENCE, Shop};
use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::time::Instant;
use weft_examples::pods::{Output, Program, poll_until};
use weft_tests::Outcome;
use weft_tests::programs::curl;

/// Status, headers and body, as `curl -i` shows them.
fn ask(shop: &Shop, dashboard: &Dashboard, path: &str, args: &[&str]) -> anyhow::Result<String> {
    let url = format!("{}{path}", dashboard.origin);
    curl(shop.mesh().node(), &[&["-i", &url], args].concat())
}

/// The cookie that the token is worth.
fn session(shop: &Shop, dashboard: &Dashboard) -> anyhow::Result<String> {
    let opened = ask(shop, dashboard, &format!("/?token={}", dashboard.token), &[])?;
    ensure!(opened.starts_with("HTTP/1.1 303") && opened.to_lowercase().contains("location: /\r\n"), "{opened}");
    let cookie = opened.lines().find_map(|line| line.strip_prefix("set-cookie: ")).context(opened.clone())?;
    for word in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        ensure!(cookie.contains(word), "{cookie}");
    }
    Ok(format!("cookie: {}", cookie.split(';').next().unwrap_or_default()))
}

fn refused(answer: &str, reason: &str) -> Outcome {
    ensure!(answer.starts_with("HTTP/1.1 403") && answer.contains(reason), "not refused with {reason:?}: {answer}");
    ensure!(!answer.contains("ranking") && !answer.to_lowercase().contains("set-cookie"), "it tells: {answer}");
    Ok(())
}

pub async fn token(shop: &Shop) -> Outcome {
    let dashboard = shop.dashboard()?;
    for path in ["/", "/app.js", "/api/check", "/api/events", "/api/proxies/shop/search-0", "/nothing"] {
        refused(&ask(shop, &dashboard, path, &[])?, "open the link that `weftctl dashboard` printed")?;
    }
    refused(&ask(shop, &dashboard, "/?token=0123", &[])?, "the link's token is wrong or has been used")?;
    refused(&ask(shop, &dashboard, &format!("/api/check?token={}", dashboard.token), &[])?, "open the link")?;
    let cookie = session(shop, &dashboard)?;
    refused(&ask(shop, &dashboard, &format!("/?token={}", dashboard.token), &[])?, "has been used")?;
    let page = ask(shop, &dashboard, "/", &["-H", &cookie])?;
    ensure!(page.starts_with("HTTP/1.1 200") && page.contains("<!doctype html>"), "{page}");
    let wrong = format!("{}0", &cookie[..cookie.len() - 1]);
    let wrong = if wrong == cookie { format!("{}1", &cookie[..cookie.len() - 1]) } else { wrong };
    refused(&ask(shop, &dashboard, "/", &["-H", &wrong])?, "open the link")
}

pub async fn foreign(shop: &Shop) -> Outcome {
    let dashboard = shop.dashboard()?;
    let link = format!("/?token={}", dashboard.token);
    let port = dashboard.address.port();
    // A name that somebody made to lead here, and the same with the right port.
    for host in ["evil.example".to_owned(), format!("evil.example:{port}"), format!("127.0.0.1:{}", port ^ 1)] {
        let answer = ask(shop, &dashboard, &link, &["-H", &format!("host: {host}")])?;
        refused(&answer, &format!("the request is for host \"{host}\""))?;
    }
    let cookie = session(shop, &dashboard)?;
    for origin in ["http://evil.example", "null", "https://127.0.0.1"] {
        for path in ["/", "/api/check", "/api/events"] {
            let answer = ask(shop, &dashboard, path, &["-H", &cookie, "-H", &format!("origin: {origin}")])?;
            refused(&answer, &format!("comes from a page of \"{origin}\""))?;
        }
    }
    let own = format!("origin: http://localhost:{port}");
    let local = format!("host: localhost:{port}");
    let answer = ask(shop, &dashboard, "/", &["-H", &cookie, "-H", &own, "-H", &local])?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(())
}

pub async fn headers(shop: &Shop) -> Outcome {
    let dashboard = shop.dashboard()?;
    let stranger = ask(shop, &dashboard, "/", &[])?;
    let cookie = session(shop, &dashboard)?;
    let mut answers = vec![stranger];
    for path in ["/", "/app.js", "/app.css", "/icon.svg", "/licenses.txt", "/api/proxies/shop/nobody", "/nothing"] {
        answers.push(ask(shop, &dashboard, path, &["-H", &cookie])?);
    }
    for answer in &answers {
        let head = answer.split("\r\n\r\n").next().unwrap_or_default();
        for line in ["cache-control: no-store", "x-content-type-options: nosniff", "x-frame-options: DENY"] {
            ensure!(head.contains(line), "no {line}: {head}");
        }
        let policy =
            head.lines().find(|line| line.starts_with("content-security-policy: ")).context(head.to_owned())?;
        for part in ["default-src 'none'", "script-src 'self';", "connect-src 'self'", "frame-ancestors 'none'"] {
            ensure!(policy.contains(part), "{policy}");
        }
        ensure!(!policy.contains("unsafe"), "{policy}");
    }
    ensure!(answers[5].contains("preact") && answers[5].contains("MIT"), "{}", answers[5]);
    Ok(())
}

pub async fn questions(shop: &Shop) -> Outcome {
    let dashboard = shop.dashboard()?;
    let cookie = session(shop, &dashboard)?;
    let json = ["-H", &cookie, "-H", "content-type: application/json", "-d"];
    for (body, reason) in [
        ("{\"from\":\"a/b/c\",\"to\":\"http://x\"}", "from: it is not NAME or NAMESPACE/NAME"),
        ("{\"from\":\"shop/frontend-0\",\"to\":\"x\"}", "to: write http://HOST"),
        ("{\"from\":\"a\",\"to\":\"http://x\",\"method\":\"G T\"}", "method: "),
        ("{\"from\":\"a\",\"to\":\"http://x\",\"headers\":[\"x\"]}", "header: write NAME: VALUE"),
        ("{\"from\":\"a\",\"to\":\"http://x/p\",\"grpc\":\"a.B/C\"}", "leave one of them out"),
        ("{\"from\":\"a\",\"to\":\"http://x\",\"colour\":1}", "colour"),
        ("{", ""),
    ] {
        wrong(&ask(shop, &dashboard, "/api/explain", &[&json[..], &[body]].concat())?, 4, reason)?;
    }
    wrong(&ask(shop, &dashboard, "/api/explain", &["-H", &cookie, "-d", "{}"])?, 4, "")?;
    let nobody = "{\"from\":\"shop/nobody\",\"to\":\"http://cart.shop:8080/\"}";
    wrong(&ask(shop, &dashboard, "/api/explain", &[&json[..], &[nobody]].concat())?, 5, "no proxy shop/nobody")?;
    wrong(&ask(shop, &dashboard, "/api/services/shop/nobody", &["-H", &cookie])?, 4, "no service shop/nobody")?;
    wrong(&ask(shop, &dashboard, "/api/services/shop/%2e%2e", &["-H", &cookie])?, 4, "is not a name")?;
    wrong(&ask(shop, &dashboard, "/api/services/shop/cart?clients=a%20b", &["-H", &cookie])?, 4, "is not a name")
}

/// A failure of this class, as JSON with its reason.
fn wrong(answer: &str, class: u16, reason: &str) -> Outcome {
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| answer.to_owned())?;
    ensure!(head.starts_with(&format!("HTTP/1.1 {class}")), "{answer}");
    let body: Value = serde_json::from_str(body).with_context(|| answer.to_owned())?;
    ensure!(body["error"].as_str().is_some_and(|error| error.contains(reason)), "no {reason:?} in {body}");
    Ok(())
}

pub async fn events(shop: &Shop) -> Outcome {
    let dashboard = shop.dashboard()?;
    let cookie = session(shop, &dashboard)?;
    let url = format!("{}/api/events", dashboard.origin);
    let listening =
        shop.mesh().node().spawn(Program::new("curl").label("events").args(["-sN", "-H", &cookie, &url]))?;
    let mut last = Value::Null;
    let calls = |state: &Value| {
        let called = |edge: &&Value| edge["to"]["service"] == "ranking" && edge["requests"].as_f64() > Some(0.0);
        state["edges"].as_array().is_some_and(|edges| edges.iter().any(|edge| called(&edge)))
    };
    let heard = || {
        let log = listening.log();
        let states = || log.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok());
        last = states().next_back()?;
        (states().count() >= 2 && calls(&last)).then_some(())
    };
    let found = poll_until(Instant::now() + PATIENCE, "a call of ranking", heard);
    found.with_context(|| format!("the last state is {last}"))?;
    let names: Vec<&str> =
        last["services"].as_array().into_iter().flatten().filter_map(|s| s["name"].as_str()).collect();
    ensure!(["cart", "features", "frontend", "ranking", "search"].iter().all(|name| names.contains(name)), "{last}");
    ensure!(last["error"].is_null() && last["window"].as_f64() > Some(0.0), "{last}");
    ensure!(last["proxies"].as_array().is_some_and(|proxies| proxies.len() == 12), "{last}");
    Ok(())
}

pub async fn listens(shop: &Shop) -> Outcome {
    let weftctl = |args: &[&str]| -> anyhow::Result<Output> {
        let program = shop.mesh().discovery()[0].weftctl_program()?.args(["dashboard", "--no-open", "--listen"]);
        Ok(shop.mesh().node().run(program.args(args))?)
    };
    for (address, reason) in [
        ("0.0.0.0:0", "for this machine alone"),
        ("192.0.2.1:80", "for this machine alone"),
        ("[::]:0", "for this machine alone"),
        ("localhost", "write ADDRESS:PORT"),
    ] {
        let output = weftctl(&[address])?;
        ensure!(output.status.code() == Some(2), "{address}: {}", output.text());
        ensure!(output.stderr.contains(reason) && output.stdout.is_empty(), "{address}: {}", output.text());
    }
    let taken = shop.mesh().discovery()[0].admin().to_string();
    let output = weftctl(&[&taken])?;
    let failed = output.status.code() == Some(1);
    // Without the page that is said first, and nothing is listened on at all.
    let said =
        output.stderr.contains(&format!("listening on {taken}")) || output.stderr.contains("without its dashboard");
    ensure!(failed && said, "{}", output.text());
    Ok(())
}

pub async fn ends(shop: &Shop) -> Outcome {
    let dashboard = shop.dashboard()?;
    dashboard.process.signal(Signal::SIGINT);
    let status = dashboard.process.wait_exit(PATIENCE).context("it goes on")?;
    ensure!(status.success(), "{status}: {}", dashboard.process.log());
    Ok(())
}
