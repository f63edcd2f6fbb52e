//! Bars on scales, one chart below the other, as one SVG: no scripts, nothing to load.
//!
//! Text in, text out. Whoever draws says what a bar goes from and to, in shares of the scale's width, and what stands beside it.

use std::fmt::Write;

const LEFT: f64 = 130.0;
const WIDTH: f64 = 560.0;
const ROW: f64 = 24.0;
/// For the words at the end of a row.
const RIGHT: f64 = 330.0;
/// The scale below a chart.
const FOOT: f64 = 24.0;
/// A chart's title above it.
const HEAD: f64 = 44.0;
/// What the shapes look like, for pages that hold several.
pub const STYLE: &str = "text{font:12px sans-serif;fill:#222}.grid{stroke:#ddd}.bar{fill:#7aa6d6}.p99{fill:#1d4f91}";

/// Bars that share a scale. All places are shares of the scale's width, from 0 to 1.
#[derive(Debug, Clone, Default)]
pub struct Chart {
    pub title: String,
    /// Lines of the grid and their labels.
    pub grid: Vec<(f64, String)>,
    pub bars: Vec<Bar>,
}

#[derive(Debug, Clone, Default)]
pub struct Bar {
    pub name: String,
    pub from: f64,
    pub to: f64,
    /// A dark mark across it.
    pub mark: Option<f64>,
    /// At the end of the row.
    pub words: String,
}

/// A picture of its own, called `title`, with the charts one below the other.
pub fn svg(title: &str, charts: &[Chart]) -> String {
    let height: f64 = charts.iter().map(|chart| HEAD + chart.height()).sum();
    let width = LEFT + WIDTH + RIGHT;
    let mut out = format!("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n");
    let _ = writeln!(out, "<title>{}</title>", escaped(title));
    let _ = writeln!(out, "<style>{STYLE}</style>\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>");
    let mut y = 0.0;
    for chart in charts {
        let _ = writeln!(out, "<text x=\"0\" y=\"{}\">{}</text>", y + HEAD - 12.0, escaped(&chart.title));
        chart.draw(y + HEAD, &mut out);
        y += HEAD + chart.height();
    }
    out + "</svg>\n"
}

impl Chart {
    fn height(&self) -> f64 {
        FOOT + ROW * self.bars.len() as f64
    }

    /// Draws the bars and the scale, beginning at `top` of whatever they stand in.
    pub fn draw(&self, top: f64, out: &mut String) {
        let height = ROW * self.bars.len() as f64;
        let (width, whole) = (LEFT + WIDTH + RIGHT, height + FOOT);
        let _ = writeln!(out, "<svg y=\"{top}\" width=\"{width}\" height=\"{whole}\" role=\"img\">");
        for (share, label) in &self.grid {
            let x = place(*share);
            let _ = write!(out, "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{height}\"/>");
            let label = escaped(label);
            let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>", height + 16.0);
        }
        for (row, bar) in self.bars.iter().enumerate() {
            bar.draw(ROW * row as f64, out);
        }
        out.push_str("</svg>\n");
    }
}

impl Bar {
    fn draw(&self, y: f64, out: &mut String) {
        let (from, to) = (place(self.from), place(self.to));
        let _ = write!(out, "<text x=\"0\" y=\"{}\">{}</text>", y + 16.0, escaped(&self.name));
        let (top, length) = (y + 5.0, (to - from).max(1.0));
        let _ = write!(out, "<rect class=\"bar\" x=\"{from:.1}\" y=\"{top}\" width=\"{length:.1}\" height=\"14\"/>");
        if let Some(mark) = self.mark.map(place) {
            let _ = write!(out, "<rect class=\"p99\" x=\"{:.1}\" y=\"{top}\" width=\"3\" height=\"14\"/>", mark - 1.5);
        }
        let words = escaped(&self.words);
        let _ = writeln!(out, "<text x=\"{}\" y=\"{}\">{words}</text>", LEFT + WIDTH + 12.0, y + 16.0);
    }
}

fn place(share: f64) -> f64 {
    LEFT + WIDTH * share.clamp(0.0, 1.0)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share_and_words_stay_words() {
        let bar = Bar { name: "<weft>".to_owned(), to: 0.5, words: "a & b".to_owned(), ..Bar::default() };
        let chart = Chart { title: "one".to_owned(), grid: vec![(1.0, "2 s".to_owned())], bars: vec![bar] };
        let text = svg("all", &[chart]);
        assert!(text.contains("width=\"280.0\""), "{text}");
        assert!(text.contains("&lt;weft&gt;") && text.contains("a &amp; b") && text.contains(">2 s<"), "{text}");
        assert!(!text.contains("class=\"p99\""), "nothing was marked: {text}");
    }
}
