//! Reads the Prometheus text format, so that figures come from the proxies themselves.
//!
//! Lines that are no samples (comments, garbage) are left out. Values are what they are: counters have to be compared.

use std::collections::BTreeMap;

/// One line: a name, labels and a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// All samples of one scrape.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    pub samples: Vec<Sample>,
}

impl Metrics {
    pub fn parse(text: &str) -> Self {
        Self { samples: text.lines().filter_map(sample).collect() }
    }

    /// The samples called `name` that carry all of `labels`.
    pub fn select<'a>(&'a self, name: &'a str, labels: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = &'a Sample> {
        let carries = |sample: &Sample| labels.iter().all(|(label, value)| sample.label(label) == *value);
        self.samples.iter().filter(move |sample| sample.name == name && carries(sample))
    }

    /// The sum of what [`Metrics::select`] finds; 0 when there is nothing.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.select(name, labels).map(|sample| sample.value).sum()
    }

    /// Sums by the value of the label `by`.
    pub fn sum_by(&self, name: &str, by: &str, labels: &[(&str, &str)]) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for sample in self.select(name, labels) {
            *sums.entry(sample.label(by).to_owned()).or_default() += sample.value;
        }
        sums
    }
}

impl Sample {
    /// The label's value; empty when it is missing, as Prometheus has it.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

fn sample(line: &str) -> Option<Sample> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let (series, value) = match line.rfind('}') {
        Some(end) => line.split_at(end + 1),
        None => line.split_once(' ')?,
    };
    let value = value.split_whitespace().next()?.parse().ok()?;
    let (name, labels) = match series.split_once('{') {
        Some((name, rest)) => (name, labels(rest.strip_suffix('}')?)?),
        None => (series, BTreeMap::new()),
    };
    Some(Sample { name: name.to_owned(), labels, value })
}

fn labels(mut text: &str) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut letters = rest.char_indices();
        let end = loop {
            match letters.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match letters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, letter) => value.push(letter),
            }
        };
        labels.insert(name.trim().to_owned(), value);
        text = rest[end + 1..].trim_start_matches(',');
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_selected_and_summed() {
        let text = "# HELP r Requests.\nr_total{service=\"a.shop\",status=\"200\"} 3\nr_total{service=\"a.shop\",status=\"503\"} 1\n\
                    r_total{service=\"b \\\"x\\\" {y}\",status=\"200\"} 5 1700000000\nup 1\nnonsense\n# EOF\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.samples.len(), 4);
        assert_eq!(metrics.sum("r_total", &[("service", "a.shop")]), 4.0);
        assert_eq!(metrics.sum_by("r_total", "status", &[])["200"], 8.0);
        assert_eq!(metrics.sum("r_total", &[("service", "b \"x\" {y}")]), 5.0);
        assert_eq!(metrics.sum("up", &[]), 1.0);
        assert_eq!(metrics.sum("down", &[]), 0.0);
    }
}
