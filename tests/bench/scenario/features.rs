//! What is paid for what is turned on: pairs of Weft's sidecars that differ in nothing else, side by side in the same rounds.
//!
//! The load is that of `http1-small`. The collector's own CPU time counts for nobody.

use super::closed;
use super::kind::Scenario;
use crate::contender::VARIANTS;
use crate::load::scrape;
use crate::load::wrk::Requests;
use crate::traffic::Traffic;

pub fn scenario() -> Scenario {
    Scenario {
        name: "features",
        about: "HTTP/1.1 as in http1-small through pairs of Weft's sidecars: metrics scraped each second, 1 % of requests \
                traced to a collector, an access log of all requests, a tap that sees none of them, 100 routes, authorization with \
                100 rules, all of these but the tap",
        traffic: Traffic::Http1,
        fresh: false,
        variants: VARIANTS,
        over_direct: &[],
        measure: |contender, target, duration| {
            let requests = Requests { connections: 64, body: 128, close: false };
            let pages = contender.scraped();
            scrape::during(&pages, || closed::measure(contender, target, &requests, duration))
        },
    }
}
