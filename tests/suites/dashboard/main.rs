//! `weftctl dashboard` before the demo's shop under load: who is let in, what it answers, and the page in a real Chromium.
//!
//! Everything runs on the shop's own network, where there is nobody else to ask. Without the page (built where there is no npm) or
//! without a browser, what needs it is reported as ignored, with the reason.

mod shop;
mod http;
mod browser;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use weft_examples::mesh::binary;
use weft_tests::{Outcome, Suite};

use shop::Shop;

fn main() -> ExitCode {
    let page = page_missing();
    let browser = page.clone().or_else(|| browser::modules().err());
    Suite::on("shop", Shop::open)
        .case("addresses that are not loopback are refused, and so is one that is taken", http::listens)
        .unless(node_missing())
        .case("the page's own decisions are right", async |_: &Shop| units())
        .unless(page)
        .case("the printed link works once, and nobody else gets anything", http::token)
        .case("foreign hosts and origins are refused", http::foreign)
        .case("every answer forbids what is from elsewhere", http::headers)
        .case("wrong questions are told from what is not there", http::questions)
        .case("events tell of the whole mesh, again and again", http::events)
        .case("Ctrl-C ends it", http::ends)
        .unless(browser)
        .case("the graph appears with success, rate, latency and locks", browser::graph)
        .case("a service: endpoints with load, callers, policies", browser::service)
        .case("live requests of a service, from start to stop", browser::tap)
        .case("a proxy: what it knows, and its certificate", browser::proxy)
        .case("an explanation has its verdict", browser::explain)
        .case("the findings of a check", browser::check)
        .case("light and dark, as the system says and as chosen", browser::theme)
        .case("all of it can be reached by keyboard", browser::keyboard)
        .case("it fits a telephone", browser::narrow)
        .case("without discovery it says so", browser::nothing)
        .case("a killed replica turns red within 5 s, and is well again when it is back", browser::killed)
        .case("discovery that goes is missed, and accuses nobody when it is back", browser::away)
        .run()
}

/// Why this weftctl has no page, if it has none.
fn page_missing() -> Option<String> {
    let weftctl = binary("weftctl").unwrap_or_else(|_| PathBuf::from("weftctl"));
    let mut command = Command::new(weftctl);
    command.args(["--discovery", "/nonexistent.sock", "dashboard", "--no-open"]);
    let mut running = match command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(running) => running,
        Err(error) => return Some(format!("weftctl: {error}")),
    };
    let mut line = String::new();
    let read = running.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut line));
    let served = matches!(read, Some(Ok(_))) && line.starts_with("http://");
    let _ = running.kill();
    let mut said = String::new();
    if let Some(mut stderr) = running.stderr.take() {
        let _ = stderr.read_to_string(&mut said);
    }
    let _ = running.wait();
    (!served).then(|| said.trim().to_owned())
}

fn node_missing() -> Option<String> {
    let found = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    (!found).then(|| "node is missing (Debian: nodejs)".to_owned())
}

/// What `dashboard/test` says of its pure functions.
fn units() -> Outcome {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../dashboard");
    let output = Command::new("node").arg("--test").current_dir(folder).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    anyhow::ensure!(output.status.success(), "{said}");
    Ok(())
}
