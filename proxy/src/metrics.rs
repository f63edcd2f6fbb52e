//! What the proxy counts. Labels come from discovery and from fixed words only, so no client can make series.
//!
//! Used from the data path through handles that are looked up once: [`RequestMeter`] remembers the counters of one
//! endpoint, so that counting a request is an addition, without a lock or an allocation. The series of endpoints that are
//! gone go after a while.

mod departed;

use crate::drain::Direction;
use departed::{Departed, Stay};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use weft_telemetry::metrics::{LatencyHistogram, OpenConnection, Registry};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    direction: &'static str,
    service: String,
    route: String,
    endpoint: String,
    status: u16,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    direction: &'static str,
    service: String,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RetryLabels {
    service: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EjectionLabels {
    service: String,
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabels {
    direction: &'static str,
    protocol: &'static str,
    mtls: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    direction: &'static str,
    service: String,
    mtls: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabels {
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FaultLabels {
    service: String,
    fault: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MalformedLabels {
    protocol: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AuthorizationLabels {
    policy: String,
    outcome: &'static str,
}

/// All metrics of the data path. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    durations: Family<DurationLabels, LatencyHistogram>,
    request_bytes: Family<DurationLabels, Counter>,
    response_bytes: Family<DurationLabels, Counter>,
    retries: Family<RetryLabels, Counter>,
    retries_refused: Family<RetryLabels, Counter>,
    hedges: Family<ServiceLabels, Counter>,
    hedges_won: Family<ServiceLabels, Counter>,
    ejections: Family<EjectionLabels, Counter>,
    connections: Family<ConnectionLabels, Counter>,
    open: Family<ConnectionLabels, Gauge>,
    upstream: Family<UpstreamLabels, Counter>,
    idle: Family<ServiceLabels, Gauge>,
    refused: Family<ReasonLabels, Counter>,
    sent: Family<DirectionLabels, Counter>,
    received: Family<DirectionLabels, Counter>,
    handshakes_failed: Family<DirectionLabels, Counter>,
    malformed: Family<MalformedLabels, Counter>,
    accept_failures: Counter,
    mirrors_dropped: Counter,
    reports_malformed: Family<ServiceLabels, Counter>,
    faults_injected: Family<FaultLabels, Counter>,
    authorization: Family<AuthorizationLabels, Counter>,
    departed: Departed<RequestLabels>,
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        let m = Self::default();
        registry.register(
            "requests",
            "Requests by what became of them; reason is empty unless the mesh itself answered or cut",
            m.requests.clone(),
        );
        registry.register(
            "request_duration_seconds",
            "From the request's head to the end of its response",
            m.durations.clone(),
        );
        registry.register("request_bytes", "Of request bodies, towards the server", m.request_bytes.clone());
        registry.register("response_bytes", "Of response bodies, towards the client", m.response_bytes.clone());
        m.register_policies(registry);
        registry.register("retries", "Tries after the first, by why the one before failed", m.retries.clone());
        registry.register(
            "connections",
            "Connections taken over; mtls says whether this one, from the client, is",
            m.connections.clone(),
        );
        registry.register(
            "upstream_connections",
            "Connections made to endpoints or to the application",
            m.upstream.clone(),
        );
        registry.register("upstream_connections_idle", "HTTP/1 connections kept for the next request", m.idle.clone());
        registry.register("connections_open", "Connections being served", m.open.clone());
        registry.register(
            "connections_refused",
            "Connections that were reset because they could not be served",
            m.refused.clone(),
        );
        registry.register("tcp_sent_bytes", "Bytes from clients to servers over opaque connections", m.sent.clone());
        registry.register(
            "tcp_received_bytes",
            "Bytes from servers to clients over opaque connections",
            m.received.clone(),
        );
        registry.register("tls_handshakes_failed", "TLS handshakes that failed", m.handshakes_failed.clone());
        registry.register("malformed", "Connections ended because of what was sent over them", m.malformed.clone());
        registry.register("accept_failures", "Connections the kernel could not hand over", m.accept_failures.clone());
        m
    }

    /// What policies and routes have had done.
    fn register_policies(&self, registry: &mut Registry) {
        registry.register("retries_refused", "Tries that were not allowed, by why", self.retries_refused.clone());
        registry.register("hedges", "Requests that were sent to a second endpoint as well", self.hedges.clone());
        registry.register("hedges_won", "Those that the second endpoint answered first", self.hedges_won.clone());
        registry.register("mirrors_dropped", "Copies that were not sent to a mirror", self.mirrors_dropped.clone());
        registry.register(
            "load_reports_malformed",
            "Load reports that could not be read",
            self.reports_malformed.clone(),
        );
        registry.register(
            "faults_injected",
            "Faults that a policy asked for: delay or abort",
            self.faults_injected.clone(),
        );
        registry.register(
            "authorization",
            "Requests and opaque connections that a policy denied, or would have (outcome audited)",
            self.authorization.clone(),
        );
        registry.register("ejections", "Endpoints left out because of their answers, by cause", self.ejections.clone());
    }

    /// Handles for the requests of one endpoint; `endpoint` is empty for requests that reached none.
    pub fn request_meter(&self, direction: Direction, service: &str, endpoint: &str) -> RequestMeter {
        RequestMeter {
            metrics: self.clone(),
            direction: direction.word(),
            service: service.to_owned(),
            endpoint: endpoint.to_owned(),
            stay: Rc::new(self.departed.enter(&format!("{} {service} {endpoint}", direction.word()))),
            series: Rc::default(),
        }
    }

    /// Forgets the series of endpoints that have been gone long enough for every scraper to have seen their last values.
    pub fn sweep(&self, now: Instant) {
        self.departed.gone(now, |labels| {
            self.requests.remove(labels);
        });
    }

    /// Counts a connection as open for as long as the value lives.
    pub fn connection(&self, direction: Direction, protocol: &'static str, mtls: bool) -> OpenConnection {
        let labels = ConnectionLabels { direction: direction.word(), protocol, mtls: yes(mtls) };
        self.connections.get_or_create(&labels).inc();
        OpenConnection::counted(&self.open.get_or_create(&labels))
    }

    pub fn refused_connection(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabels { reason }).inc();
    }

    pub fn tunnelled(&self, direction: Direction, sent: u64, received: u64) {
        let labels = DirectionLabels { direction: direction.word() };
        self.sent.get_or_create(&labels).inc_by(sent);
        self.received.get_or_create(&labels).inc_by(received);
    }

    pub fn handshake_failed(&self, direction: Direction) {
        self.handshakes_failed.get_or_create(&DirectionLabels { direction: direction.word() }).inc();
    }

    pub fn malformed(&self, protocol: &'static str) {
        self.malformed.get_or_create(&MalformedLabels { protocol }).inc();
    }

    pub fn mirror_dropped(&self) {
        self.mirrors_dropped.inc();
    }

    /// A request to `service` met a fault that was made on purpose.
    pub fn fault_injected(&self, service: &str, fault: &'static str) {
        self.faults_injected.get_or_create(&FaultLabels { service: service.to_owned(), fault }).inc();
    }

    /// `policy` denied something.
    pub fn denied(&self, policy: &str) {
        self.authorization(policy, "denied");
    }

    /// `policy` would have denied something.
    pub fn audited(&self, policy: &str) {
        self.authorization(policy, "audited");
    }

    fn authorization(&self, policy: &str, outcome: &'static str) {
        self.authorization.get_or_create(&AuthorizationLabels { policy: policy.to_owned(), outcome }).inc();
    }

    pub fn accept_failed(&self) {
        self.accept_failures.inc();
    }
}

fn yes(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}

/// The series that requests to one endpoint have used so far.
#[derive(Debug, Default)]
struct Series {
    counters: Vec<(String, u16, &'static str, Counter)>,
    durations: Vec<(String, LatencyHistogram)>,
    bytes: Vec<(String, [Counter; 2])>,
}

/// Counts requests to one endpoint. One worker's own; the counters behind it are shared by all.
#[derive(Debug, Clone)]
pub struct RequestMeter {
    metrics: Metrics,
    direction: &'static str,
    service: String,
    endpoint: String,
    series: Rc<RefCell<Series>>,
    stay: Rc<Stay<RequestLabels>>,
}

impl RequestMeter {
    /// A request of the rule called `route` ended with `status` after `took`.
    pub fn record(&self, route: &str, status: u16, reason: &'static str, took: Duration) {
        self.record_traced(route, status, reason, took, None);
    }

    /// The same, of a request whose trace can be looked up.
    pub fn record_traced(&self, route: &str, status: u16, reason: &'static str, took: Duration, trace: Option<u128>) {
        let mut series = self.series.borrow_mut();
        match series.counters.iter().find(|(r, s, w, _)| *s == status && *w == reason && r == route) {
            Some((.., counter)) => {
                counter.inc();
            }
            None => {
                let counter = self.counter(route, status, reason);
                counter.inc();
                series.counters.push((route.to_owned(), status, reason, counter));
            }
        }
        let at = series.durations.iter().position(|(r, _)| r == route).unwrap_or_else(|| {
            let (direction, service) = (self.direction, self.service.clone());
            let labels = DurationLabels { direction, service, route: route.to_owned() };
            series.durations.push((route.to_owned(), self.metrics.durations.get_or_create_owned(&labels)));
            series.durations.len() - 1
        });
        match trace {
            None => series.durations[at].1.observe(took),
            Some(trace) => series.durations[at].1.observe_traced(took, trace),
        }
    }

    /// Bytes of bodies that a request moved, towards the server and back.
    pub fn moved(&self, route: &str, sent: u64, received: u64) {
        let bytes = &mut self.series.borrow_mut().bytes;
        let at = bytes.iter().position(|(r, _)| r == route).unwrap_or_else(|| {
            let (direction, service) = (self.direction, self.service.clone());
            let labels = DurationLabels { direction, service, route: route.to_owned() };
            let families = [&self.metrics.request_bytes, &self.metrics.response_bytes];
            bytes.push((route.to_owned(), families.map(|family| family.get_or_create_owned(&labels))));
            bytes.len() - 1
        });
        let [up, down] = &bytes[at].1;
        up.inc_by(sent);
        down.inc_by(received);
    }

    /// A connection was made, to the endpoint or to the application.
    pub fn connected(&self, mtls: bool) {
        let (direction, service) = (self.direction, self.service.clone());
        self.metrics.upstream.get_or_create(&UpstreamLabels { direction, service, mtls: yes(mtls) }).inc();
    }

    /// Of connections that are kept for the next request.
    pub fn idle(&self) -> Gauge {
        self.metrics.idle.get_or_create_owned(&ServiceLabels { service: self.service.clone() })
    }

    /// A try failed because of `reason` and another is made.
    pub fn retried(&self, reason: &'static str) {
        self.metrics.retries.get_or_create(&RetryLabels { service: self.service.clone(), reason }).inc();
    }

    /// The endpoint sent a load report that is none.
    pub fn malformed_report(&self) {
        self.metrics.reports_malformed.get_or_create(&ServiceLabels { service: self.service.clone() }).inc();
    }

    /// A try failed because of `reason`, and the budget has nothing left for another.
    pub fn not_retried(&self, reason: &'static str) {
        self.metrics.retries_refused.get_or_create(&RetryLabels { service: self.service.clone(), reason }).inc();
    }

    /// A request that has no answer yet was sent to another endpoint as well.
    pub fn hedged(&self) {
        self.metrics.hedges.get_or_create(&ServiceLabels { service: self.service.clone() }).inc();
    }

    /// The other endpoint answered first.
    pub fn hedge_won(&self) {
        self.metrics.hedges_won.get_or_create(&ServiceLabels { service: self.service.clone() }).inc();
    }

    /// The endpoint is left out for a while because of `cause`.
    pub fn ejected(&self, cause: &'static str) {
        self.metrics.ejections.get_or_create(&EjectionLabels { service: self.service.clone(), cause }).inc();
    }

    fn counter(&self, route: &str, status: u16, reason: &'static str) -> Counter {
        let labels = RequestLabels {
            direction: self.direction,
            service: self.service.clone(),
            route: route.to_owned(),
            endpoint: self.endpoint.clone(),
            status,
            reason,
        };
        self.stay.left_behind(labels.clone());
        self.metrics.requests.get_or_create_owned(&labels)
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
