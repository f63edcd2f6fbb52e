//! What the registry exposes as the data of OTLP: the same names, labels and values, read back from the registry's own text.
//!
//! Pure; between the registry and [`push`](super::push). Sums and histograms are cumulative. Each series begins with the process, or,
//! if it was not there when the last points were made or has gone back since, at that moment.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, exemplar,
    metric::Data, number_data_point::Value,
};
use std::collections::HashMap;
use std::mem;
use std::time::{SystemTime, UNIX_EPOCH};

/// What was told last of each series that only grows: when it began, and its value.
#[derive(Debug, Default)]
struct Told(HashMap<String, (u64, f64)>);

/// Makes points, and remembers what of the last ones the next ones need.
#[derive(Debug)]
pub(super) struct Points {
    /// When the process began, and when points were made last.
    last: u64,
    told: Told,
}

/// A family's lines.
struct Family<'a> {
    name: &'a str,
    help: &'a str,
    kind: &'a str,
    samples: Vec<Sample<'a>>,
}

struct Sample<'a> {
    name: &'a str,
    labels: Vec<(&'a str, String)>,
    /// As they are written: the identity of the series.
    written: &'a str,
    value: &'a str,
    /// `{trace_id="..."} value time`
    exemplar: Option<&'a str>,
}

impl Points {
    pub(super) fn since(started: SystemTime) -> Self {
        Self { last: nanos(started), told: Told::default() }
    }

    /// All metrics in `text`, which is OpenMetrics, as they were at `now`.
    pub(super) fn make(&mut self, text: &str, now: SystemTime) -> Vec<Metric> {
        let now = nanos(now);
        let mut moment = Moment { now, last: self.last, before: mem::take(&mut self.told), told: Told::default() };
        let metrics = families(text).iter().filter_map(|family| moment.metric(family)).collect();
        (self.last, self.told) = (now, moment.told);
        metrics
    }
}

/// One making of points.
struct Moment {
    now: u64,
    last: u64,
    before: Told,
    told: Told,
}

impl Moment {
    fn metric(&mut self, family: &Family<'_>) -> Option<Metric> {
        let first = family.samples.first()?;
        let data = match family.kind {
            "histogram" => Data::Histogram(self.histogram(family)),
            "counter" => Data::Sum(self.sum(family, true)),
            "info" => Data::Sum(self.sum(family, false)),
            _ => Data::Gauge(Gauge { data_points: family.samples.iter().map(|s| number(s, 0, self.now)).collect() }),
        };
        // Samples of counters and of information have endings, as docs/metrics.md has them.
        let name = if family.kind == "histogram" { family.name } else { first.name };
        Some(Metric {
            name: name.to_owned(),
            description: family.help.to_owned(),
            unit: unit(family.name).to_owned(),
            data: Some(data),
            ..Metric::default()
        })
    }

    fn sum(&mut self, family: &Family<'_>, is_monotonic: bool) -> Sum {
        let mut data_points = Vec::with_capacity(family.samples.len());
        for sample in &family.samples {
            let begun = self.begun(format!("{}{}", sample.name, sample.written), sample.value.parse().unwrap_or(0.0));
            data_points.push(number(sample, begun, self.now));
        }
        Sum { data_points, is_monotonic, aggregation_temporality: AggregationTemporality::Cumulative.into() }
    }

    /// When the series began that has `value` now.
    fn begun(&mut self, series: String, value: f64) -> u64 {
        let begun = match self.before.0.get(&series) {
            Some((begun, before)) if value >= *before => *begun,
            _ => self.last,
        };
        self.told.0.insert(series, (begun, value));
        begun
    }

    fn histogram(&mut self, family: &Family<'_>) -> Histogram {
        let mut points: Vec<HistogramDataPoint> = Vec::new();
        let mut of: HashMap<Vec<(&str, String)>, usize> = HashMap::new();
        for sample in &family.samples {
            let (bounds, labels): (Vec<_>, Vec<_>) = sample.labels.iter().cloned().partition(|(name, _)| *name == "le");
            let at = *of.entry(labels.clone()).or_insert_with(|| {
                points.push(HistogramDataPoint { time_unix_nano: self.now, ..Default::default() });
                points.len() - 1
            });
            let point = &mut points[at];
            match sample.name.strip_prefix(family.name) {
                Some("_sum") => point.sum = sample.value.parse().ok(),
                Some("_count") => {
                    point.count = sample.value.parse().unwrap_or(0);
                    point.attributes = attributes(&labels);
                    let series = format!("{}{}", family.name, sample.written);
                    point.start_time_unix_nano = self.begun(series, point.count as f64);
                }
                Some("_bucket") => bucket(point, bounds.first().map_or("", |(_, bound)| bound), sample),
                _ => {}
            }
        }
        Histogram { data_points: points, aggregation_temporality: AggregationTemporality::Cumulative.into() }
    }
}

/// The text counts a bucket with all below it, OTLP each by itself.
fn bucket(point: &mut HistogramDataPoint, bound: &str, sample: &Sample<'_>) {
    let below: u64 = point.bucket_counts.iter().sum();
    let upto: u64 = sample.value.parse().unwrap_or(below);
    point.bucket_counts.push(upto.saturating_sub(below));
    if let Some(bound) = bound.parse().ok().filter(|bound: &f64| bound.is_finite()) {
        point.explicit_bounds.push(bound);
    }
    point.exemplars.extend(sample.exemplar.and_then(read_exemplar));
}

fn read_exemplar(text: &str) -> Option<Exemplar> {
    let (labels, rest) = text.strip_prefix("{trace_id=\"")?.split_once("\"} ")?;
    let (value, at) = rest.split_once(' ')?;
    let value = exemplar::Value::AsDouble(value.parse().ok()?);
    let at: f64 = at.parse().ok()?;
    Some(Exemplar {
        trace_id: u128::from_str_radix(labels, 16).ok()?.to_be_bytes().to_vec(),
        time_unix_nano: (at * 1e9) as u64,
        value: Some(value),
        ..Exemplar::default()
    })
}

fn number(sample: &Sample<'_>, begun: u64, now: u64) -> NumberDataPoint {
    let value = match sample.value.parse() {
        Ok(whole) => Value::AsInt(whole),
        Err(_) => Value::AsDouble(sample.value.parse().unwrap_or(f64::NAN)),
    };
    NumberDataPoint {
        attributes: attributes(&sample.labels),
        start_time_unix_nano: begun,
        time_unix_nano: now,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

fn attributes(labels: &[(&str, String)]) -> Vec<KeyValue> {
    labels.iter().map(|(name, value)| crate::otlp::text(name, value.as_str())).collect()
}

/// In the code of UCUM, by what the name ends in.
fn unit(name: &str) -> &'static str {
    if name.ends_with("_seconds") {
        "s"
    } else if name.ends_with("_bytes") {
        "By"
    } else {
        ""
    }
}

fn nanos(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// The families of `text`, in their order.
fn families(text: &str) -> Vec<Family<'_>> {
    let mut found: Vec<Family<'_>> = Vec::new();
    for line in text.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            if let (Some(family), Some(sample)) = (found.last_mut(), sample(line)) {
                family.samples.push(sample);
            }
            continue;
        };
        let mut words = comment.splitn(3, ' ');
        let (what, name, said) = (words.next(), words.next().unwrap_or(""), words.next().unwrap_or(""));
        if found.last().is_none_or(|family| family.name != name) && what != Some("EOF") {
            found.push(Family { name, help: "", kind: "", samples: Vec::new() });
        }
        match (what, found.last_mut()) {
            (Some("HELP"), Some(family)) => family.help = said.trim_end_matches('.'),
            (Some("TYPE"), Some(family)) => family.kind = said,
            _ => {}
        }
    }
    found
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, after) = match rest.strip_prefix('{') {
        None => (Vec::new(), rest),
        Some(rest) => read_labels(rest)?,
    };
    let written = &rest[..rest.len() - after.len()];
    let (value, exemplar) = match after.split_once(" # ") {
        Some((value, exemplar)) => (value, Some(exemplar)),
        None => (after, None),
    };
    Some(Sample { name, labels, written, value: value.trim(), exemplar })
}

/// The labels up to the closing bracket, and what comes after it.
fn read_labels(mut rest: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.trim_start_matches(',').split_once("=\"")?;
        let (mut value, mut letters) = (String::new(), after.char_indices());
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
        labels.push((name, value));
        rest = &after[end + 1..];
    }
}

#[cfg(test)]
#[path = "points_tests.rs"]
mod tests;
