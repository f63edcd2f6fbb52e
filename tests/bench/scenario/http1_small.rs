//! Many small requests: where a sidecar's own work per request dominates everything else.
//!
//! HTTP/1.1 with keep-alive, 64 connections, 128 bytes each way.

use super::Scenario;

pub fn scenario() -> Scenario {
    Scenario {
        name: "http1-small",
        about: "HTTP/1.1, keep-alive, 64 connections, 128-byte bodies",
        connections: 64,
        request_body: 128,
        response_body: 128,
    }
}
