//! Who is measured: nothing at all, a pair of Weft's sidecars, and pairs of other proxies.
//!
//! Each starts a server pod and a client pod on a network of its own and says what to dial and whose CPU time counts. A further
//! proxy is one file that ends in [`proxied::Proxied::start`], and a line in [`NAMES`] and [`start`].

mod pair;
mod ends;
mod direct;
mod weft;
mod proxied;
mod certificates;
mod envoy;
mod haproxy;
mod nginx;

pub use direct::NAME as DIRECT;
pub use pair::{Contender, KNOWN_SERVICES};
pub use weft::VARIANTS;

use anyhow::bail;
use std::path::Path;
use weft_examples::pods::Network;

/// All of them.
pub const NAMES: &str = "direct,weft,envoy,envoy-h2,haproxy,nginx";
/// Those that there is time for in a quick look.
pub const QUICK: &str = "direct,weft,envoy,haproxy";
/// Those that never resume a TLS session; the one that others are held against is the first.
pub const FULL: &[&str] = &["envoy-full", weft::FULL, "haproxy-full"];

/// Starts the contender called `name`.
pub fn start(name: &str, network: Network, envoy: &Path) -> anyhow::Result<Box<dyn Contender>> {
    Ok(match name {
        DIRECT => Box::new(direct::Direct::start(network)?),
        weft::NAME => Box::new(weft::Weft::start(network)?),
        "envoy" => Box::new(envoy::start(network, envoy)?),
        "envoy-h2" => Box::new(envoy::start_h2(network, envoy)?),
        "haproxy" => Box::new(haproxy::start(network)?),
        weft::FULL => Box::new(weft::Weft::start_full(network)?),
        "envoy-full" => Box::new(envoy::start_full(network, envoy)?),
        "haproxy-full" => Box::new(haproxy::start_full(network)?),
        "nginx" => Box::new(nginx::start(network)?),
        variant if VARIANTS.contains(&variant) => Box::new(weft::Weft::start_variant(network, variant)?),
        other => bail!("there is no contender {other:?}; there are {NAMES}"),
    })
}

/// Whether `name` is somebody else's proxy, whose failures are not ours.
pub fn is_peer(name: &str) -> bool {
    ![DIRECT, weft::NAME, weft::FULL].contains(&name) && !VARIANTS.contains(&name)
}

/// Why `name` cannot be started on this machine, where that is no fault.
pub fn missing(name: &str) -> Option<String> {
    weft::missing(name)
}
