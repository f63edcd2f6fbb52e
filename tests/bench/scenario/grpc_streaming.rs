//! Messages on streams that stay open, as gRPC's bidirectional calls send them.
//!
//! 8 connections with 4 streams each, 8 messages of 128 bytes under way on every stream; each comes back before the next is sent.

use super::kind::Scenario;
use crate::cpu;
use crate::figure::{CPU_PER_MESSAGE, Figures, MESSAGES};
use crate::load::grpc::{self, Streams};
use crate::traffic::Traffic;

pub fn scenario() -> Scenario {
    Scenario {
        name: "grpc-streaming",
        about: "gRPC, 8 connections x 4 bidirectional streams x 8 messages of 128 bytes under way",
        traffic: Traffic::Http2,
        fresh: false,
        variants: &[],
        over_direct: &[],
        measure: |contender, target, duration| {
            let streams = Streams { connections: 8, streams: 4, window: 8, message: 128 };
            let pids = contender.proxies();
            let (loaded, spent) = cpu::during(&pids, || grpc::run(contender.client(), target, &streams, duration))?;
            Ok(Figures::default()
                .with(CPU_PER_MESSAGE, cpu::per_request(&pids, spent, loaded.messages))
                .with(MESSAGES, loaded.messages as f64 / loaded.elapsed.as_secs_f64()))
        },
    }
}
