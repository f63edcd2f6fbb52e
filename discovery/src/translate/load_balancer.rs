//! The shape of `loadBalancer` in a `TrafficPolicy`.
//!
//! Read by `balancer`, which balancer it is, and by `spread`, what that chooses among. Unknown fields are refused by `document`.

use serde::Deserialize;

/// `spec.loadBalancer` of `weft.dev/v1alpha1 TrafficPolicy`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerSpec {
    /// How an endpoint is chosen: p2c-ewma (the default), least-request, weighted-least-request, round-robin,
    /// weighted-round-robin, random, source-ip-hash, ring-hash, maglev, nearest or prequal.
    pub algorithm: Option<String>,
    /// p2c-ewma: the time in which an observation loses all but 1/e of its weight; 10s by default.
    pub ewma_decay: Option<String>,
    /// least-request: how many endpoints are compared, 1 to 100; 2 by default.
    pub choices: Option<i64>,
    /// ring-hash and maglev, required: what sessions are told apart by.
    pub hash_on: Option<HashOnSpec>,
    /// ring-hash: points at most, 1024 to 1048576; 65536 by default.
    pub ring_size: Option<i64>,
    /// maglev and source-ip-hash: entries, a prime from 251 to 1048573; 65537 by default.
    pub table_size: Option<i64>,
    /// nearest: requests in flight (times the weight) at which an endpoint has no headroom, 1 to 1000000; 16 by default.
    pub max_in_flight: Option<i64>,
    /// prequal: endpoints that are asked for their load for each request, 1 to 10; 3 by default.
    pub probes_per_request: Option<i64>,
    /// ring-hash, maglev and source-ip-hash: how much of its fair share of what is in flight an endpoint may have, in
    /// percent, 101 to 10000; unlimited by default.
    pub max_load_percent: Option<i64>,
    /// When fewer than so many percent of the endpoints are usable, all are used; 0 (the default) to 100.
    pub panic_threshold: Option<i64>,
    /// New endpoints get their full share of the traffic little by little; at once by default.
    pub slow_start: Option<SlowStartSpec>,
    /// How many of the endpoints one client uses, 1 to 1000000; all by default.
    pub subset_size: Option<i64>,
    /// The client's own zone comes first; zones are all the same by default.
    pub zone_aware: Option<ZoneAwareSpec>,
    /// Zones in the order in which they are used, 1 to 100; those that are not named come last. A zone takes over as far as
    /// too few endpoints of those before it are healthy. By default zones are all the same.
    pub failover: Option<Vec<String>>,
    /// Balancers by weight: weights follow what backends say of themselves in `endpoint-load-metrics`. Off by default.
    pub load_reports: Option<LoadReportsSpec>,
}

/// Exactly one of them.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HashOnSpec {
    /// true: the address of the client's end of the connection.
    pub source_address: Option<bool>,
    /// The value of this request header.
    pub header: Option<String>,
    /// The value of this cookie.
    pub cookie: Option<String>,
    /// The value of this query parameter.
    pub query_param: Option<String>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SlowStartSpec {
    /// From a tenth to the full share within this time, up to 1h.
    pub window: String,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ZoneAwareSpec {
    /// Requests in flight from one worker of a proxy (times the weight) at which an endpoint has no headroom left, 1 to
    /// 1000000; 16 by default.
    pub max_in_flight: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LoadReportsSpec {
    /// An endpoint's reports count from so long after its first one on, up to 1h; 10s by default.
    pub blackout: Option<String>,
    /// An endpoint that has not reported for so long counts by its configured weight again, up to 24h; 3m by default.
    pub expiry: Option<String>,
    /// By how much failures weigh on utilisation, 0 to 1000: at 100 (the default), failing every request is as bad as being
    /// fully busy.
    pub error_penalty_percent: Option<i64>,
}
