//! `weftctl proxy dump|services|endpoints|config NAME`: what one proxy knows, would do and runs with, from the proxy itself.
//!
//! Asked for through the replica that the proxy is connected to, so every replica is tried until one knows it. A dump is
//! printed as the proxy says it: nothing is left out and nothing is added.

mod knows;

use crate::connect::Discovery;
use crate::print::{self, Format, Output};
use crate::scope::Namespace;
use anyhow::{Context as _, anyhow};
use serde_json::Value;
use weft_proto::v1;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show all that this proxy knows: services, endpoints and their state, identity
    Dump(Dump),
    /// List the services that it knows
    #[command(visible_alias = "clusters")]
    Services(Services),
    /// List the endpoints that it knows
    Endpoints(Endpoints),
    /// List what it runs with: every flag and its value in force, secrets masked
    Config(Settings),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The proxy's name, as `weftctl status` lists it
    name: String,
    #[command(flatten)]
    namespace: Namespace,
}

#[derive(Debug, clap::Args)]
pub struct Dump {
    #[command(flatten)]
    which: Which,
    /// How to print it
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    output: Form,
}

#[derive(Debug, clap::Args)]
pub struct Services {
    #[command(flatten)]
    which: Which,
    /// How to print them
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

#[derive(Debug, clap::Args)]
pub struct Endpoints {
    #[command(flatten)]
    which: Which,
    /// Only those of the service of this name
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,
    /// How to print them
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

#[derive(Debug, clap::Args)]
pub struct Settings {
    #[command(flatten)]
    which: Which,
    /// How to print it; wide shows flags that are not set, too
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Form {
    Yaml,
    Json,
}

pub async fn run(command: Command, discovery: &Discovery) -> anyhow::Result<Output> {
    let text = match command {
        Command::Dump(Dump { which, output }) => {
            let dump = dump(&which.namespace.namespace, &which.name, discovery).await?;
            match output {
                Form::Json => print::json(&dump)?,
                Form::Yaml => print::yaml(&[dump])?,
            }
        }
        Command::Services(Services { which, output }) => {
            let dump = dump(&which.namespace.namespace, &which.name, discovery).await?;
            match output {
                Format::Table | Format::Wide => knows::services(&dump, output)?,
                Format::Json => print::json(&dump["services"])?,
                Format::Yaml => print::yaml(&[&dump["services"]])?,
            }
        }
        Command::Endpoints(Endpoints { which, service, output }) => {
            let dump = dump(&which.namespace.namespace, &which.name, discovery).await?;
            let values = || knows::endpoint_values(&dump, service.as_deref());
            match output {
                Format::Table | Format::Wide => knows::endpoints(&dump, service.as_deref(), output)?,
                Format::Json => print::json(&values())?,
                Format::Yaml => print::yaml(&[values()])?,
            }
        }
        Command::Config(Settings { which, output }) => {
            let settings = settings(&which.namespace.namespace, &which.name, discovery).await?;
            match output {
                Format::Table | Format::Wide => knows::settings(&settings, output)?,
                Format::Json => print::json(&settings)?,
                Format::Yaml => print::yaml(&[settings])?,
            }
        }
    };
    Ok(text.into())
}

/// What the proxy runs with, by the names of its flags.
pub async fn settings(namespace: &str, name: &str, discovery: &Discovery) -> anyhow::Result<Value> {
    let whole = format!("{namespace}/{name}");
    let Some(said) = discovery.ask_proxy(&whole, "config", "{}".to_owned()).await? else { return Err(gone(&whole)) };
    let mut said: Value = serde_json::from_str(&said).with_context(|| format!("the answer of {whole}"))?;
    Ok(said["settings"].take())
}

fn gone(proxy: &str) -> anyhow::Error {
    anyhow!("no proxy {proxy} is connected; `weftctl status` lists those that are")
}

/// All that the proxy says of itself.
pub async fn dump(namespace: &str, name: &str, discovery: &Discovery) -> anyhow::Result<Value> {
    let request = v1::DumpProxyRequest { namespace: namespace.to_owned(), name: name.to_owned() };
    let mut failure = None;
    for (address, answer) in discovery.each(async |mut admin| admin.dump_proxy(request.clone()).await).await {
        match answer {
            Ok(dump) => {
                return serde_json::from_str(&dump.json).with_context(|| format!("the answer through {address}"));
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        // A replica that did not answer may be the one that knows it.
        Some(error) => Err(error.into()),
        None => Err(gone(&format!("{namespace}/{name}"))),
    }
}
