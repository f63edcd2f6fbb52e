//! Who is ejected, for all workers and for whoever asks why.
//!
//! Beside the catalog. Workers look a mark up once for each endpoint and from then on read it without this; only an ejection
//! itself takes the lock, so that the share of a service's endpoints that may be out holds among all workers.

use crate::balance::eject::{Cause, Mark, may_eject};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use weft_model::ServiceName;
use weft_model::policy::OutlierDetection;

/// All marks of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ejections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    epoch: Instant,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    services: BTreeMap<ServiceName, BTreeMap<String, Mark>>,
    marks: usize,
    /// Those that no worker holds any more are thrown away when there are so many.
    full: usize,
}

impl Default for Ejections {
    fn default() -> Self {
        Self(Arc::new(Shared { epoch: Instant::now(), books: Mutex::default() }))
    }
}

impl Ejections {
    /// The mark of the endpoint called `id`, the same for all workers.
    pub fn mark(&self, service: &ServiceName, id: &str) -> Mark {
        let mut books = self.books();
        if let Some(mark) = books.services.get(service).and_then(|marks| marks.get(id)) {
            return mark.clone();
        }
        if books.marks >= books.full {
            books.clear_out();
        }
        let mark = Mark::new(self.0.epoch);
        books.services.entry(service.clone()).or_default().insert(id.to_owned(), mark.clone());
        books.marks += 1;
        mark
    }

    /// Ejects an endpoint of a service that has so many `endpoints`, unless it is out already or too many are. Gives the time
    /// that it is out.
    pub fn eject(
        &self,
        (service, id): (&ServiceName, &str),
        cause: Cause,
        policy: &OutlierDetection,
        endpoints: usize,
        now: Instant,
    ) -> Option<Duration> {
        let books = self.books();
        let marks = books.services.get(service)?;
        let mark = marks.get(id).filter(|mark| !mark.is_out(now))?;
        may_eject(out(marks, now), endpoints, policy).then(|| mark.eject(cause, policy, now))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Whoever panicked left marks behind that are sound each for itself.
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn out(marks: &BTreeMap<String, Mark>, now: Instant) -> usize {
    marks.values().filter(|mark| mark.is_out(now)).count()
}

impl Books {
    fn clear_out(&mut self) {
        for marks in self.services.values_mut() {
            marks.retain(|_, mark| !mark.is_unused());
        }
        self.services.retain(|_, marks| !marks.is_empty());
        self.marks = self.services.values().map(BTreeMap::len).sum();
        self.full = 2 * self.marks.max(512);
    }
}

/// `weft_endpoints_ejected`: counted when somebody looks, so that an ejection that has run out is not shown.
#[derive(Debug)]
pub struct EjectedGauge(pub Ejections);

impl Collector for EjectedGauge {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (now, books) = (Instant::now(), self.0.books());
        // Services that have never had anybody out take no series.
        let seen = books.services.iter().filter(|(_, marks)| marks.values().any(Mark::was_out));
        let help = "Endpoints that are left out because of what their answers were like";
        let mut family = encoder.encode_descriptor("endpoints_ejected", help, None, MetricType::Gauge)?;
        for (service, marks) in seen {
            let labels = [("service", service.to_string())];
            let count = i64::try_from(out(marks, now)).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cart() -> ServiceName {
        ServiceName::new("shop", "cart").unwrap()
    }

    #[test]
    fn the_share_holds_among_workers_and_everybody_sees_the_same() {
        let (ejections, now) = (Ejections::default(), Instant::now());
        let policy = OutlierDetection { max_percent: 50, ..OutlierDetection::default() };
        let marks: Vec<Mark> = ["a", "b", "c", "d"].map(|id| ejections.mark(&cart(), id)).into();
        let eject = |id, cause| ejections.eject((&cart(), id), cause, &policy, 4, now);
        assert!(eject("a", Cause::GatewayErrors).is_some());
        assert!(eject("a", Cause::GatewayErrors).is_none(), "it is out already");
        assert!(eject("b", Cause::LocalFailures).is_some());
        assert!(eject("c", Cause::LocalFailures).is_none(), "half of them are out");
        assert_eq!(marks.iter().map(|mark| mark.is_out(now)).collect::<Vec<_>>(), [true, true, false, false]);
        assert!(ejections.mark(&cart(), "b").is_out(now), "another worker");
        let why = |mark: &Mark| mark.ejection(now).map(|ejection| ejection.cause.word());
        let causes: Vec<_> = marks.iter().map(why).collect();
        assert_eq!(causes, [Some("gateway-errors"), Some("local-failures"), None, None]);
        let mut registry = weft_telemetry::metrics::Registry::new("test", "0");
        registry.register_collector(EjectedGauge(ejections.clone()));
        let text = registry.encode().unwrap();
        assert!(text.contains("weft_endpoints_ejected{service=\"cart.shop\"} 2"), "{text}");
    }

    #[test]
    fn marks_that_nobody_holds_do_not_pile_up() {
        let ejections = Ejections::default();
        let kept = ejections.mark(&cart(), "kept");
        for n in 0..10_000 {
            ejections.mark(&cart(), &n.to_string());
        }
        assert!(ejections.books().marks < 2_000);
        assert!(!kept.is_unused() && ejections.books().services[&cart()].contains_key("kept"));
    }
}
