//! Many small requests over few connections, as gRPC clients make them.
//!
//! HTTP/2, 8 connections with 32 streams each, 128 bytes each way.

use super::kind::Scenario;
use crate::cpu;
use crate::figure::{CPU_PER_REQUEST, Figures, REQUESTS};
use crate::load::h2load::{self, Requests};
use crate::traffic::Traffic;

pub fn scenario() -> Scenario {
    Scenario {
        name: "http2",
        about: "HTTP/2, 8 connections x 32 streams, 128-byte bodies",
        traffic: Traffic::Http2,
        fresh: false,
        variants: &[],
        over_direct: &[],
        measure: |contender, target, duration| {
            let requests = Requests { connections: 8, streams: 32, body: 128 };
            let pids = contender.proxies();
            let (loaded, spent) = cpu::during(&pids, || h2load::run(contender.client(), target, &requests, duration))?;
            Ok(Figures::default()
                .with(CPU_PER_REQUEST, cpu::per_request(&pids, spent, loaded.requests))
                .with(REQUESTS, loaded.per_second))
        },
    }
}
