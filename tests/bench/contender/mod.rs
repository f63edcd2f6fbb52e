//! Who is measured: nothing at all, a pair of Weft's sidecars, a pair of Envoys.
//!
//! Each starts a server pod and a client pod on a network of its own and says what to dial and whose CPU time counts.

mod pair;
mod direct;
mod weft;
mod envoy;

pub use pair::Contender;

use crate::scenario::Scenario;
use anyhow::bail;
use std::path::Path;
use weft_examples::pods::Network;

/// Starts the contender called `name`.
pub fn start(name: &str, scenario: &Scenario, network: Network, envoy: &Path) -> anyhow::Result<Box<dyn Contender>> {
    Ok(match name {
        "direct" => Box::new(direct::Direct::start(scenario, network)?),
        "weft" => Box::new(weft::Weft::start(scenario, network)?),
        "envoy" => Box::new(envoy::Envoy::start(scenario, network, envoy)?),
        other => bail!("there is no contender {other:?}; there are direct, weft and envoy"),
    })
}
