//! What the customers met with, in figures.
//!
//! Fed with every visit; says one line of JSON per second and one in the end. Times are in seconds. Memory is bounded by
//! the length of the run (one number per request), and failures are told up to [`EXAMPLES`] times.

use super::customer::{Trip, Visit};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const EXAMPLES: usize = 5;

#[derive(Debug, Default)]
pub struct Report {
    whole: Figures,
    second: Figures,
    seconds: u64,
    examples: Vec<String>,
}

#[derive(Debug, Default)]
struct Figures {
    latencies: Vec<Duration>,
    failed: usize,
    by_replica: BTreeMap<String, u64>,
    carts: u64,
    moved: u64,
}

impl Report {
    pub fn add(&mut self, visit: Visit) {
        if let Some(failure) = &visit.failure
            && self.examples.len() < EXAMPLES
        {
            self.examples.push(failure.clone());
        }
        self.whole.add(&visit);
        self.second.add(&visit);
    }

    pub fn requests(&self) -> usize {
        self.whole.latencies.len()
    }

    pub fn failed(&self) -> usize {
        self.whole.failed
    }

    /// The figures since the last call.
    pub fn progress(&mut self) -> Value {
        self.seconds += 1;
        let mut line = std::mem::take(&mut self.second).json();
        line["second"] = self.seconds.into();
        line
    }

    /// The figures of the whole run.
    pub fn summary(&self) -> Value {
        let mut line = self.whole.json();
        line["summary"] = true.into();
        line["examples"] = self.examples.clone().into();
        line
    }
}

impl Figures {
    fn add(&mut self, visit: &Visit) {
        self.latencies.push(visit.latency);
        self.failed += usize::from(visit.failure.is_some());
        self.carts += u64::from(visit.cart == Some(Trip::Opened));
        self.moved += u64::from(visit.cart == Some(Trip::Moved));
        for name in &visit.served_by {
            *self.by_replica.entry(name.clone()).or_default() += 1;
        }
    }

    fn json(&self) -> Value {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        // Nearest rank.
        let at = |share: f64| {
            let rank = (sorted.len() as f64 * share).ceil() as usize;
            sorted.get(rank.saturating_sub(1)).map(Duration::as_secs_f64)
        };
        json!({
            "requests": self.latencies.len(), "failed": self.failed,
            "p50": at(0.50), "p90": at(0.90), "p99": at(0.99),
            "carts": self.carts, "moved": self.moved, "by_replica": self.by_replica,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_the_second_and_of_the_whole() {
        let mut report = Report::default();
        for millis in 1..=100 {
            let failure = (millis % 10 == 0).then(|| format!("bad luck {millis}"));
            let served_by = vec!["frontend-0".to_owned()];
            report.add(Visit {
                asked: "GET /cart".to_owned(),
                failure,
                latency: Duration::from_millis(millis),
                served_by,
                cart: Some(Trip::Moved),
            });
        }
        let second = report.progress();
        assert_eq!((&second["requests"], &second["failed"], &second["second"]), (&json!(100), &json!(10), &json!(1)));
        assert_eq!(report.progress()["requests"], 0);
        let whole = report.summary();
        assert_eq!((&whole["p50"], &whole["p99"]), (&json!(0.05), &json!(0.099)));
        assert_eq!((&whole["moved"], &whole["by_replica"]["frontend-0"]), (&json!(100), &json!(100)));
        assert_eq!(whole["examples"].as_array().unwrap().len(), EXAMPLES);
    }
}
