//! HTTP/1.1 in a closed loop: what the scenarios loaded by `wrk` have in common.
//!
//! The next request leaves when the answer is there, so the rate says what fits through, and the latencies what that felt like.

use crate::contender::Contender;
use crate::cpu;
use crate::figure::{CPU_PER_REQUEST, Figures, P50, P99, REQUESTS};
use crate::load::wrk::{self, Requests};
use std::net::SocketAddr;
use std::time::Duration;

pub fn measure(
    contender: &mut dyn Contender,
    target: SocketAddr,
    requests: &Requests,
    duration: Duration,
) -> anyhow::Result<Figures> {
    let pids = contender.proxies();
    let (loaded, spent) = cpu::during(&pids, || wrk::run(contender.client(), target, requests, duration))?;
    Ok(Figures::default()
        .with(CPU_PER_REQUEST, cpu::per_request(&pids, spent, loaded.requests))
        .with(REQUESTS, loaded.requests as f64 / loaded.elapsed.as_secs_f64())
        .with(P50, loaded.p50.as_secs_f64() * 1e6)
        .with(P99, loaded.p99.as_secs_f64() * 1e6))
}
