//! Tables in Markdown: one of all contenders, and one for each scenario that has variants.
//!
//! A gap says that there was nothing to measure.

use super::{Report, Section};

impl Report {
    /// One row per scenario and figure, one column per contender and ratio, and a line on each scenario's rounds. Scenarios with
    /// variants have tables of their own, one row per variant.
    pub fn markdown(&self) -> String {
        let (together, apart): (Vec<&Section>, Vec<&Section>) =
            self.sections.iter().partition(|section| section.scenario.variants.is_empty());
        let mut text = if together.is_empty() { String::new() } else { self.contenders(&together) };
        for section in apart {
            text += &format!("\n{}\n", variants(section));
        }
        let remarks: String = self.sections.iter().map(Section::remark).collect();
        format!("{text}\n{remarks}")
    }

    fn contenders(&self, sections: &[&Section]) -> String {
        let ratios = sections.first().map(|section| section.ratios(&self.contenders)).unwrap_or_default();
        let divided = ratios.iter().map(|(own, other)| format!("{own} / {other}"));
        let titles: Vec<String> = self.contenders.iter().cloned().chain(divided).collect();
        let mut text = head(&["scenario", "figure"], &titles);
        for section in sections {
            for figure in section.figures() {
                let cells = self.contenders.iter().map(|contender| section.median(contender, figure).map(number));
                let quotients = ratios.iter().map(|(own, other)| section.ratio(own, other, figure).map(quotient));
                let shown = cells.chain(quotients).map(or_gap);
                text += &row([section.scenario.name.to_owned(), figure.about.to_owned()].into_iter().chain(shown));
            }
        }
        text
    }
}

fn variants(section: &Section) -> String {
    let (figures, ratios) = (section.figures(), section.ratios(&[]));
    let mut titles: Vec<String> = figures.iter().map(|figure| figure.about.to_owned()).collect();
    let divided = figures.first().copied();
    titles.extend(divided.map(|figure| format!("{}, as a ratio", figure.about)));
    let mut text = head(&[section.scenario.name], &titles);
    for variant in section.measured(&[]) {
        let cells = figures.iter().map(|figure| section.median(&variant, *figure).map(number));
        let of = ratios.iter().find(|(own, _)| *own == variant);
        let ratio = divided.map(|figure| of.and_then(|(own, other)| section.ratio(own, other, figure)).map(quotient));
        let cells: Vec<String> = cells.chain(ratio).map(or_gap).collect();
        text += &row([variant].into_iter().chain(cells));
    }
    text
}

fn head(names: &[&str], figures: &[String]) -> String {
    let titles = names.iter().map(|name| (*name).to_owned()).chain(figures.iter().cloned());
    let rule = names.iter().map(|_| "---").chain(figures.iter().map(|_| "---:")).map(str::to_owned);
    row(titles) + &row(rule)
}

/// A line of a table.
pub fn row(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

fn or_gap(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| "-".to_owned())
}

fn quotient(value: f64) -> String {
    format!("{value:.2}x")
}

/// About three digits that mean something.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::section;
    use std::time::Duration;

    fn report(section: Section) -> String {
        let contenders = ["direct", "weft", "envoy"].map(str::to_owned).to_vec();
        Report { duration: Duration::from_secs(1), contenders, sections: vec![section] }.markdown()
    }

    #[test]
    fn the_table_has_ratios_and_gaps_and_says_when_it_was_loud() {
        let text = report(section());
        assert!(text.starts_with("| scenario | figure | direct | weft | envoy | weft / envoy |\n"), "{text}");
        assert!(text.contains("| - | 50.0 | 100 | 0.56x |"), "{text}");
        assert!(text.contains("1 of them NOT quiet") && text.contains("1 thrown away"), "{text}");
    }

    #[test]
    fn variants_have_rows_and_the_missing_have_reasons() {
        let mut section = section();
        section.scenario.variants = &["envoy", "weft", "tracing"];
        section.missing = vec![("tracing".to_owned(), "no Go".to_owned())];
        let text = report(section);
        assert!(text.contains("| weft | 50.0 | 5000 | 0.56x |"), "{text}");
        assert!(text.contains("| tracing | - | - | - |") && text.contains("Without tracing: no Go."), "{text}");
    }

    #[test]
    fn a_peer_that_fails_leaves_a_gap_with_a_reason() {
        let mut section = section();
        for round in &mut section.rounds {
            round.measured.pop();
            round.failed = vec![("envoy", "a stream was reset".to_owned())];
        }
        let text = report(section);
        assert!(text.contains("| - | 50.0 | - | - |"), "{text}");
        assert!(text.contains("One round without envoy, which failed twice: a stream was reset."), "{text}");
    }
}
