//! The same medians to look at: a chart per scenario of the figure that matters most in it, drawn as the laboratory draws its own.
//!
//! A bar as long as the median, on a scale of its own that begins at nothing.

use super::table::number;
use super::{Report, Section};
use crate::figure::Figure;
use weft_lab::chart::{Bar, Chart, svg};

/// Lines of the grid beside nothing.
const LINES: usize = 4;

impl Report {
    /// All scenarios, one below the other.
    pub fn svg(&self) -> String {
        let charts: Vec<Chart> = self.sections.iter().flat_map(|section| self.charts(section)).collect();
        svg("Benchmark: medians of all rounds", &charts)
    }

    fn charts(&self, section: &Section) -> Vec<Chart> {
        // Whoever starts anew each time has figures that have nothing to do with each other.
        let figures = if section.scenario.fresh { usize::MAX } else { 1 };
        let names = section.measured(&self.contenders);
        section.figures().into_iter().take(figures).map(|figure| chart(section, figure, &names)).collect()
    }
}

fn chart(section: &Section, figure: Figure, names: &[String]) -> Chart {
    let medians = names.iter().filter_map(|name| Some((name, section.median(name, figure)?)));
    let medians: Vec<(&String, f64)> = medians.collect();
    let most = medians.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let line = |n: usize| {
        let share = n as f64 / LINES as f64;
        (share, number(share * most))
    };
    let bar = |(name, value): (&String, f64)| Bar {
        name: name.clone(),
        to: value / most,
        words: number(value),
        ..Bar::default()
    };
    Chart {
        title: format!("{}: {}", section.scenario.name, figure.about),
        grid: (0..=LINES).map(line).collect(),
        bars: medians.into_iter().map(bar).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::section;
    use std::time::Duration;

    #[test]
    fn the_longest_bar_is_the_largest_median() {
        let contenders = ["weft", "envoy"].map(str::to_owned).to_vec();
        let report = Report { duration: Duration::from_secs(1), contenders, sections: vec![section()] };
        let charts = report.charts(&report.sections[0]);
        let [chart] = &charts[..] else { panic!("{charts:?}") };
        let bars: Vec<(&str, f64)> = chart.bars.iter().map(|bar| (bar.name.as_str(), bar.to)).collect();
        assert_eq!(bars, [("weft", 0.5), ("envoy", 1.0)]);
        assert!(report.svg().contains("http1-small: CPU per request"));
    }
}
