//! `weftctl logs level PROXY [FILTER]`: what a proxy logs, and from now on; `logs show PROXY`: the last of it.
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
    /// Show the last lines that a proxy has logged (64 KiB at most)
    Show(Show),
}

#[derive(Debug, clap::Args)]
pub struct Show {
    /// The proxy's name, or NAMESPACE/NAME
    proxy: String,
}

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The proxy's name, or NAMESPACE/NAME
    proxy: String,
    /// What to log from now on: off, error, warn, info, debug or trace, or by module as in info,weft_proxy::outbound=debug
    filter: Option<String>,
}

pub async fn run(command: Command, discovery: &Discovery) -> anyhow::Result<Output> {
    let (Args { proxy, filter }, recent) = match command {
        Command::Level(args) => (args, false),
        Command::Show(Show { proxy }) => (Args { proxy, filter: None }, true),
    };
    let question = match &filter {
        Some(filter) => json!({ "filter": filter }),
        None => json!({ "recent": recent }),
    };
    let Some(said) = discovery.ask_proxy(&proxy, TOPIC, question.to_string()).await? else {
        bail!("no proxy {proxy} is connected; `weftctl status` lists those that are");
    };
    let said: Value = serde_json::from_str(&said).with_context(|| format!("the answer of {proxy}"))?;
    if recent {
        // The proxy has escaped what is not text, but for the ends of lines.
        let lines = said["recent"].as_str().unwrap_or_default().lines();
        return Ok(lines.fold(String::new(), |all, line| all + &plain(line) + "\n").into());
    }
    let [now, before] = ["filter", "before"].map(|field| plain(said[field].as_str().unwrap_or_default()));
    Ok(if filter.is_some() { format!("{proxy} logs {now} (before: {before})\n") } else { format!("{now}\n") }.into())
}
