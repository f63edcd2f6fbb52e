//! Reads the Prometheus text format, as far as proxies write it: one sample a line, labels in braces.
//!
//! Pure. A line that is not of the format is an error that shows it: half-read figures would be wrong figures.

use std::collections::BTreeMap;
use std::fmt;

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// With `_total`, `_bucket` and the like.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Series {
    /// A label's value; empty when it has none.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// A line that is no sample.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no line of metrics: {:?}", self.0)
    }
}

/// All samples of `text`. Comments are passed over, exemplars and timestamps cut off.
pub fn read(text: &str) -> Result<Vec<Series>, Unreadable> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines.map(|line| sample(line).ok_or_else(|| Unreadable(line.to_owned()))).collect()
}

fn sample(line: &str) -> Option<Series> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.trim_start().split(' ').next()?.parse().ok()?;
    (!name.is_empty()).then(|| Series { name: name.to_owned(), labels, value })
}

/// `a="b",c="d"}` and what follows.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.strip_prefix(',').unwrap_or(rest);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.insert(name.to_owned(), value);
        rest = after;
    }
}

/// Up to the closing quote; `\\`, `\"` and `\n` are escapes.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_with_their_labels() {
        let text = "# TYPE a counter\na_total{s=\"x.y\",why=\"q\\\"u\\\\o\\nt}e, \"} 12 # {trace_id=\"1\"} 1.0\n\nb 0.5\nc{} 3 1700000000\n";
        let read = read(text).unwrap();
        assert_eq!(
            read.iter().map(|s| (s.name.as_str(), s.value)).collect::<Vec<_>>(),
            [("a_total", 12.0), ("b", 0.5), ("c", 3.0)]
        );
        assert_eq!((read[0].label("s"), read[0].label("why"), read[0].label("z")), ("x.y", "q\"u\\o\nt}e, ", ""));
    }

    #[test]
    fn what_is_no_sample_is_shown() {
        for line in ["a", "a{b=\"c} 1", "a{b=c} 1", "a x", "{a=\"b\"} 1", "a{b=\"c\" 1"] {
            assert_eq!(read(line), Err(Unreadable(line.to_owned())), "{line}");
        }
    }
}
