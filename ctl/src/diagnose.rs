//! `weftctl diagnose PROXY`: all that tells how a proxy is, in one archive to send to whoever helps.
//!
//! What cannot be had is a file that says why, so that half of an answer is better than none. No keys are in it: proxies
//! never tell them, and certificates are listed, not copied.

use crate::connect::Discovery;
use crate::print::{self, Output};
use crate::scope::Namespace;
use crate::{check, get, proxy, status};
use anyhow::{Context as _, bail};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The proxy's name, as `weftctl status` lists it
    name: String,
    #[command(flatten)]
    namespace: Namespace,
    /// Where to write it; it must not be there yet  [default: weft-NAMESPACE-NAME.tar.gz]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

pub async fn run(args: Args, discovery: &Discovery) -> anyhow::Result<Output> {
    let Args { name, namespace: Namespace { namespace }, file } = args;
    let dump = proxy::dump(&namespace, &name, discovery).await?;
    let whole = format!("{namespace}/{name}");
    let settings = proxy::settings(&namespace, &name, discovery).await;
    let files = [
        ("configuration.json", print::json(&dump).map_err(Into::into)),
        ("settings.json", settings.and_then(|said| Ok(print::json(&said)?))),
        ("metrics.txt", asked(&whole, "metrics", json!({}), "text", discovery).await),
        ("logs.txt", asked(&whole, "logs", json!({ "recent": true }), "recent", discovery).await),
        ("certificates.json", certificates(&name, &namespace, discovery).await),
        ("status.txt", status::text(discovery).await),
        ("check.txt", check::text(discovery).await),
    ];
    let directory = format!("weft-{namespace}-{name}");
    let path = file.unwrap_or_else(|| PathBuf::from(format!("{directory}.tar.gz")));
    let out = OpenOptions::new().write(true).create_new(true).open(&path);
    let out = out.with_context(|| format!("writing {}", path.display()))?;
    let mut notes = Vec::new();
    let mut archive = tar::Builder::new(GzEncoder::new(out, Compression::default()));
    for (file, content) in files {
        let (file, content) = match content {
            Ok(content) => (file.to_owned(), content),
            Err(error) => {
                notes.push(format!("{file}: {error:#}"));
                (format!("{file}.missing"), format!("{error:#}\n"))
            }
        };
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
        archive.append_data(&mut header, format!("{directory}/{file}"), content.as_bytes())?;
    }
    archive.into_inner()?.finish()?.flush()?;
    Ok(Output { text: format!("{}\n", path.display()), notes, failed: false })
}

async fn certificates(name: &str, namespace: &str, discovery: &Discovery) -> anyhow::Result<String> {
    Ok(print::json(&get::certificates_of(name, namespace, discovery).await?)?)
}

/// What the proxy answers under `field`.
async fn asked(
    proxy: &str,
    topic: &str,
    question: Value,
    field: &str,
    discovery: &Discovery,
) -> anyhow::Result<String> {
    let Some(said) = discovery.ask_proxy(proxy, topic, question.to_string()).await? else { bail!("it has just gone") };
    let said: Value = serde_json::from_str(&said)?;
    Ok(said[field].as_str().with_context(|| format!("the answer has no {field}"))?.to_owned())
}
