//! A calm service: what the mesh adds to a request when nothing is saturated, and what it costs to be woken for it.
//!
//! HTTP/1.1, 1,000 requests/s over 64 connections, evenly spread, 128 bytes each way; latency counts from when a request was due,
//! but for those that the machine's own stalls made late.

use super::kind::Scenario;
use crate::cpu;
use crate::figure::{ADDED_P50, ADDED_P99, ADDED_P999, CPU_PER_REQUEST, Figures, LEFT_OUT, P50, P99, P999};
use crate::latency::Latencies;
use crate::load::paced::{self, Pace};
use crate::traffic::Traffic;

pub fn scenario() -> Scenario {
    Scenario {
        name: "paced",
        about: "HTTP/1.1, 1,000 requests/s over 64 connections, 128-byte bodies",
        traffic: Traffic::Http1,
        fresh: false,
        variants: &[],
        over_direct: &[(P50, ADDED_P50), (P99, ADDED_P99), (P999, ADDED_P999)],
        measure: |contender, target, duration| {
            let pace = Pace { rate: 1000, connections: 64, body: 128 };
            let pids = contender.proxies();
            let (paced, spent) = cpu::during(&pids, || paced::run(contender.client(), target, &pace, duration))?;
            let latencies = paced.latencies.as_ref();
            let micros = |share| latencies.map(|all| all.percentile(share).as_secs_f64() * 1e6);
            let left_out = (paced.sent - latencies.map_or(0, Latencies::count)) as f64 / paced.sent as f64;
            Ok(Figures::default()
                .with(CPU_PER_REQUEST, cpu::per_request(&pids, spent, paced.sent + paced.first))
                .with(P50, micros(0.5))
                .with(P99, micros(0.99))
                .with(P999, micros(0.999))
                .with(LEFT_OUT, left_out * 100.0))
        },
    }
}
