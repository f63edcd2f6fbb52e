//! `weftctl token create`: a join token, with which a proxy proves which service account it runs as.
//!
//! The token alone goes to standard output, so that it can be put into a file; what it is good for to standard error.

use crate::connect::Discovery;
use crate::print::{Output, date};
use std::time::Duration;
use weft_model::names::{label, subdomain};
use weft_proto::v1;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a join token for a workload
    Create(Args),
}

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The workload's namespace
    #[arg(short, long, value_parser = |text: &str| label(text))]
    namespace: String,
    /// The service account it runs as; its certificate will say so
    #[arg(long, value_name = "NAME", value_parser = |text: &str| subdomain(text))]
    service_account: String,
    /// How long the token can be used
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = ttl)]
    ttl: Duration,
}

/// Whole seconds, at least one.
fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if ttl.as_secs() == 0 { Err("must be at least 1s".to_owned()) } else { Ok(ttl) }
}

pub async fn run(command: Command, discovery: &Discovery) -> anyhow::Result<Output> {
    let Command::Create(Args { namespace, service_account, ttl }) = command;
    let request = v1::CreateJoinTokenRequest {
        namespace: namespace.clone(),
        service_account: service_account.clone(),
        ttl_seconds: ttl.as_secs(),
    };
    let made = discovery.call(async |mut admin| admin.create_join_token(request.clone()).await).await?;
    let until = date(made.expires);
    let note = format!("for {namespace}/{service_account} until {until}; whoever has it can become that workload");
    Ok(Output { text: made.token + "\n", notes: vec![note], failed: false })
}
