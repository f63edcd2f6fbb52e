//! A new opaque connection for every exchange: what a TLS session of its own costs, for there is nothing to share it with.
//!
//! 16 at a time, 128 bytes there and 8 back. The proxies resume sessions wherever they do so by default; once more they do not.

use super::kind::Scenario;
use crate::contender::{self, Contender};
use crate::cpu;
use crate::figure::{CONNECTIONS, CPU_PER_CONNECTION, Figures};
use crate::load::dial;
use crate::traffic::Traffic;
use std::net::SocketAddr;
use std::time::Duration;

pub fn scenario() -> Scenario {
    Scenario {
        name: "churn-tcp",
        about: "a TCP connection per exchange of 128 bytes, 16 at a time, a TLS session each (resumed by default)",
        traffic: Traffic::Tcp,
        fresh: false,
        variants: &[],
        over_direct: &[],
        measure,
    }
}

pub fn full() -> Scenario {
    Scenario {
        name: "churn-tcp-full",
        about: "the same through pairs that never resume a TLS session: a full handshake for each connection",
        variants: contender::FULL,
        ..scenario()
    }
}

fn measure(contender: &mut dyn Contender, target: SocketAddr, duration: Duration) -> anyhow::Result<Figures> {
    let pids = contender.proxies();
    let (dialled, spent) = cpu::during(&pids, || dial::run(contender.client(), target, 16, 128, duration))?;
    Ok(Figures::default()
        .with(CPU_PER_CONNECTION, cpu::per_request(&pids, spent, dialled.connections))
        .with(CONNECTIONS, dialled.connections as f64 / dialled.elapsed.as_secs_f64()))
}
