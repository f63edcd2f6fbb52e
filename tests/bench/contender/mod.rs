//! Who is measured: nothing at all, a pair of Weft's sidecars, a pair of Envoys.
//!
//! Each starts a server pod and a client pod on a network of its own and says what to dial and whose CPU time counts.

mod direct;
mod weft;
mod envoy;

use crate::scenario::Scenario;
use anyhow::{Context, bail};
use std::net::SocketAddr;
use std::path::Path;
use weft_examples::pods::{Network, Pod, Program};

/// Where the server listens.
const PORT: u16 = 8080;

/// A running pair, ready to be loaded.
pub trait Contender {
    fn name(&self) -> &'static str;
    /// Where the load comes from.
    fn client(&self) -> &Pod;
    /// What it dials.
    fn target(&self) -> SocketAddr;
    /// The processes between client and server.
    fn proxies(&self) -> Vec<u32>;
}

/// Starts the contender called `name`.
pub fn start(name: &str, scenario: &Scenario, network: Network, envoy: &Path) -> anyhow::Result<Box<dyn Contender>> {
    Ok(match name {
        "direct" => Box::new(direct::Direct::start(scenario, network)?),
        "weft" => Box::new(weft::Weft::start(scenario, network)?),
        "envoy" => Box::new(envoy::Envoy::start(scenario, network, envoy)?),
        other => bail!("there is no contender {other:?}; there are direct, weft and envoy"),
    })
}

/// This program in its other role.
fn responder(scenario: &Scenario) -> anyhow::Result<Program> {
    let own = std::env::current_exe().context("find this program")?;
    let (port, body) = (PORT.to_string(), scenario.response_body.to_string());
    Ok(Program::new(own).label("responder").args(["respond", "--port", &port, "--body", &body]))
}
