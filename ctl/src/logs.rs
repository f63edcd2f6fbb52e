//! `weftctl logs level PROXY [FILTER]`: what a proxy logs, and from now on.
//!
//! Asked of the proxy itself while it runs; a restart brings its flags back. A filter that cannot be read changes nothing.

use crate::connect::Discovery;
use crate::print::{Output, plain};
use anyhow::{Context as _, bail};
use serde_json::{Value, json};

/// What proxies call this question.
const TOPIC: &str = "logs";

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show or change what a proxy logs, until it restarts
    Level(Args),
}

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The proxy's name, or NAMESPACE/NAME
    proxy: String,
    /// What to log from now on: off, error, warn, info, debug or trace, or by module as in info,weft_proxy::outbound=debug
    filter: Option<String>,
}

pub async fn run(command: Command, discovery: &Discovery) -> anyhow::Result<Output> {
    let Command::Level(Args { proxy, filter }) = command;
    let question = filter.as_ref().map_or_else(|| json!({}), |filter| json!({ "filter": filter }));
    let Some(said) = discovery.ask_proxy(&proxy, TOPIC, question.to_string()).await? else {
        bail!("no proxy {proxy} is connected; `weftctl status` lists those that are");
    };
    let said: Value = serde_json::from_str(&said).with_context(|| format!("the answer of {proxy}"))?;
    let [now, before] = ["filter", "before"].map(|field| plain(said[field].as_str().unwrap_or_default()));
    Ok(if filter.is_some() { format!("{proxy} logs {now} (before: {before})\n") } else { format!("{now}\n") }.into())
}
