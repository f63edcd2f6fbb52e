//! What was measured: as JSON for machines, as Markdown tables for people, and as a picture.
//!
//! Medians over the rounds and ratios between them; nothing is judged here.

mod section;
mod table;
mod plot;
mod document;

pub use document::{document, write};

pub use section::{Round, Section};
pub use table::{number, row};

use crate::machine;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// All that was measured.
#[derive(Debug)]
pub struct Report {
    pub duration: Duration,
    /// In the order of the table's columns.
    pub contenders: Vec<String>,
    pub sections: Vec<Section>,
}

impl Report {
    /// Writes `summary.json`, `summary.md` and `summary.svg` into `folder`, and where `docs` are named into them; the Markdown.
    pub fn write(&self, folder: &Path, docs: Option<&Path>) -> anyhow::Result<String> {
        let sections: Vec<Value> = self.sections.iter().map(|section| section.json(&self.contenders)).collect();
        let seconds = self.duration.as_secs_f64();
        let summary = json!({ "machine": machine::description(), "seconds": seconds, "scenarios": sections });
        let table = self.markdown();
        write(&folder.join("summary.json"), &(serde_json::to_string_pretty(&summary)? + "\n"))?;
        write(&folder.join("summary.md"), &table)?;
        write(&folder.join("summary.svg"), &self.svg())?;
        if let Some(docs) = docs {
            document(docs, "performance", "bench", &table, &self.svg())?;
        }
        Ok(table)
    }
}

#[cfg(test)]
mod example {
    use super::{Round, Section};
    use crate::figure::{CPU_PER_REQUEST, Figures, REQUESTS};

    /// Three rounds of two contenders, one of them loud, and one that was thrown away.
    pub fn section() -> Section {
        let round = |own: f64, other: f64, others: f64| {
            let figures = |cpu: f64| Figures::default().with(CPU_PER_REQUEST, cpu).with(REQUESTS, 5000.0);
            Round { measured: vec![("weft", figures(own)), ("envoy", figures(other))], failed: vec![], others }
        };
        let rounds = vec![round(40.0, 100.0, 0.0), round(900.0, 110.0, 0.1), round(50.0, 90.0, 0.9)];
        let scenario = crate::scenario::all()[0];
        Section { scenario, rounds, thrown_away: vec![round(1.0, 1.0, 2.0)], missing: vec![], quiet: 0.5 }
    }
}
