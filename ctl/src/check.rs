//! `weftctl check`: is the mesh well, and if not, what is to be done?
//!
//! Gathers facts from every replica, waits a moment for proxies that are only just catching up, and prints a line per
//! finding. Fails when any finding does; facts that cannot be had are findings, too.

mod findings;

use crate::connect::Discovery;
use crate::get::fetch;
use crate::kind::Kind;
use crate::print::{Output, colours, plain};
use crate::status::{behind, proxies, replicas};
pub use findings::Finding;
use findings::{Facts, findings};
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep};
use weft_proto::v1;

/// Proxies that are behind get this long to catch up: changes happen while we look.
const SETTLE: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(250);

pub async fn run(discovery: &Discovery) -> anyhow::Result<Output> {
    let findings = all(discovery).await;
    let failed = findings.iter().filter(|finding| finding.fault.is_some()).count();
    let mut text = render(&findings, colours());
    if failed > 0 {
        writeln!(text, "\n{failed} of {} checks failed", findings.len())?;
    }
    Ok(Output { text, notes: Vec::new(), failed: failed > 0 })
}

/// What there is to say of the mesh, good or bad.
pub async fn all(discovery: &Discovery) -> Vec<Finding> {
    findings(&gather(discovery).await, SystemTime::now())
}

async fn gather(discovery: &Discovery) -> Facts {
    let replicas = replicas(discovery).await;
    let replicas = replicas.into_iter().map(|(address, answer)| (address.to_string(), answer)).collect::<Vec<_>>();
    if replicas.iter().all(|(_, answer)| answer.is_err()) {
        return Facts { replicas, ..Facts::default() };
    }
    let anchors = discovery.call(async |mut admin| admin.get_trust_anchors(v1::GetTrustAnchorsRequest {}).await).await;
    let signed = discovery.call(async |mut admin| admin.list_certificates(v1::ListCertificatesRequest {}).await).await;
    let services = fetch(Kind::Services, None, None, discovery).await;
    let endpoints = fetch(Kind::Endpoints, None, None, discovery).await;
    Facts {
        replicas,
        anchors: Some(anchors.map(|answer| answer.pem).map_err(|error| error.to_string())),
        certificates: Some(signed.map(|answer| answer.certificates).map_err(|error| error.to_string())),
        services: Some(services.map_err(|error| format!("{error:#}"))),
        endpoints: Some(endpoints.map_err(|error| format!("{error:#}"))),
        proxies: settled(discovery).await,
    }
}

async fn settled(discovery: &Discovery) -> Vec<v1::Proxy> {
    let deadline = Instant::now() + SETTLE;
    loop {
        let proxies = proxies(discovery).await;
        if Instant::now() >= deadline || proxies.iter().all(|proxy| behind(proxy).is_none()) {
            return proxies;
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn render(findings: &[Finding], colours: bool) -> String {
    let (red, green, plainly) = if colours { ("\x1b[31m", "\x1b[32m", "\x1b[0m") } else { ("", "", "") };
    let mut text = String::new();
    for Finding { what, fault, advice } in findings {
        let line = match fault {
            None => format!("{green}ok{plainly}      {}\n", plain(what)),
            Some(fault) => {
                format!("{red}failed{plainly}  {}: {}\n        {}\n", plain(what), plain(fault), plain(advice))
            }
        };
        text.push_str(&line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_a_failed_one_says_what_to_do() {
        let what = || "trust anchors".to_owned();
        let findings = [
            Finding { what: what(), fault: None, advice: String::new() },
            Finding { what: what(), fault: Some("none\x1b".to_owned()), advice: "make one".to_owned() },
        ];
        let text = render(&findings, false);
        assert_eq!(text, "ok      trust anchors\nfailed  trust anchors: none\\u{1b}\n        make one\n");
        assert!(render(&findings, true).contains("\x1b[31mfailed\x1b[0m"));
    }
}
