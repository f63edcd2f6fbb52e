//! Generated from `proto/shop.proto`, and how the shop dials a gRPC service.
//!
//! The channel connects when it is first used and again when it has broken; requests fail fast meanwhile.

tonic::include_proto!("shop.v1");

use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// A channel to `host:port` in plaintext, as an application without a mesh would use it.
pub fn channel(address: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(endpoint.connect_timeout(Duration::from_secs(5)).timeout(Duration::from_secs(10)).connect_lazy())
}
