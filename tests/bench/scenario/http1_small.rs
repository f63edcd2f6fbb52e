//! Many small requests: where a sidecar's own work per request dominates everything else.
//!
//! HTTP/1.1 with keep-alive, 64 connections, 128 bytes each way.

use super::closed;
use super::kind::Scenario;
use crate::load::wrk::Requests;
use crate::traffic::Traffic;

pub fn scenario() -> Scenario {
    Scenario {
        name: "http1-small",
        about: "HTTP/1.1, keep-alive, 64 connections, 128-byte bodies",
        traffic: Traffic::Http1,
        fresh: false,
        variants: &[],
        over_direct: &[],
        measure: |contender, target, duration| {
            let requests = Requests { connections: 64, body: 128, close: false };
            closed::measure(contender, target, &requests, duration)
        },
    }
}
