//! The same figures to look at: one page of HTML with a drawing per scenario, and all of them as one SVG. No scripts, nothing to load.
//!
//! A bar from the median to p99.9 for each balancer, with a mark at p99, on a logarithmic scale that all share.

use crate::report::{Outcome, Summary};
use std::fmt::Write;
use weft_lab::chart::{Bar, Chart, STYLE, svg as picture};

/// Milliseconds at the ends of the scale.
const SCALE: (f64, f64) = (1.0, 100_000.0);

pub fn html(summary: &Summary) -> String {
    let mut out = format!(
        "<!doctype html><meta charset=\"utf-8\"><title>Balance laboratory</title>\n\
         <style>body{{font:14px sans-serif;margin:2em auto;max-width:66em;color:#222}}{STYLE}</style>\n\
         <h1>Balance laboratory</h1>\n\
         <p>Latency of requests: the bar goes from the median to p99.9, the dark mark is p99. Logarithmic.</p>\n",
    );
    for outcomes in summary.results.chunk_by(|a, b| a.scenario == b.scenario) {
        if let Some(first) = outcomes.first() {
            let _ = writeln!(out, "<h2>{}</h2>\n<p>{}.</p>", first.scenario, first.about);
            chart(outcomes).draw(0.0, &mut out);
        }
    }
    out
}

/// All scenarios, one below the other.
pub fn svg(summary: &Summary) -> String {
    let charts: Vec<Chart> = summary.results.chunk_by(|a, b| a.scenario == b.scenario).map(chart).collect();
    picture("Balance laboratory: from the median to p99.9, with a mark at p99", &charts)
}

/// Where on the scale a time stands.
fn share(milliseconds: f64) -> f64 {
    (milliseconds.clamp(SCALE.0, SCALE.1) / SCALE.0).ln() / (SCALE.1 / SCALE.0).ln()
}

/// One scenario.
fn chart(outcomes: &[Outcome]) -> Chart {
    let grid = |power| {
        let milliseconds = 10f64.powi(power);
        let label = if power < 3 { format!("{milliseconds} ms") } else { format!("{} s", milliseconds / 1000.0) };
        (share(milliseconds), label)
    };
    let title = outcomes.first().map(|first| format!("{}: {}", first.scenario, first.about)).unwrap_or_default();
    Chart { title, grid: (0..=5).map(grid).collect(), bars: outcomes.iter().map(bar).collect() }
}

fn bar(o: &Outcome) -> Bar {
    let words = format!(
        "p50 {:.0}, p99 {:.0}, p99.9 {:.0} ms, errors {:.1} %, max/mean {:.2}",
        o.p50_ms,
        o.p99_ms,
        o.p999_ms,
        100.0 * o.error_share,
        o.max_over_mean_load
    );
    let (from, to, mark) = (share(o.p50_ms), share(o.p999_ms), Some(share(o.p99_ms)));
    Bar { name: o.balancer.to_string(), from, to, mark, words }
}
