//! Medians over the rounds, as JSON for machines and as a Markdown table for people.
//!
//! Every single measurement is in the JSON too, so that a median can be doubted.

use crate::load::Loaded;
use crate::scenario::Scenario;
use anyhow::Context;
use serde_json::{Value, json};
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// One contender in one round.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    pub requests_per_second: f64,
    /// CPU time of all proxies together, per request.
    pub cpu_us_per_request: f64,
    pub p50_us: f64,
    pub p99_us: f64,
}

impl Measured {
    pub fn new(loaded: &Loaded, cpu: Duration) -> Self {
        Self {
            requests_per_second: loaded.requests as f64 / loaded.elapsed.as_secs_f64(),
            cpu_us_per_request: cpu.as_secs_f64() * 1e6 / loaded.requests as f64,
            p50_us: loaded.p50.as_secs_f64() * 1e6,
            p99_us: loaded.p99.as_secs_f64() * 1e6,
        }
    }

    fn json(&self) -> Value {
        json!({
            "requests_per_second": round(self.requests_per_second),
            "cpu_us_per_request": round(self.cpu_us_per_request),
            "p50_us": round(self.p50_us),
            "p99_us": round(self.p99_us),
        })
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>8.0} requests/s, {:>6.1} us CPU per request, p50 {:>6.0} us, p99 {:>6.0} us",
            self.requests_per_second, self.cpu_us_per_request, self.p50_us, self.p99_us
        )
    }
}

/// All that was measured, by scenario and contender in the order of their first round.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    scenario: Scenario,
    contender: &'static str,
    rounds: Vec<Measured>,
}

impl Report {
    pub fn add(&mut self, scenario: &Scenario, contender: &'static str, measured: Measured) {
        let row = self.rows.iter_mut().find(|row| row.scenario.name == scenario.name && row.contender == contender);
        match row {
            Some(row) => row.rounds.push(measured),
            None => self.rows.push(Row { scenario: scenario.clone(), contender, rounds: vec![measured] }),
        }
    }

    /// Writes everything as JSON.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let results = self.rows.iter().map(|row| {
            let rounds: Vec<Value> = row.rounds.iter().map(Measured::json).collect();
            json!({
                "scenario": row.scenario.name, "about": row.scenario.about, "contender": row.contender,
                "median": row.median().json(), "rounds": rounds,
            })
        });
        let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
        let summary = json!({ "cores": cores, "results": results.collect::<Vec<_>>() });
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        let text = serde_json::to_string_pretty(&summary)? + "\n";
        fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }

    /// One table row per scenario and contender.
    pub fn markdown(&self) -> String {
        let head = "| scenario | contender | CPU per request (both proxies) | requests/s | p50 | p99 |\n\
                    | --- | --- | ---: | ---: | ---: | ---: |";
        let row = |row: &Row| {
            let m = row.median();
            let cpu = if m.cpu_us_per_request > 0.0 { format!("{:.1} us", m.cpu_us_per_request) } else { "-".into() };
            let (name, who, rate, p50, p99) =
                (row.scenario.name, row.contender, m.requests_per_second, m.p50_us, m.p99_us);
            format!("\n| {name} | {who} | {cpu} | {rate:.0} | {p50:.0} us | {p99:.0} us |")
        };
        head.to_owned() + &self.rows.iter().map(row).collect::<String>()
    }
}

impl Row {
    fn median(&self) -> Measured {
        let of = |figure: fn(&Measured) -> f64| median(self.rounds.iter().map(figure).collect());
        Measured {
            requests_per_second: of(|m| m.requests_per_second),
            cpu_us_per_request: of(|m| m.cpu_us_per_request),
            p50_us: of(|m| m.p50_us),
            p99_us: of(|m| m.p99_us),
        }
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { (figures[middle - 1] + figures[middle]) / 2.0 }
}

fn round(figure: f64) -> f64 {
    (figure * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_shrugs_off_an_outlier() {
        assert_eq!(median(vec![3.0, 900.0, 1.0]), 3.0);
        assert_eq!(median(vec![4.0, 2.0]), 3.0);
    }
}
