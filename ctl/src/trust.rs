//! `weftctl trust`: whom the mesh trusts (`anchors`, `status`), and the replacement of its root (`rotate`, `abort`, `forget`).
//!
//! How far a replacement is stands in discovery's store and nowhere else: whoever calls again goes on from there. What could cut anybody
//! off is refused by discovery, not here.

mod abort;
mod forget;
mod rotate;
mod tell;

pub use tell::short;

use crate::connect::Discovery;
use crate::print::{self, Format, Output};
use std::time::SystemTime;
use weft_proto::v1;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print the trust anchors, PEM
    Anchors,
    /// Show the trust anchors, how many certificates lead to each, and how far a replacement is
    Status(Status),
    /// Replace the root of trust while everything runs: trust a new one, issue all certificates anew, trust the old one no more
    #[command(long_about = rotate::ABOUT)]
    Rotate(rotate::Args),
    /// Take back a replacement that has not removed the old anchor
    #[command(long_about = abort::ABOUT)]
    Abort(abort::Args),
    /// Wait no more for proxies that are gone for good
    #[command(long_about = forget::ABOUT)]
    Forget(forget::Args),
}

#[derive(Debug, clap::Args)]
pub struct Status {
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

pub async fn run(command: Command, discovery: &Discovery) -> anyhow::Result<Output> {
    match command {
        Command::Anchors => {
            let request = v1::GetTrustAnchorsRequest {};
            Ok(discovery.call(async |mut admin| admin.get_trust_anchors(request).await).await?.pem.into())
        }
        Command::Status(args) => status(&args, discovery).await,
        Command::Rotate(args) => rotate::run(args, discovery).await,
        Command::Abort(args) => abort::run(&args, discovery).await,
        Command::Forget(args) => forget::run(&args, discovery).await,
    }
}

async fn status(args: &Status, discovery: &Discovery) -> anyhow::Result<Output> {
    let state = rotate::state(discovery).await?;
    let now = SystemTime::now();
    Ok(match args.output {
        Format::Table => tell::table(&state, false, now).into(),
        Format::Wide => tell::table(&state, true, now).into(),
        Format::Json => print::json(&tell::value(&state))?.into(),
        Format::Yaml => print::yaml(&[tell::value(&state)])?.into(),
    })
}
