//! A histogram of durations for the request path.
//!
//! prometheus-client's own histogram takes a lock for each observation; here an observation is two atomic additions.
//! A scrape in between may see one of the two: sum and count drift apart by the requests in flight, never for good.
//! Requests that are traced, which are few, leave an exemplar behind a lock that is only ever tried.

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};
use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

/// Upper bounds of the buckets but the last, which has none: from half a millisecond to a minute.
const BOUNDS: [Duration; 16] = [
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

const BUCKETS: usize = BOUNDS.len() + 1;

/// A request that stands for its bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exemplar {
    pub trace: u128,
    pub value: Duration,
    pub at: SystemTime,
}

thread_local! {
    /// What the histograms that this thread is encoding have for their buckets, in the order in which they are written: the
    /// library lets nobody make an exemplar of its own kind.
    static WRITTEN: RefCell<Vec<Option<Exemplar>>> = const { RefCell::new(Vec::new()) };
}

/// The exemplars of all buckets that this thread has written since this was asked last.
pub(super) fn written() -> Vec<Option<Exemplar>> {
    WRITTEN.take()
}

/// Durations by bucket; clones count together. Get one out of a `Family` once and keep it: the family itself locks.
#[derive(Debug, Clone, Default)]
pub struct LatencyHistogram(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    buckets: [AtomicU64; BUCKETS],
    sum_nanos: AtomicU64,
    /// The last of each bucket; there is none where nothing is traced.
    exemplars: OnceLock<Box<Mutex<[Option<Exemplar>; BUCKETS]>>>,
}

impl LatencyHistogram {
    /// Counts one duration. Takes no lock and never waits.
    pub fn observe(&self, duration: Duration) {
        let bucket = BOUNDS.partition_point(|bound| *bound < duration);
        self.0.buckets[bucket].fetch_add(1, Relaxed);
        // 2^64 ns are 584 years of latency.
        self.0.sum_nanos.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Counts the duration of a request whose trace can be looked up.
    pub fn observe_traced(&self, duration: Duration, trace: u128) {
        self.observe(duration);
        let exemplars = self.0.exemplars.get_or_init(Box::default);
        // Whoever comes at the same time as another leaves none.
        if let Ok(mut exemplars) = exemplars.try_lock() {
            let bucket = BOUNDS.partition_point(|bound| *bound < duration);
            exemplars[bucket] = Some(Exemplar { trace, value: duration, at: SystemTime::now() });
        }
    }

    /// How many were counted so far.
    pub fn count(&self) -> u64 {
        self.0.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum()
    }
}

impl TypedMetric for LatencyHistogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for LatencyHistogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let bounds = BOUNDS.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
        let counts = self.0.buckets.iter().map(|bucket| bucket.load(Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let exemplars = self.0.exemplars.get().map(|all| *all.lock().unwrap_or_else(PoisonError::into_inner));
        WRITTEN.with_borrow_mut(|written| written.extend(exemplars.unwrap_or([None; BUCKETS])));
        let sum = Duration::from_nanos(self.0.sum_nanos.load(Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::registry::Registry;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let family = Family::<Vec<(String, String)>, LatencyHistogram>::default();
        let histogram = family.get_or_create_owned(&vec![("service".to_owned(), "cart".to_owned())]);
        for micros in [0, 500, 501, 70_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut registry = Registry::default();
        registry.register("latency_seconds", "help", family);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            r#"latency_seconds_bucket{le="0.0005",service="cart"} 2"#,
            r#"latency_seconds_bucket{le="0.001",service="cart"} 3"#,
            r#"latency_seconds_bucket{le="60.0",service="cart"} 3"#,
            r#"latency_seconds_bucket{le="+Inf",service="cart"} 4"#,
            r#"latency_seconds_count{service="cart"} 4"#,
            r#"latency_seconds_sum{service="cart"} 70.001001"#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let histogram = LatencyHistogram::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|n| histogram.observe(Duration::from_micros(n))));
            }
        });
        assert_eq!(histogram.count(), 40_000);
    }
}
