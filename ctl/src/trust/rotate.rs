//! `weftctl trust rotate`: replaces the root of trust, step by step, waiting where somebody would be cut off.
//!
//! Asks discovery how far it is before each step, so that it goes on where another call stopped. A wait that takes too long ends with
//! status 1 and the names of those who are waited for; nothing is lost by that.

use super::tell;
use crate::connect::Discovery;
use crate::print::{Output, width, wrapped};
use crate::progress::say;
use anyhow::{Context, anyhow, bail};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use weft_identity::certificate::Authority;
use weft_model::SpiffeId;
use weft_proto::v1;
use weft_proto::v1::rotate_trust_request::Step;

pub const ABOUT: &str = "Replace the root of trust while everything runs: trust a new one, issue all certificates anew, trust the old \
one no more.\n\nEach step begins when every proxy and every replica of discovery has done the one before: nobody is cut off. What is waited \
for is shown; whoever does not come back is waited for until its certificate ends. How far it is stands in discovery's store: stopped or \
interrupted, the same command goes on from there.";

/// Discovery is asked after this time, and then less and less often as long as nothing changes.
const FIRST_LOOK: Duration = Duration::from_millis(250);
const LAST_LOOK: Duration = Duration::from_secs(10);
/// As many are named while waiting.
const NAMED: usize = 20;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A directory with the new authority: `tls.crt` and `tls.key`, PEM. `tls.crt` may be an authority below the root, with those between
    /// them behind it; `ca.crt` then has the root, and others that are to be trusted. Without it, a new root is made
    #[arg(long, value_name = "DIRECTORY")]
    issuer: Option<PathBuf>,
    /// Say what would be done, and who would be waited for; change nothing
    #[arg(long)]
    dry_run: bool,
    /// How long to wait for others before each step
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    wait: Duration,
}

pub async fn run(args: Args, discovery: &Discovery) -> anyhow::Result<Output> {
    let present = state(discovery).await?;
    let begins = present.stage() == v1::TrustStage::Rest;
    if !begins && args.issuer.is_some() && present.stage() == v1::TrustStage::Adding {
        bail!("a rotation to another authority is under way; finish it first: weftctl trust rotate");
    }
    if present.taken_back {
        bail!("a rotation is being taken back; finish that first: weftctl trust abort");
    }
    let added = if begins { Some(issuer(args.issuer.as_deref(), discovery).await?) } else { None };
    if args.dry_run {
        return Ok(plan(&present).into());
    }
    if let Some(new) = added {
        say("Trusting a new anchor beside the present one.");
        step(discovery, Step::Add(new)).await?;
    }
    let mut now = state(discovery).await?;
    if now.stage() == v1::TrustStage::Adding {
        let issuing = "Every proxy and replica trusts it. Issuing certificates under it.";
        advance(args.wait, discovery, v1::TrustStage::Adding, (issuing, Step::Issue(v1::Empty {}))).await?;
        now = state(discovery).await?;
    }
    if now.stage() == v1::TrustStage::Issuing {
        let removing = "All certificates in use lead to the new anchor. Removing the old one.";
        advance(args.wait, discovery, v1::TrustStage::Issuing, (removing, Step::Remove(v1::Empty {}))).await?;
        now = state(discovery).await?;
    }
    say("Done.\n");
    Ok(tell::table(&now, false, SystemTime::now()).into())
}

/// What is brought, or a new root of the mesh's trust domain.
async fn issuer(directory: Option<&Path>, discovery: &Discovery) -> anyhow::Result<v1::NewIssuer> {
    let Some(directory) = directory else {
        let (certificates, key) = Authority::generate(&trust_domain(discovery).await?)?.to_pem();
        return Ok(v1::NewIssuer { certificates, key, anchors: String::new() });
    };
    let text = |name: &str| {
        let path = directory.join(name);
        std::fs::read_to_string(&path).map_err(|error| anyhow!("--issuer: {}: {error}", path.display()))
    };
    let (certificates, key) = (text("tls.crt")?, text("tls.key")?);
    let anchors = if directory.join("ca.crt").exists() { text("ca.crt")? } else { String::new() };
    let bundle = (!anchors.is_empty()).then_some(anchors.as_str());
    // Found here, it costs nobody anything.
    let read = Authority::from_pem(&certificates, &key, bundle);
    let authority = read.with_context(|| format!("--issuer: {}", directory.display()))?;
    authority.usable(SystemTime::now()).with_context(|| format!("--issuer: {}", directory.display()))?;
    Ok(v1::NewIssuer { certificates, key, anchors })
}

/// Every replica has a certificate that says it.
async fn trust_domain(discovery: &Discovery) -> anyhow::Result<String> {
    let request = v1::ListCertificatesRequest {};
    let list = discovery.call(async |mut admin| admin.list_certificates(request).await).await?.certificates;
    let id: Option<SpiffeId> = list.iter().find_map(|certificate| certificate.identity.parse().ok());
    Ok(id.context("discovery lists no certificate, not even its own")?.trust_domain)
}

pub async fn step(discovery: &Discovery, step: Step) -> anyhow::Result<()> {
    let request = v1::RotateTrustRequest { step: Some(step) };
    discovery.call(async |mut admin| admin.rotate_trust(request.clone()).await).await?;
    Ok(())
}

/// Takes the step that leads out of `stage`, when nobody has to be waited for any more.
pub async fn advance(
    patience: Duration,
    discovery: &Discovery,
    stage: v1::TrustStage,
    (words, next): (&str, Step),
) -> anyhow::Result<()> {
    let end = Instant::now() + patience;
    loop {
        wait(patience, end, discovery, stage).await?;
        say(words);
        let Err(error) = step(discovery, next.clone()).await else { return Ok(()) };
        // Somebody has come in the meantime, or taken the step already.
        let now = state(discovery).await?;
        match now.stage() == stage {
            false => return Ok(()),
            true if now.waiting.is_empty() => return Err(error),
            true => {}
        }
    }
}

/// Until nobody has to be waited for any more; says whom whenever that changes.
async fn wait(patience: Duration, end: Instant, discovery: &Discovery, stage: v1::TrustStage) -> anyhow::Result<()> {
    let (mut said, mut pause) = (None, FIRST_LOOK);
    loop {
        let state = state(discovery).await?;
        if state.stage() != stage || state.waiting.is_empty() {
            return Ok(());
        }
        if Instant::now() >= end {
            let limit = humantime::format_duration(patience);
            let left = tell::waiting(&state, SystemTime::now());
            let left = left.trim_end();
            let hint =
                "Whoever is gone for good: weftctl trust forget NAMESPACE/PROXY. To go back: weftctl trust abort.";
            bail!("{}\n{left}\nNothing more was done after {limit}; call again to go on.\n{hint}", tell::stage(&state));
        }
        let many = state.waiting.len();
        if said.replace(many) != Some(many) {
            pause = FIRST_LOOK;
            say(&format!("  waiting for {many}"));
            if many <= NAMED {
                say(tell::waiting(&state, SystemTime::now()).trim_end());
            }
        }
        tokio::time::sleep(pause.min(end.saturating_duration_since(Instant::now()))).await;
        pause = (pause * 3 / 2).min(LAST_LOOK);
    }
}

/// What a call without `--dry-run` would do.
fn plan(state: &v1::TrustState) -> String {
    let now = SystemTime::now();
    let mut text = tell::table(state, false, now);
    let order = "Would, in this order, each when nobody has to be waited for any more:";
    text.push_str(&format!("\n{}", wrapped("", order, width())));
    let steps =
        ["trust a new anchor beside the present one", "issue certificates under it", "trust the old one no more"];
    let done = match state.stage() {
        v1::TrustStage::Rest => 0,
        v1::TrustStage::Adding => 1,
        v1::TrustStage::Issuing => 2,
    };
    for (n, step) in steps.iter().enumerate().skip(done) {
        text.push_str(&wrapped(&format!("  {}. ", n + 1), step, width()));
    }
    text
}

/// How far a replacement is.
pub async fn state(discovery: &Discovery) -> anyhow::Result<v1::TrustState> {
    Ok(discovery.call(async |mut admin| admin.get_trust(v1::GetTrustRequest {}).await).await?)
}
