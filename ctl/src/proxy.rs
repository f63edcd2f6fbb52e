//! `weftctl proxy dump NAME`: what one proxy knows and would do, from the proxy itself.
//!
//! Asked for through the replica that the proxy is connected to, so every replica is tried until one knows it. Printed
//! as the proxy says it: nothing is left out and nothing is added.

use crate::connect::Discovery;
use crate::print::{self, Output};
use crate::scope::Namespace;
use anyhow::{Context as _, bail};
use serde_json::Value;
use weft_proto::v1;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show what this proxy knows: services, endpoints and their state, identity
    Dump(Args),
}

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The proxy's name, as `weftctl status` lists it
    name: String,
    #[command(flatten)]
    namespace: Namespace,
    /// How to print it
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    output: Form,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Form {
    Yaml,
    Json,
}

pub async fn run(command: Command, discovery: &Discovery) -> anyhow::Result<Output> {
    let Command::Dump(Args { name, namespace: Namespace { namespace }, output }) = command;
    let request = v1::DumpProxyRequest { namespace: namespace.clone(), name: name.clone() };
    let mut failure = None;
    for (address, answer) in discovery.each(async |mut admin| admin.dump_proxy(request.clone()).await).await {
        match answer {
            Ok(dump) => return print(&dump.json, output).with_context(|| format!("the answer through {address}")),
            Err(error) if error.is_not_found() => {}
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        // A replica that did not answer may be the one that knows it.
        Some(error) => Err(error.into()),
        None => bail!("no proxy {namespace}/{name} is connected; `weftctl status` lists those that are"),
    }
}

fn print(json: &str, form: Form) -> anyhow::Result<Output> {
    let dump: Value = serde_json::from_str(json)?;
    Ok(match form {
        Form::Json => print::json(&dump)?,
        Form::Yaml => print::yaml(&[dump])?,
    }
    .into())
}
