//! `weftctl trust anchors`: the roots that every proxy trusts, as PEM.
//!
//! What a proxy is given at its start to know discovery by. Two of them: the root is being replaced.

use crate::connect::Discovery;
use crate::print::Output;
use weft_proto::v1;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print the trust anchors, PEM
    Anchors,
}

pub async fn run(command: Command, discovery: &Discovery) -> anyhow::Result<Output> {
    let Command::Anchors = command;
    let anchors =
        discovery.call(async |mut admin| admin.get_trust_anchors(v1::GetTrustAnchorsRequest {}).await).await?;
    Ok(anchors.pem.into())
}
