//! Medians over the rounds and ratios between contenders, as JSON for machines and as a Markdown table for people.
//!
//! Every single measurement is in the JSON too, thrown-away rounds included, so that a median can be doubted.

use crate::figure::{Figure, Figures};
use crate::machine;
use crate::scenario::Scenario;
use anyhow::Context;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Whose figures are divided by whose.
const RATIOS: [(&str, &str); 2] = [("weft", "envoy"), ("weft", "haproxy")];

/// Every contender once.
#[derive(Debug)]
pub struct Round {
    pub measured: Vec<(&'static str, Figures)>,
    /// Cores that everybody else on the machine kept busy meanwhile.
    pub others: f64,
}

/// All rounds of a scenario.
#[derive(Debug)]
pub struct Section {
    pub scenario: Scenario,
    pub rounds: Vec<Round>,
    pub thrown_away: Vec<Round>,
    /// Rounds with others above this are not quiet.
    pub quiet: f64,
}

/// All that was measured.
#[derive(Debug)]
pub struct Report {
    pub duration: Duration,
    /// In the order of the table's columns.
    pub contenders: Vec<String>,
    pub sections: Vec<Section>,
}

impl Report {
    /// Writes everything as JSON.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let sections: Vec<Value> = self.sections.iter().map(|section| section.json(&self.contenders)).collect();
        let seconds = self.duration.as_secs_f64();
        let summary = json!({ "machine": machine::description(), "seconds": seconds, "scenarios": sections });
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        let text = serde_json::to_string_pretty(&summary)? + "\n";
        fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }

    /// One row per scenario and figure, one column per contender and ratio, and a line on each scenario's rounds.
    pub fn markdown(&self) -> String {
        let has = |name: &str| self.contenders.iter().any(|contender| contender == name);
        let ratios: Vec<_> = RATIOS.into_iter().filter(|(own, other)| has(own) && has(other)).collect();
        let titles =
            self.contenders.iter().cloned().chain(ratios.iter().map(|(own, other)| format!("{own} / {other}")));
        let titles: Vec<String> = titles.collect();
        let mut text = row(["scenario", "figure"].map(str::to_owned).into_iter().chain(titles.iter().cloned()));
        text += &row(["---", "---"].into_iter().chain(titles.iter().map(|_| "---:")).map(str::to_owned));
        for section in &self.sections {
            for figure in section.figures() {
                let cells = self.contenders.iter().map(|contender| section.median(contender, figure));
                let quotients = ratios.iter().map(|(own, other)| section.ratio(own, other, figure));
                let shown =
                    cells.map(|cell| cell.map(number)).chain(quotients.map(|cell| cell.map(|q| format!("{q:.2}x"))));
                let shown = shown.map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
                text += &row([section.scenario.name.to_owned(), figure.about.to_owned()].into_iter().chain(shown));
            }
        }
        let remarks: String = self.sections.iter().map(Section::remark).collect();
        format!("{text}\n{remarks}")
    }
}

impl Section {
    /// All figures, in the order of whoever has the most of them.
    fn figures(&self) -> Vec<Figure> {
        let mut all: Vec<&Figures> =
            self.rounds.iter().flat_map(|round| &round.measured).map(|(_, figures)| figures).collect();
        all.sort_by_key(|figures| std::cmp::Reverse(figures.iter().count()));
        let mut seen = vec![];
        for (figure, _) in all.into_iter().flat_map(Figures::iter) {
            if !seen.contains(&figure) {
                seen.push(figure);
            }
        }
        seen
    }

    fn median(&self, contender: &str, figure: Figure) -> Option<f64> {
        let all = self.rounds.iter().flat_map(|round| &round.measured);
        median(all.filter(|(name, _)| *name == contender).filter_map(|(_, figures)| figures.get(figure)).collect())
    }

    /// Of medians, where both say something that can be divided.
    fn ratio(&self, own: &str, other: &str, figure: Figure) -> Option<f64> {
        let (own, other) = (self.median(own, figure)?, self.median(other, figure)?);
        (own > 0.0 && other > 0.0).then(|| own / other)
    }

    fn json(&self, contenders: &[String]) -> Value {
        let object = |value: &dyn Fn(Figure) -> Option<f64>| {
            let pairs =
                self.figures().into_iter().filter_map(|figure| Some((figure.key.to_owned(), json!(value(figure)?))));
            Value::Object(pairs.collect::<Map<_, _>>())
        };
        let median = |contender: &String| (contender.clone(), object(&|figure| self.median(contender, figure)));
        let ratio = |(own, other)| (format!("{own} / {other}"), object(&|figure| self.ratio(own, other, figure)));
        json!({
            "name": self.scenario.name,
            "about": self.scenario.about,
            "medians": contenders.iter().map(median).collect::<Map<_, _>>(),
            "ratios": RATIOS.into_iter().map(ratio).collect::<Map<_, _>>(),
            "quiet_below_cores": self.quiet,
            "rounds": self.rounds.iter().map(Round::json).collect::<Vec<_>>(),
            "thrown_away": self.thrown_away.iter().map(Round::json).collect::<Vec<_>>(),
        })
    }

    /// How much the figures are to be trusted.
    fn remark(&self) -> String {
        let others = median(self.rounds.iter().map(|round| round.others).collect()).unwrap_or_default();
        let noisy = self.rounds.iter().filter(|round| round.others >= self.quiet).count();
        let warning =
            if noisy > 0 { format!(", {noisy} of them NOT quiet: take no decision by these") } else { String::new() };
        format!(
            "- {}: {}. {} rounds, everybody else took {others:.2} cores{warning}; {} thrown away.\n",
            self.scenario.name,
            self.scenario.about,
            self.rounds.len(),
            self.thrown_away.len()
        )
    }
}

impl Round {
    fn json(&self) -> Value {
        let figures = |all: &Figures| all.iter().map(|(figure, value)| (figure.key.to_owned(), json!(value))).collect();
        let measured = self.measured.iter().map(|(name, all)| ((*name).to_owned(), Value::Object(figures(all))));
        json!({ "others_cores": self.others, "measured": measured.collect::<Map<_, _>>() })
    }
}

fn row(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

/// About three digits that mean something.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{CPU_PER_REQUEST, REQUESTS};

    fn section() -> Section {
        let round = |own: f64, other: f64, others: f64| {
            let figures = |cpu: f64| Figures::default().with(CPU_PER_REQUEST, cpu).with(REQUESTS, 5000.0);
            Round { measured: vec![("weft", figures(own)), ("envoy", figures(other))], others }
        };
        let rounds = vec![round(40.0, 100.0, 0.0), round(900.0, 110.0, 0.1), round(50.0, 90.0, 0.9)];
        let scenario = crate::scenario::all()[0];
        Section { scenario, rounds, thrown_away: vec![round(1.0, 1.0, 2.0)], quiet: 0.5 }
    }

    #[test]
    fn the_median_shrugs_off_an_outlier() {
        assert_eq!(median(vec![3.0, 900.0, 1.0]), Some(3.0));
        assert_eq!(median(vec![4.0, 2.0]), Some(3.0));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn the_table_has_ratios_and_gaps_and_says_when_it_was_loud() {
        let contenders = ["direct", "weft", "envoy"].map(str::to_owned).to_vec();
        let report = Report { duration: Duration::from_secs(1), contenders, sections: vec![section()] };
        let text = report.markdown();
        assert!(text.starts_with("| scenario | figure | direct | weft | envoy | weft / envoy |\n"), "{text}");
        assert!(text.contains("| - | 50.0 | 100 | 0.50x |"), "{text}");
        assert!(text.contains("1 of them NOT quiet") && text.contains("1 thrown away"), "{text}");
    }

    #[test]
    fn the_summary_keeps_what_was_thrown_away() {
        let json = section().json(&["weft".to_owned()]);
        assert_eq!(json["ratios"]["weft / envoy"]["cpu_us_per_request"], 0.5);
        assert_eq!(json["thrown_away"][0]["measured"]["envoy"]["cpu_us_per_request"], 1.0);
        assert_eq!(json["medians"]["weft"]["requests_per_second"], 5000.0);
    }
}
