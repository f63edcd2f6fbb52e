//! `weftctl check`: is the mesh well, and if not, what is to be done?
//!
//! Asks every replica and every connected sidecar, waits a moment for proxies that are only just catching up, and prints a line
//! per finding. Fails when any finding does; facts that cannot be had are findings, too.

mod clocks;
mod cluster;
mod documents;
mod facts;
mod finding;
mod findings;
mod sidecars;

use crate::connect::{CallError, Discovery};
use crate::get::fetch;
use crate::kind::Kind;
use crate::print::{self, Format, Output, colours, plain, wrapped};
use crate::progress::Progress;
use crate::status::{behind, proxies};
use facts::{Documents, Facts, Heard, Offset, Said, Sidecar, Told};
pub use finding::Finding;
use finding::Level;
use findings::findings;
use futures::StreamExt as _;
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep};
use weft_proto::v1;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Before the mesh is installed: whether this Kubernetes cluster can take it
    #[arg(long)]
    pre: bool,
    /// How to print; wide names every case, however many there are
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// Proxies that are behind get this long to catch up: changes happen while we look.
const SETTLE: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// What proxies call this question, and how many are asked at a time.
const TOPIC: &str = "check";
const AT_ONCE: usize = 16;

pub async fn run(args: Args, discovery: &Discovery) -> anyhow::Result<Output> {
    let findings = match args.pre {
        true => before(discovery).await,
        false => all(discovery).await,
    };
    let failed = findings.iter().any(|finding| finding.level == Level::Failed);
    let values = || findings.iter().map(Finding::value).collect::<Vec<_>>();
    let text = match args.output {
        Format::Table => render(&findings, Some(SHOWN), colours(), print::width()),
        Format::Wide => render(&findings, None, colours(), print::width()),
        Format::Json => print::json(&values())?,
        Format::Yaml => print::yaml(&[values()])?,
    };
    Ok(Output { text, notes: Vec::new(), failed })
}

/// What there is to say of the mesh, good or bad.
pub async fn all(discovery: &Discovery) -> Vec<Finding> {
    findings(&gather(discovery).await, SystemTime::now())
}

async fn before(discovery: &Discovery) -> Vec<Finding> {
    let (flags, timeout) = discovery.cluster();
    cluster::before(flags, timeout).await
}

/// What stands in the way of an installation as an error, or else what is worth knowing before.
pub async fn obstacles(discovery: &Discovery) -> Result<String, String> {
    let findings = before(discovery).await;
    let told = |level: Level| {
        let of = findings.iter().filter(|finding| finding.level == level);
        of.map(|finding| paragraph(finding, Some(SHOWN), false, print::width())).collect::<String>()
    };
    let failed = told(Level::Failed);
    if failed.is_empty() { Ok(told(Level::Warning)) } else { Err(failed) }
}

/// The same in full, as text.
pub async fn text(discovery: &Discovery) -> anyhow::Result<String> {
    Ok(render(&all(discovery).await, None, false, None))
}

async fn gather(discovery: &Discovery) -> Facts {
    let replicas = replicas(discovery).await;
    if replicas.iter().all(|(_, answer)| answer.is_err()) {
        return Facts { replicas, ..Facts::default() };
    }
    let anchors = discovery.call(async |mut admin| admin.get_trust_anchors(v1::GetTrustAnchorsRequest {}).await).await;
    let signed = discovery.call(async |mut admin| admin.list_certificates(v1::ListCertificatesRequest {}).await).await;
    let documents = documents(discovery).await.map_err(|error| format!("{error:#}"));
    let proxies = settled(discovery).await;
    let without_sidecar = match discovery.kubernetes().await {
        Some(client) => Some(cluster::without_sidecar(&client, &discovery.cluster().0.mesh_namespace).await),
        None => None,
    };
    Facts {
        without_sidecar,
        replicas,
        anchors: Some(anchors.map(|answer| answer.pem).map_err(|error| error.to_string())),
        certificates: Some(signed.map(|answer| answer.certificates).map_err(|error| error.to_string())),
        documents: Some(documents.and_then(|read| read)),
        sidecars: asked(discovery, proxies).await,
    }
}

/// What every replica says of itself, its time included.
async fn replicas(discovery: &Discovery) -> Vec<(String, Result<Heard, CallError>)> {
    let ask = async |mut admin: crate::connect::Admin| {
        let asked = SystemTime::now();
        let status = admin.status(v1::StatusRequest {}).await?.into_inner();
        let known = status.now_us != 0;
        let offset = known.then(|| Offset::between(asked, SystemTime::now(), status.now_us));
        Ok(tonic::Response::new(Heard { status, offset }))
    };
    let answers = discovery.each(ask).await.into_iter();
    answers.map(|(address, answer)| (address.to_string(), answer)).collect()
}

/// Outside: they could not be had. Inside: they could not be read.
async fn documents(discovery: &Discovery) -> anyhow::Result<Result<Documents, String>> {
    let list = async |kind| fetch(kind, None, None, discovery).await;
    let (services, endpoints) = (list(Kind::Services).await?, list(Kind::Endpoints).await?);
    let routes = list(Kind::Routes).await?;
    let mut policies = list(Kind::Policies).await?;
    policies.extend(list(Kind::Authorizations).await?);
    Ok(Documents::read(&services, &endpoints, routes, &policies))
}

async fn settled(discovery: &Discovery) -> Vec<v1::Proxy> {
    let deadline = Instant::now() + SETTLE;
    let progress = Progress::new("waiting for proxies to catch up", 0);
    loop {
        let proxies = proxies(discovery).await;
        if Instant::now() >= deadline || proxies.iter().all(|proxy| behind(proxy).is_none()) {
            return proxies;
        }
        progress.show();
        sleep(LOOK_AGAIN).await;
    }
}

/// The proxies with what each says of itself.
async fn asked(discovery: &Discovery, proxies: Vec<v1::Proxy>) -> Vec<Sidecar> {
    let progress = Progress::new("asking proxies", proxies.len());
    let one = async |proxy: v1::Proxy| {
        let told = told(discovery, &proxy).await;
        progress.step();
        Sidecar { proxy, told }
    };
    futures::stream::iter(proxies.into_iter().map(one)).buffered(AT_ONCE).collect().await
}

async fn told(discovery: &Discovery, proxy: &v1::Proxy) -> Result<Told, String> {
    let asked = SystemTime::now();
    let name = format!("{}/{}", proxy.namespace, proxy.name);
    let said = discovery.ask_proxy(&name, TOPIC, "{}".to_owned()).await;
    let heard = SystemTime::now();
    let said = said.map_err(|error| error.to_string())?.ok_or("it has just gone")?;
    let said: Said = serde_json::from_str(&said).map_err(|error| format!("its answer cannot be read: {error}"))?;
    Ok(Told { offset: Offset::between(asked, heard, said.now_us), said })
}

/// How many cases of a fault a table names; no more than people read.
const SHOWN: usize = 5;

fn render(findings: &[Finding], shown: Option<usize>, colours: bool, width: Option<usize>) -> String {
    let mut text: String = findings.iter().map(|finding| paragraph(finding, shown, colours, width)).collect();
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (failed, warnings, all) = (count(Level::Failed), count(Level::Warning), findings.len());
    let warned = match warnings {
        0 => String::new(),
        1 => ", 1 warning".to_owned(),
        more => format!(", {more} warnings"),
    };
    text.push_str(&match failed {
        0 => format!("\nall {all} checks passed{warned}\n"),
        _ => format!("\n{failed} of {all} checks failed{warned}\n"),
    });
    text
}

/// As wide as the longest level and a gap.
const MARGIN: usize = 9;

fn paragraph(finding: &Finding, shown: Option<usize>, colours: bool, width: Option<usize>) -> String {
    let Finding { what, level, faults, advice, .. } = finding;
    let told =
        if faults.is_empty() { plain(what) } else { format!("{}: {}", plain(what), plain(&listed(faults, shown))) };
    let word = format!("{:MARGIN$}", level.word());
    let mut text = wrapped(&word, &told, width);
    if colours {
        let colour = match level {
            Level::Ok => "\x1b[32m",
            Level::Warning => "\x1b[33m",
            Level::Failed => "\x1b[31m",
        };
        text = text.replacen(level.word(), &format!("{colour}{}\x1b[0m", level.word()), 1);
    }
    if !advice.is_empty() {
        text += &wrapped(&" ".repeat(MARGIN), &plain(advice), width);
    }
    text
}

fn listed(faults: &[String], shown: Option<usize>) -> String {
    let shown = shown.unwrap_or(usize::MAX).min(faults.len());
    let more = faults.len() - shown;
    let cut = if more > 0 { format!(", and {more} more") } else { String::new() };
    faults[..shown].join(", ") + &cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_a_failed_one_says_what_to_do() {
        let finding = |faults: Vec<String>| Finding::of("anchors", "trust anchors", faults, "make one");
        let findings = [finding(vec![]), finding(vec!["none\x1b".to_owned()])];
        let text = render(&findings, None, false, None);
        let wanted =
            "ok       trust anchors\nfailed   trust anchors: none\\u{1b}\n         make one\n\n1 of 2 checks failed\n";
        assert_eq!(text, wanted);
        assert!(render(&findings, None, true, None).contains("\x1b[31mfailed\x1b[0m"));
        let mild = [finding(vec!["old".to_owned()]).mildly()];
        let text = render(&mild, None, false, Some(20));
        assert!(
            text.starts_with("warning  trust\n         anchors:\n") && text.contains("passed, 1 warning"),
            "{text}"
        );
    }

    #[test]
    fn long_lists_are_cut() {
        let faults: Vec<String> = (0..8).map(|n| n.to_string()).collect();
        assert_eq!(listed(&faults, Some(5)), "0, 1, 2, 3, 4, and 3 more");
        assert_eq!(listed(&faults, None), "0, 1, 2, 3, 4, 5, 6, 7");
        assert_eq!(listed(&faults[..2], Some(5)), "0, 1");
    }
}
