//! The two ends that contenders put their proxies between: a client pod, a server pod, the server in it.
//!
//! Fails when the server does not come up. Everything ends with the value.

use crate::responder;
use std::time::Duration;
use weft_examples::pods::{Network, Pod, Process};

pub struct Ends {
    _responder: Process,
    pub client: Pod,
    pub server: Pod,
    // The wires between the pods.
    _network: Network,
}

impl Ends {
    pub fn start(network: Network) -> anyhow::Result<Self> {
        let (client, server) = (network.pod("client")?, network.pod("server")?);
        let responder = server.spawn(responder::program()?)?;
        responder.wait_log("is ready", Duration::from_secs(10))?;
        Ok(Self { _responder: responder, client, server, _network: network })
    }
}
