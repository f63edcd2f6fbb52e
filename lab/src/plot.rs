//! The same figures to look at: one page of HTML with a drawing per scenario, and all of them as one SVG. No scripts, nothing to load.
//!
//! A bar from the median to p99.9 for each balancer, with a mark at p99, on a logarithmic scale that all share.

use crate::report::{Outcome, Summary};
use std::fmt::Write;

const LEFT: f64 = 130.0;
const WIDTH: f64 = 560.0;
const ROW: f64 = 24.0;
/// For the words at the end of a row.
const RIGHT: f64 = 330.0;
/// The scale below a drawing.
const FOOT: f64 = 24.0;
/// A scenario's name above it.
const HEAD: f64 = 44.0;
const STYLE: &str = "text{font:12px sans-serif;fill:#222}.grid{stroke:#ddd}.bar{fill:#7aa6d6}.p99{fill:#1d4f91}";
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
            drawing(outcomes, 0.0, &mut out);
        }
    }
    out
}

/// All scenarios, one below the other.
pub fn svg(summary: &Summary) -> String {
    let scenarios = || summary.results.chunk_by(|a, b| a.scenario == b.scenario);
    let height: f64 = scenarios().map(|outcomes| HEAD + FOOT + ROW * outcomes.len() as f64).sum();
    let width = LEFT + WIDTH + RIGHT;
    let mut out = format!("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n");
    out += "<title>Balance laboratory: from the median to p99.9, with a mark at p99</title>\n";
    let _ = writeln!(out, "<style>{STYLE}</style>\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>");
    let mut y = 0.0;
    for outcomes in scenarios() {
        if let Some(first) = outcomes.first() {
            let _ = writeln!(out, "<text x=\"0\" y=\"{}\">{}: {}</text>", y + HEAD - 12.0, first.scenario, first.about);
        }
        drawing(outcomes, y + HEAD, &mut out);
        y += HEAD + FOOT + ROW * outcomes.len() as f64;
    }
    out + "</svg>\n"
}

fn place(milliseconds: f64) -> f64 {
    let share = (milliseconds.clamp(SCALE.0, SCALE.1) / SCALE.0).ln() / (SCALE.1 / SCALE.0).ln();
    LEFT + WIDTH * share
}

/// One scenario, beginning at `top` of whatever it stands in.
fn drawing(outcomes: &[Outcome], top: f64, out: &mut String) {
    let height = ROW * outcomes.len() as f64;
    let (width, whole) = (LEFT + WIDTH + RIGHT, height + FOOT);
    let _ = writeln!(out, "<svg y=\"{top}\" width=\"{width}\" height=\"{whole}\" role=\"img\">");
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
            "<text x=\"{}\" y=\"{}\">p50 {:.0}, p99 {:.0}, p99.9 {:.0} ms, errors {:.1} %, max/mean {:.2}</text>",
            LEFT + WIDTH + 12.0,
            y + 16.0,
            o.p50_ms,
            o.p99_ms,
            o.p999_ms,
            100.0 * o.error_share,
            o.max_over_mean_load
        );
    }
    out.push_str("</svg>\n");
}
