//! The page in a real Chromium: `tests/browser` plays each case, this brings about what it is to see.
//!
//! Whatever the page asks of anybody but its own server, and whatever it logs as an error, fails a case.

use crate::shop::{Dashboard, PATIENCE, Shop};
use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use weft_examples::mesh::{START_LIMIT, binary};
use weft_examples::pods::{Process, Program, poll_until};
use weft_tests::Outcome;

/// How soon the page has to show what discovery knows.
const SOON_ENOUGH: Duration = Duration::from_secs(5);

/// Where Playwright is, or why there is none.
pub fn modules() -> Result<String, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/browser");
    let output = Command::new(script).output().map_err(|error| format!("scripts/browser: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("no reason given").to_owned()),
    }
}

/// Begins a case before this dashboard.
fn begin(shop: &Shop, dashboard: &Dashboard, case: &str, more: &[&str]) -> anyhow::Result<Process> {
    let drive = concat!(env!("CARGO_MANIFEST_DIR"), "/browser/drive.mjs");
    let node =
        Program::new("node").label(format!("browser-{case}")).arg(drive).args([case, &dashboard.link]).args(more);
    Ok(shop.mesh().node().spawn(node.env("WEFT_BROWSER", &modules().map_err(anyhow::Error::msg)?))?)
}

fn end(playing: &Process) -> Outcome {
    let Some(status) = playing.wait_exit(PATIENCE) else { bail!("the browser goes on: {}", playing.log()) };
    ensure!(status.success() && playing.log().contains("played"), "{}", playing.log());
    Ok(())
}

fn play(shop: &Shop, case: &str) -> Outcome {
    let dashboard = shop.dashboard()?;
    end(&begin(shop, &dashboard, case, &[])?)
}

pub async fn graph(shop: &Shop) -> Outcome {
    play(shop, "graph")
}

pub async fn service(shop: &Shop) -> Outcome {
    play(shop, "service")
}

pub async fn tap(shop: &Shop) -> Outcome {
    play(shop, "tap")
}

pub async fn proxy(shop: &Shop) -> Outcome {
    play(shop, "proxy")
}

pub async fn explain(shop: &Shop) -> Outcome {
    play(shop, "explain")
}

pub async fn check(shop: &Shop) -> Outcome {
    play(shop, "check")
}

pub async fn theme(shop: &Shop) -> Outcome {
    play(shop, "theme")
}

pub async fn keyboard(shop: &Shop) -> Outcome {
    play(shop, "keyboard")
}

pub async fn narrow(shop: &Shop) -> Outcome {
    play(shop, "narrow")
}

pub async fn nothing(shop: &Shop) -> Outcome {
    let elsewhere = Program::new(binary("weftctl")?).args(["--discovery", "unix:///nonexistent/discovery.sock"]);
    let dashboard = shop.dashboard_of(elsewhere)?;
    end(&begin(shop, &dashboard, "nothing", &[])?)
}

/// The machine may stand still for a while: of three kills one has to be seen in time, and all of them at last.
pub async fn killed(shop: &Shop) -> Outcome {
    let mut took = Vec::new();
    for name in ["ranking-1", "ranking-2", "ranking-0"] {
        let late = red_after(shop, name)?;
        println!("{name} was red {late:?} after discovery had lost it");
        if late <= SOON_ENOUGH {
            return Ok(());
        }
        took.push(late);
    }
    bail!("killed replicas turned red only after {took:?}")
}

/// How long after discovery has lost the replica's proxy the page shows it red.
fn red_after(shop: &Shop, name: &str) -> anyhow::Result<Duration> {
    let dashboard = shop.dashboard()?;
    let member = shop.member(name)?;
    let playing = begin(shop, &dashboard, "killed", &[name])?;
    playing.wait_log("watching", PATIENCE)?;
    member.kill();
    let connected = || -> anyhow::Result<bool> {
        let status: Value = serde_json::from_str(&shop.mesh().weftctl(&["status", "-o", "json"])?)?;
        Ok(status["proxies"].as_array().into_iter().flatten().any(|proxy| proxy["name"] == name))
    };
    let lost = || connected().is_ok_and(|connected| !connected).then(now);
    let lost = poll_until(Instant::now() + PATIENCE, "discovery to lose the proxy", lost)?;
    let seen = playing.wait_log("red ", PATIENCE);
    // Whatever became of it, the next case finds a whole shop.
    member.start_proxy()?;
    member.start_application()?;
    seen?;
    end(&playing)?;
    let log = playing.log();
    let red = log.lines().find_map(|line| line.strip_prefix("red ")).context("no time")?;
    Ok(Duration::from_millis(red.trim().parse()?).saturating_sub(lost))
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

pub async fn away(shop: &Shop) -> Outcome {
    let dashboard = shop.dashboard()?;
    let discovery = &shop.mesh().discovery()[0];
    let playing = begin(shop, &dashboard, "away", &[])?;
    playing.wait_log("watching", PATIENCE)?;
    discovery.kill();
    let gone = playing.wait_log("gone", PATIENCE);
    discovery.start_again()?;
    discovery.wait_ready(START_LIMIT)?;
    gone?;
    end(&playing)?;
    ensure!(playing.log().contains("back"), "{}", playing.log());
    Ok(())
}
