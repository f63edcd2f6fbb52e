//! Requests, failures and latencies: what one row of figures is made of, added up and taken apart.
//!
//! Pure. Latencies are those of Prometheus histograms: a quantile is a guess within a bucket, by the same straight line as
//! Prometheus' `histogram_quantile`; beyond the last bound it is that bound.

use super::exposition::Series;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Counts of any requests, from a beginning or between two times.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tally {
    pub requests: f64,
    /// Those with a status of 500 and more.
    pub failed: f64,
    /// Upper bounds in seconds, in order, with how many took at most so long.
    buckets: Vec<(f64, f64)>,
}

impl Tally {
    /// Takes a sample in, if it is one of requests or their durations.
    pub fn add(&mut self, series: &Series) {
        let value = series.value;
        match series.name.as_str() {
            "weft_requests_total" => {
                self.requests += value;
                let status: u16 = series.label("status").parse().unwrap_or(0);
                if status >= 500 {
                    self.failed += value;
                }
            }
            "weft_request_duration_seconds_bucket" => {
                let Ok(bound) = series.label("le").parse::<f64>() else { return };
                match self.buckets.binary_search_by(|(b, _)| b.total_cmp(&bound)) {
                    Ok(at) => self.buckets[at].1 += value,
                    Err(at) => self.buckets.insert(at, (bound, value)),
                }
            }
            _ => {}
        }
    }

    /// Of all requests, the share that did not fail; `None` without any.
    pub fn success(&self) -> Option<f64> {
        (self.requests > 0.0).then(|| 1.0 - self.failed / self.requests)
    }

    /// The latency that a share `q` of the requests stayed within.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let total = self.buckets.last()?.1;
        if total <= 0.0 {
            return None;
        }
        let rank = q * total;
        let at = self.buckets.iter().position(|(_, count)| *count >= rank)?;
        let (below, before) = at.checked_sub(1).map_or((0.0, 0.0), |at| self.buckets[at]);
        let (bound, count) = self.buckets[at];
        let within = if count > before { (rank - before) / (count - before) } else { 1.0 };
        let seconds = if bound.is_finite() { below + (bound - below) * within } else { below };
        Some(Duration::from_secs_f64(seconds))
    }

    /// For programs: shares from 0 to 1, times in seconds, `null` where nothing is known.
    pub fn json(&self, window: Duration) -> Value {
        let seconds = |q: f64| self.quantile(q).map(|latency| latency.as_secs_f64());
        json!({
            "requests": self.requests,
            "failed": self.failed,
            "requestsPerSecond": self.requests / window.as_secs_f64(),
            "successRate": self.success(),
            "p50Seconds": seconds(0.5),
            "p95Seconds": seconds(0.95),
            "p99Seconds": seconds(0.99),
        })
    }

    /// For people: success, requests a second, and the three quantiles.
    pub fn cells(&self, window: Duration) -> [String; 5] {
        let success = self.success().map(|share| format!("{:.2}%", (share * 10_000.0).floor() / 100.0));
        let rate = self.requests / window.as_secs_f64();
        let quantile = |q| self.quantile(q).map(latency).unwrap_or_default();
        [success.unwrap_or_default(), format!("{rate:.1}"), quantile(0.5), quantile(0.95), quantile(0.99)]
    }
}

/// Headings for [`Tally::cells`].
pub const HEADINGS: [&str; 5] = ["SUCCESS", "RPS", "P50", "P95", "P99"];

/// What was counted between two readings of the same counters. One that is smaller now began anew meanwhile.
pub fn growth(before: &[Series], after: &[Series]) -> Vec<Series> {
    let before: BTreeMap<_, _> = before.iter().map(|then| ((&then.name, &then.labels), then.value)).collect();
    let grown = |now: &Series| {
        let then = before.get(&(&now.name, &now.labels)).copied().filter(|then| now.value >= *then);
        Series { value: now.value - then.unwrap_or(0.0), ..now.clone() }
    };
    after.iter().map(grown).collect()
}

fn latency(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        s if s >= 10.0 => format!("{s:.0}s"),
        s if s >= 1.0 => format!("{s:.1}s"),
        s if s >= 0.01 => format!("{:.0}ms", s * 1e3),
        s => format!("{:.1}ms", s * 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::super::exposition::read;
    use super::*;

    fn tally(text: &str) -> Tally {
        let mut tally = Tally::default();
        read(text).unwrap().iter().for_each(|series| tally.add(series));
        tally
    }

    #[test]
    fn failures_are_statuses_of_500_and_more() {
        let t = tally(
            "weft_requests_total{status=\"200\"} 96\nweft_requests_total{status=\"503\"} 1\n\
             weft_requests_total{status=\"404\"} 2\nweft_requests_total{status=\"499\"} 1\nweft_retries_total 9\n",
        );
        assert_eq!((t.requests, t.failed), (100.0, 1.0));
        assert_eq!(t.cells(Duration::from_secs(10)), ["99.00%", "10.0", "", "", ""]);
        assert_eq!(Tally::default().success(), None);
        // Rounded up it would look perfect.
        assert_eq!(
            tally("weft_requests_total{status=\"200\"} 1e9\nweft_requests_total{status=\"500\"} 1\n")
                .cells(Duration::from_secs(1))[0],
            "99.99%"
        );
    }

    #[test]
    fn quantiles_lie_on_a_line_within_their_bucket() {
        let name = "weft_request_duration_seconds_bucket";
        let t = tally(&format!(
            "{name}{{le=\"+Inf\"}} 100\n{name}{{le=\"0.01\"}} 50\n{name}{{le=\"0.1\"}} 95\n{name}{{le=\"0.001\"}} 0\n"
        ));
        let near = |q: f64, seconds: f64| (t.quantile(q).unwrap().as_secs_f64() - seconds).abs() < 1e-9;
        assert!(near(0.5, 0.01) && near(0.25, 0.0055) && near(0.95, 0.1), "{t:?}");
        assert!(near(0.99, 0.1), "beyond the last bound it is that bound");
        assert_eq!(Tally::default().quantile(0.5), None);
        assert_eq!(&t.cells(Duration::from_secs(1))[2..], ["10ms", "100ms", "100ms"]);
    }

    #[test]
    fn counters_that_began_anew_count_from_nothing() {
        let before = read("a{x=\"1\"} 10\na{x=\"2\"} 10\n").unwrap();
        let after = read("a{x=\"1\"} 15\na{x=\"2\"} 3\na{x=\"3\"} 4\n").unwrap();
        let values: Vec<_> = growth(&before, &after).iter().map(|series| series.value).collect();
        assert_eq!(values, [5.0, 3.0, 4.0]);
    }
}
