//! Bodies that are far larger than any buffer: what copying and encrypting cost where HTTP is read around them.
//!
//! HTTP/1.1, one connection, 64 MiB there and then 64 MiB back, again and again.

use super::kind::Scenario;
use super::tcp;
use crate::cpu;
use crate::load::large;
use crate::traffic::Traffic;

pub fn scenario() -> Scenario {
    Scenario {
        name: "http1-large",
        about: "HTTP/1.1, one connection, bodies of 64 MiB there and back",
        traffic: Traffic::Http1,
        fresh: false,
        variants: &[],
        over_direct: &[],
        measure: |contender, target, duration| {
            let pids = contender.proxies();
            let (moved, spent) = cpu::during(&pids, || large::run(contender.client(), target, duration))?;
            Ok(tcp::figures(&pids, moved.bytes, moved.elapsed, spent))
        },
    }
}
