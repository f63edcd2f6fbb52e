//! A new connection for every request: what taking over a connection costs.
//!
//! HTTP/1.1 with `connection: close`, 64 at a time, 128 bytes each way. Between the proxies connections may be shared.

use super::closed;
use super::kind::Scenario;
use crate::load::wrk::Requests;
use crate::traffic::Traffic;

pub fn scenario() -> Scenario {
    Scenario {
        name: "churn",
        about: "HTTP/1.1, a new connection per request, 64 at a time, 128-byte bodies",
        traffic: Traffic::Http1,
        fresh: false,
        variants: &[],
        over_direct: &[],
        measure: |contender, target, duration| {
            let requests = Requests { connections: 64, body: 128, close: true };
            closed::measure(contender, target, &requests, duration)
        },
    }
}
