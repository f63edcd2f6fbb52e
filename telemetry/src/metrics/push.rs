//! Metrics sent to an OpenTelemetry Collector at an interval: what `/metrics` shows, from the same registry.
//!
//! On the control runtime. One export at a time, so that a collector that is slow or gone costs the points of one; what it has
//! missed is in the next ones, for counters only grow. Exports are counted by what became of them.

use super::Registry;
use super::points::Points;
use crate::otlp::{Collector, Pushing};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

/// Points of one request at most: collectors refuse messages of more than 4 MiB unless they are told otherwise.
const MOST_POINTS: usize = 4_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// Sends a program's metrics.
pub struct Push {
    collector: Collector,
    pushing: Pushing,
    exports: Family<Outcome, Counter>,
    failing: bool,
}

impl Push {
    pub fn new(collector: Collector, pushing: Pushing, registry: &mut Registry) -> Self {
        let exports = Family::<Outcome, Counter>::default();
        registry.register(
            "metric_exports",
            "Times that metrics were sent to the collector, by outcome",
            exports.clone(),
        );
        // There from the start, so that a rate can be taken of the first failure.
        ["taken", "failed"].into_iter().for_each(|outcome| drop(exports.get_or_create_owned(&Outcome { outcome })));
        Self { collector, pushing, exports, failing: false }
    }

    /// Sends until `ended`, and then the last figures.
    pub async fn run(mut self, registry: Arc<Registry>, ended: CancellationToken) {
        let mut points = Points::since(registry.started());
        let mut ticks = interval_at(Instant::now() + self.pushing.interval, self.pushing.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let last = tokio::select! {
                _ = ticks.tick() => false,
                () = ended.cancelled() => true,
            };
            self.send(&registry, &mut points).await;
            if last {
                return;
            }
        }
    }

    async fn send(&mut self, registry: &Registry, points: &mut Points) {
        let sent = match registry.encode() {
            Ok(text) => self.export(points.make(&text, SystemTime::now())).await,
            Err(error) => Err(error.to_string()),
        };
        let outcome = if sent.is_ok() { "taken" } else { "failed" };
        self.exports.get_or_create(&Outcome { outcome }).inc();
        match sent {
            Ok(()) => self.failing = false,
            Err(error) if !std::mem::replace(&mut self.failing, true) => {
                let collector = self.collector.endpoint();
                tracing::warn!(
                    collector,
                    error,
                    "metrics could not be exported; the next ones will have what is missing"
                );
            }
            Err(_) => {}
        }
    }

    async fn export(&self, metrics: Vec<Metric>) -> Result<(), String> {
        for metrics in portions(metrics, MOST_POINTS) {
            let scope = InstrumentationScope {
                name: "weft".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..Default::default()
            };
            let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, ..Default::default() }];
            let resource = Some(self.collector.resource());
            let resource_metrics = vec![ResourceMetrics { resource, scope_metrics, ..Default::default() }];
            let request = ExportMetricsServiceRequest { resource_metrics };
            self.collector.export(request, self.pushing.timeout).await?;
        }
        Ok(())
    }
}

/// `metrics` in parts of `most` points; one that has more is in several.
fn portions(metrics: Vec<Metric>, most: usize) -> Vec<Vec<Metric>> {
    let (mut parts, mut part, mut room) = (Vec::new(), Vec::new(), most);
    for mut metric in metrics {
        while count(&metric) > room {
            if room == 0 {
                parts.push(std::mem::take(&mut part));
                room = most;
                continue;
            }
            let rest = split(&mut metric, room);
            part.push(std::mem::replace(&mut metric, rest));
            parts.push(std::mem::take(&mut part));
            room = most;
        }
        room -= count(&metric);
        part.push(metric);
    }
    parts.push(part);
    parts
}

fn count(metric: &Metric) -> usize {
    match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        _ => 0,
    }
}

/// Leaves `kept` points and returns the metric with the others.
fn split(metric: &mut Metric, kept: usize) -> Metric {
    let mut rest = metric.clone();
    match (&mut metric.data, &mut rest.data) {
        (Some(Data::Gauge(a)), Some(Data::Gauge(b))) => b.data_points = a.data_points.split_off(kept),
        (Some(Data::Sum(a)), Some(Data::Sum(b))) => b.data_points = a.data_points.split_off(kept),
        (Some(Data::Histogram(a)), Some(Data::Histogram(b))) => b.data_points = a.data_points.split_off(kept),
        _ => {}
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::metrics::v1::{Gauge, NumberDataPoint};

    #[test]
    fn no_request_has_more_points_than_it_may() {
        let metric = |name: &str, points: usize| {
            let data = Data::Gauge(Gauge { data_points: vec![NumberDataPoint::default(); points] });
            Metric { name: name.to_owned(), data: Some(data), ..Metric::default() }
        };
        for (sizes, most) in [(vec![3, 25, 0, 7], 10), (vec![10, 10], 10), (vec![1], 10), (vec![], 10)] {
            let all: usize = sizes.iter().sum();
            let metrics = sizes.iter().enumerate().map(|(n, size)| metric(&n.to_string(), *size)).collect();
            let parts = portions(metrics, most);
            let of = |part: &Vec<Metric>| part.iter().map(count).sum::<usize>();
            assert!(parts.iter().all(|part| of(part) <= most), "{sizes:?}");
            assert_eq!(parts.iter().map(of).sum::<usize>(), all, "{sizes:?}");
        }
    }
}
