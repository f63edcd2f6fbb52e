//! What came out, as JSON and as Markdown.
//!
//! The fields of [`Outcome`] are those of `summary.json`.

use serde::Serialize;
use std::fmt::Write;
use weft_lab::page::with_figures;

/// Everything that one run of the laboratory found.
#[derive(Serialize)]
pub struct Summary {
    pub seed: u64,
    pub results: Vec<Outcome>,
    pub checks: Vec<Check>,
}

/// One balancer in one scenario.
#[derive(Serialize)]
pub struct Outcome {
    pub scenario: &'static str,
    #[serde(skip)]
    pub about: &'static str,
    pub balancer: &'static str,
    pub requests: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub error_share: f64,
    /// Requests per slot of the busiest server, over the mean.
    pub max_over_mean_load: f64,
    /// In scenarios with several zones: tries that went to another zone than the client's.
    pub left_zone_share: Option<f64>,
}

/// One promise of the literature.
#[derive(Serialize, Clone)]
pub struct Check {
    pub claim: String,
    pub bound: String,
    pub measured: f64,
    pub holds: bool,
}

pub fn markdown(summary: &Summary) -> String {
    let mut out = format!("# Balance laboratory\n\nSeed {}, simulated time.\n", summary.seed);
    for outcomes in summary.results.chunk_by(|a, b| a.scenario == b.scenario) {
        table(outcomes, &mut out);
    }
    out += "\n## The literature\n\n| promise | bound | measured | holds |\n| --- | --- | ---: | --- |\n";
    summary.checks.iter().for_each(|check| out += &row(check));
    out
}

/// One promise as a row of a table.
pub fn row(check: &Check) -> String {
    let holds = if check.holds { "yes" } else { "NO" };
    format!("| {} | {} | {:.4} | {holds} |\n", check.claim, check.bound, check.measured)
}

/// Between these lines the documentation shows what came out.
const MARKS: [&str; 2] =
    ["<!-- balance-lab: written by make balance-lab DOCS=1 -->\n", "<!-- end of balance-lab -->\n"];

/// `page` with the figures of `summary` in their place; `None` if it has no such place.
pub fn documented(page: &str, summary: &Summary) -> Option<String> {
    let tables = markdown(summary).split_once("\n## ").map(|(_, tables)| format!("\n### {tables}"))?;
    let tables = tables.replace("\n## ", "\n### ");
    with_figures(page, MARKS, &format!("{tables}\n"))
}

fn table(outcomes: &[Outcome], out: &mut String) {
    let Some(first) = outcomes.first() else { return };
    let zones = first.left_zone_share.is_some();
    let (column, rule) = if zones { (" left its zone |", " ---: |") } else { ("", "") };
    *out += &format!("\n## {}\n\n{}; {} requests.\n\n", first.scenario, first.about, first.requests);
    *out += &format!("| balancer | p50 ms | p99 ms | p99.9 ms | errors | max/mean load |{column}\n");
    *out += &format!("| --- | ---: | ---: | ---: | ---: | ---: |{rule}\n");
    outcomes.iter().for_each(|outcome| *out += &line(outcome));
}

/// One balancer as a row of its scenario's table.
pub fn line(o: &Outcome) -> String {
    let load = o.max_over_mean_load;
    let (p50, p99, p999, errors) = (o.p50_ms, o.p99_ms, o.p999_ms, 100.0 * o.error_share);
    let mut out = format!("| {} | {p50:.1} | {p99:.1} | {p999:.1} | {errors:.2} % | {load:.2} |", o.balancer);
    if let Some(left) = o.left_zone_share {
        let _ = write!(out, " {:.1} % |", 100.0 * left);
    }
    out.push('\n');
    out
}
