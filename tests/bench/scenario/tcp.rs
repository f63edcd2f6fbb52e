//! One stream of bytes that nobody looks into: what copying and encrypting cost.
//!
//! From the client to the server, as fast as it is taken.

use super::kind::Scenario;
use crate::cpu;
use crate::figure::{BYTES, CPU_PER_GIB, Figures};
use crate::load::stream;
use crate::traffic::Traffic;
use std::time::Duration;

const GIB: f64 = (1 << 30) as f64;

pub fn scenario() -> Scenario {
    Scenario {
        name: "tcp",
        about: "one TCP stream, client to server",
        traffic: Traffic::Tcp,
        fresh: false,
        variants: &[],
        over_direct: &[],
        measure: |contender, target, duration| {
            let pids = contender.proxies();
            let (moved, spent) = cpu::during(&pids, || stream::run(contender.client(), target, duration))?;
            Ok(figures(&pids, moved.bytes, moved.elapsed, spent))
        },
    }
}

/// What moving so many bytes in that time came to.
pub fn figures(pids: &[u32], bytes: u64, elapsed: Duration, spent: Duration) -> Figures {
    let bytes = bytes as f64;
    let per_gib = (!pids.is_empty()).then(|| spent.as_secs_f64() / (bytes / GIB));
    Figures::default().with(CPU_PER_GIB, per_gib).with(BYTES, bytes / 1e9 / elapsed.as_secs_f64())
}
