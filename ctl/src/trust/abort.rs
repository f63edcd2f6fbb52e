//! `weftctl trust abort`: takes back a replacement of the root that has not removed the old anchor.
//!
//! While nothing is signed under the new anchor that is one write. Afterwards it is a replacement in the other direction, with the same
//! waiting: nobody is cut off by it either, and the same command goes on where it was stopped.

use super::rotate::{advance, state, step};
use super::tell;
use crate::connect::Discovery;
use crate::print::Output;
use crate::progress::say;
use anyhow::bail;
use std::time::{Duration, SystemTime};
use weft_proto::v1;
use weft_proto::v1::rotate_trust_request::Step;

pub const ABOUT: &str = "Take back a replacement of the root of trust that has not removed the old anchor.\n\nWhile no certificate leads to \
the new anchor it is trusted no more at once. Otherwise certificates are issued under the old one again, and the new one is removed when \
nobody needs it. Stopped or interrupted, the same command goes on from there.";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long to wait for others before the new anchor is removed
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    wait: Duration,
}

pub async fn run(args: &Args, discovery: &Discovery) -> anyhow::Result<Output> {
    match state(discovery).await?.stage() {
        v1::TrustStage::Rest => bail!("no rotation is under way: there is nothing to take back"),
        v1::TrustStage::Adding => say("Trusting the new anchor no more: nothing leads to it."),
        v1::TrustStage::Issuing => say("Issuing certificates under the old anchor again."),
    }
    step(discovery, Step::TakeBack(v1::Empty {})).await?;
    let mut now = state(discovery).await?;
    if now.stage() == v1::TrustStage::Issuing {
        let removing = "All certificates in use lead to the old anchor. Removing the new one.";
        advance(args.wait, discovery, v1::TrustStage::Issuing, (removing, Step::Remove(v1::Empty {}))).await?;
        now = state(discovery).await?;
    }
    say("Done.\n");
    Ok(tell::table(&now, false, SystemTime::now()).into())
}
