//! The same figures to look at: one page of HTML with a drawing per scenario, no scripts, nothing to load.
//!
//! A bar from the median to p99.9 for each balancer, with a mark at p99, on a logarithmic scale that all share.

use crate::report::{Outcome, Summary};
use std::fmt::Write;

const LEFT: f64 = 130.0;
const WIDTH: f64 = 560.0;
const ROW: f64 = 24.0;
/// Milliseconds at the ends of the scale.
const SCALE: (f64, f64) = (1.0, 100_000.0);

pub fn html(summary: &Summary) -> String {
    let mut out = String::from(
        "<!doctype html><meta charset=\"utf-8\"><title>Balance laboratory</title>\n\
         <style>body{font:14px sans-serif;margin:2em auto;max-width:60em;color:#222}\
         text{font:12px sans-serif;fill:#222}.grid{stroke:#ddd}.bar{fill:#7aa6d6}.p99{fill:#1d4f91}</style>\n\
         <h1>Balance laboratory</h1>\n\
         <p>Latency of requests: the bar goes from the median to p99.9, the dark mark is p99. Logarithmic.</p>\n",
    );
    for outcomes in summary.results.chunk_by(|a, b| a.scenario == b.scenario) {
        if let Some(first) = outcomes.first() {
            let _ = writeln!(out, "<h2>{}</h2>\n<p>{}.</p>", first.scenario, first.about);
            drawing(outcomes, &mut out);
        }
    }
    out
}

fn place(milliseconds: f64) -> f64 {
    let share = (milliseconds.clamp(SCALE.0, SCALE.1) / SCALE.0).ln() / (SCALE.1 / SCALE.0).ln();
    LEFT + WIDTH * share
}

fn drawing(outcomes: &[Outcome], out: &mut String) {
    let height = ROW * outcomes.len() as f64;
    let _ = writeln!(out, "<svg width=\"{}\" height=\"{}\" role=\"img\">", LEFT + WIDTH + 170.0, height + 24.0);
    for power in 0..=5 {
        let milliseconds = 10f64.powi(power);
        let x = place(milliseconds);
        let label = if power < 3 { format!("{milliseconds} ms") } else { format!("{} s", milliseconds / 1000.0) };
        let _ = write!(out, "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{height}\"/>");
        let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>", height + 16.0);
    }
    for (row, o) in outcomes.iter().enumerate() {
        let y = ROW * row as f64;
        let (from, to, mark) = (place(o.p50_ms), place(o.p999_ms), place(o.p99_ms));
        let _ = write!(out, "<text x=\"0\" y=\"{}\">{}</text>", y + 16.0, o.balancer);
        let _ = write!(
            out,
            "<rect class=\"bar\" x=\"{from:.1}\" y=\"{}\" width=\"{:.1}\" height=\"14\"/>",
            y + 5.0,
            (to - from).max(1.0)
        );
        let _ =
            write!(out, "<rect class=\"p99\" x=\"{:.1}\" y=\"{}\" width=\"3\" height=\"14\"/>", mark - 1.5, y + 5.0);
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\">p99 {:.0} ms, errors {:.1} %</text>",
            LEFT + WIDTH + 12.0,
            y + 16.0,
            o.p99_ms,
            100.0 * o.error_share
        );
    }
    out.push_str("</svg>\n");
}
