//! All rounds of a scenario: medians over them, and ratios between those who were measured.
//!
//! Every single measurement is in the JSON too, thrown-away rounds included, so that a median can be doubted.

use crate::figure::{Figure, Figures, LEFT_OUT};
use crate::scenario::Scenario;
use serde_json::{Map, Value, json};

/// Whose figures are divided by whose.
const RATIOS: [(&str, &str); 2] = [("weft", "envoy"), ("weft", "haproxy")];

/// Of the requests at a fixed rate, per cent: when more than these had to be left out, those that are left say little.
const MOST_LEFT_OUT: f64 = 50.0;

/// Everybody once.
#[derive(Debug)]
pub struct Round {
    pub measured: Vec<(&'static str, Figures)>,
    /// Peers that could not be measured, and why.
    pub failed: Vec<(&'static str, String)>,
    /// Cores that everybody else on the machine kept busy meanwhile.
    pub others: f64,
}

/// All rounds of a scenario.
#[derive(Debug)]
pub struct Section {
    pub scenario: Scenario,
    pub rounds: Vec<Round>,
    pub thrown_away: Vec<Round>,
    /// Variants that this machine cannot have, and why.
    pub missing: Vec<(String, String)>,
    /// The limit of [`Round::is_quiet`].
    pub quiet: f64,
}

impl Section {
    /// Those whose figures are divided by whose: by the first variant where there are some.
    pub fn ratios(&self, contenders: &[String]) -> Vec<(String, String)> {
        let pair = |own: &str, other: &str| (own.to_owned(), other.to_owned());
        if let [plain, variants @ ..] = self.scenario.variants {
            return variants.iter().map(|variant| pair(variant, plain)).collect();
        }
        let has = |name: &str| contenders.iter().any(|contender| contender == name);
        RATIOS.into_iter().filter(|(own, other)| has(own) && has(other)).map(|(own, other)| pair(own, other)).collect()
    }

    /// Who was measured, in the order of columns or rows.
    pub fn measured(&self, contenders: &[String]) -> Vec<String> {
        match self.scenario.variants {
            [] => contenders.to_vec(),
            variants => variants.iter().map(|variant| (*variant).to_owned()).collect(),
        }
    }

    /// All figures, in the order of whoever has the most of them.
    pub fn figures(&self) -> Vec<Figure> {
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

    pub fn median(&self, contender: &str, figure: Figure) -> Option<f64> {
        let all = self.rounds.iter().flat_map(|round| &round.measured);
        median(all.filter(|(name, _)| *name == contender).filter_map(|(_, figures)| figures.get(figure)).collect())
    }

    /// The median of the rounds' ratios, where both say something that can be divided: within a round they were measured right
    /// after each other.
    pub fn ratio(&self, own: &str, other: &str, figure: Figure) -> Option<f64> {
        median(self.rounds.iter().filter_map(|round| round.ratio(own, other, figure)).collect())
    }

    pub fn json(&self, contenders: &[String]) -> Value {
        let object = |value: &dyn Fn(Figure) -> Option<f64>| {
            let pairs =
                self.figures().into_iter().filter_map(|figure| Some((figure.key.to_owned(), json!(value(figure)?))));
            Value::Object(pairs.collect::<Map<_, _>>())
        };
        let median = |contender: &String| (contender.clone(), object(&|figure| self.median(contender, figure)));
        let ratio = |(own, other): (String, String)| {
            (format!("{own} / {other}"), object(&|figure| self.ratio(&own, &other, figure)))
        };
        json!({
            "name": self.scenario.name,
            "about": self.scenario.about,
            "medians": self.measured(contenders).iter().map(median).collect::<Map<_, _>>(),
            "ratios": self.ratios(contenders).into_iter().map(ratio).collect::<Map<_, _>>(),
            "missing": self.missing.iter().map(|(name, why)| (name.clone(), json!(why))).collect::<Map<_, _>>(),
            "quiet_below_cores": self.quiet,
            "rounds": self.rounds.iter().map(Round::json).collect::<Vec<_>>(),
            "thrown_away": self.thrown_away.iter().map(Round::json).collect::<Vec<_>>(),
        })
    }

    /// How much the figures are to be trusted.
    pub fn remark(&self) -> String {
        let others = median(self.rounds.iter().map(|round| round.others).collect()).unwrap_or_default();
        let noisy = self.rounds.iter().filter(|round| !round.is_quiet(self.quiet)).count();
        let warning =
            if noisy > 0 { format!(", {noisy} of them NOT quiet: take no decision by these") } else { String::new() };
        let missing: String = self.missing.iter().map(|(name, why)| format!(" Without {name}: {why}.")).collect();
        let failed: String = (self.rounds.iter().flat_map(|round| &round.failed))
            .map(|(name, why)| format!(" One round without {name}, which failed twice: {why}."))
            .collect();
        format!(
            "- {}: {}. {} rounds, everybody else took {others:.2} cores{warning}; {} thrown away.{missing}{failed}\n",
            self.scenario.name,
            self.scenario.about,
            self.rounds.len(),
            self.thrown_away.len()
        )
    }
}

impl Round {
    /// Whether nobody disturbed it: everybody else kept fewer cores busy than `limit`, and the machine did not stand still for most of it.
    pub fn is_quiet(&self, limit: f64) -> bool {
        let stood_still = |figures: &Figures| figures.get(LEFT_OUT).is_some_and(|share| share > MOST_LEFT_OUT);
        self.others < limit && !self.measured.iter().any(|(_, figures)| stood_still(figures))
    }

    fn ratio(&self, own: &str, other: &str, figure: Figure) -> Option<f64> {
        let of = |name: &str| self.measured.iter().find(|(measured, _)| *measured == name)?.1.get(figure);
        let (own, other) = (of(own)?, of(other)?);
        (own > 0.0 && other > 0.0).then(|| own / other)
    }

    fn json(&self) -> Value {
        let figures = |all: &Figures| all.iter().map(|(figure, value)| (figure.key.to_owned(), json!(value))).collect();
        let measured = self.measured.iter().map(|(name, all)| ((*name).to_owned(), Value::Object(figures(all))));
        let failed = self.failed.iter().map(|(name, why)| ((*name).to_owned(), json!(why)));
        json!({
            "others_cores": self.others,
            "measured": measured.collect::<Map<_, _>>(),
            "failed": failed.collect::<Map<_, _>>(),
        })
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
    use crate::report::example::section;

    #[test]
    fn the_median_shrugs_off_an_outlier() {
        assert_eq!(median(vec![3.0, 900.0, 1.0]), Some(3.0));
        assert_eq!(median(vec![4.0, 2.0]), Some(3.0));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn a_round_in_which_the_machine_stood_still_is_not_quiet() {
        let round = |others, left_out| {
            let figures = Figures::default().with(LEFT_OUT, left_out);
            Round { measured: vec![("direct", Figures::default()), ("weft", figures)], failed: vec![], others }
        };
        assert!(round(0.2, 49.0).is_quiet(0.25));
        assert!(!round(0.2, 51.0).is_quiet(0.25));
        assert!(!round(0.3, 1.0).is_quiet(0.25));
    }

    #[test]
    fn the_summary_keeps_what_was_thrown_away() {
        let json = section().json(&["weft".to_owned(), "envoy".to_owned()]);
        assert_eq!(json["ratios"]["weft / envoy"]["cpu_us_per_request"], 50.0 / 90.0);
        assert_eq!(json["thrown_away"][0]["measured"]["envoy"]["cpu_us_per_request"], 1.0);
        assert_eq!(json["medians"]["weft"]["requests_per_second"], 5000.0);
    }

    #[test]
    fn variants_are_held_against_the_first_of_them() {
        let mut section = section();
        section.scenario.variants = &["plain", "metrics"];
        assert_eq!(section.ratios(&["weft".to_owned()]), [("metrics".to_owned(), "plain".to_owned())]);
        assert_eq!(section.measured(&["weft".to_owned()]), ["plain", "metrics"]);
    }
}
