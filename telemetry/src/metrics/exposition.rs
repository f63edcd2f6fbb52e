//! The two forms in which metrics are asked for: OpenMetrics, and the text format that came before it.
//!
//! Between the registry, whose library writes OpenMetrics without exemplars, and `/metrics`. Exemplars are put behind the buckets
//! that histograms have just written, in the same order; the older form has none. Nothing here fails.

use super::latency::Exemplar;
use std::fmt::Write;
use std::time::UNIX_EPOCH;

/// What a scraper can be answered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// OpenMetrics 1.0, with exemplars.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Text,
}

impl Exposition {
    /// As the `accept` header wants it. Whoever does not name OpenMetrics gets the older form, which everybody reads.
    pub fn accepted(accept: Option<&str>) -> Self {
        let named = |part: &str| {
            let mut parameters = part.split(';').map(str::trim);
            let named = parameters.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"));
            named && !parameters.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        };
        match accept.is_some_and(|accept| accept.split(',').any(named)) {
            true => Self::OpenMetrics,
            false => Self::Text,
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Puts `exemplars` behind the lines of buckets in `text`, one for each, in their order.
pub(super) fn with_exemplars(text: &str, exemplars: Vec<Option<Exemplar>>) -> String {
    let mut out = String::with_capacity(text.len() + 128);
    let mut exemplars = exemplars.into_iter();
    for line in text.lines() {
        out.push_str(line);
        if !line.starts_with('#')
            && is_bucket(line)
            && let Some(Some(exemplar)) = exemplars.next()
        {
            let at = exemplar.at.duration_since(UNIX_EPOCH).unwrap_or_default();
            let (trace, value) = (exemplar.trace, exemplar.value.as_secs_f64());
            // Writing into a string does not fail.
            let _ = write!(out, " # {{trace_id=\"{trace:032x}\"}} {value} {}.{:03}", at.as_secs(), at.subsec_millis());
        }
        out.push('\n');
    }
    out
}

fn is_bucket(line: &str) -> bool {
    line.find(['{', ' ']).is_some_and(|at| line[..at].ends_with("_bucket"))
}

/// OpenMetrics without exemplars in the older form: families are called as their samples are, and there are fewer types.
pub(super) fn classic(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((line, after)) = rest.split_once('\n') {
        rest = after;
        match line.strip_prefix("# ") {
            None => out.push_str(line),
            Some("EOF") => continue,
            Some(comment) => {
                let mut words = comment.splitn(3, ' ');
                let (kind, name, said) = (words.next(), words.next().unwrap_or(""), words.next().unwrap_or(""));
                if kind == Some("UNIT") {
                    continue;
                }
                // HELP comes first, and the type stands in the line after it.
                let of = if kind == Some("TYPE") { said } else { type_after(rest, name) };
                let (suffix, of) = match of {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    other => ("", other),
                };
                let said = if kind == Some("TYPE") { of } else { said };
                let _ = write!(out, "# {} {name}{suffix} {said}", kind.unwrap_or_default());
            }
        }
        out.push('\n');
    }
    out
}

/// The type that the lines after HELP give to `name`.
fn type_after<'a>(rest: &'a str, name: &str) -> &'a str {
    let types = rest.lines().map_while(|line| line.strip_prefix("# "));
    let found = types.filter_map(|comment| comment.strip_prefix("TYPE ")?.split_once(' ')).find(|(of, _)| *of == name);
    found.map_or("", |(_, of)| of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn openmetrics_is_for_those_who_ask() {
        let wanted = |accept: &str| Exposition::accepted(Some(accept));
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        assert_eq!(wanted(prometheus), Exposition::OpenMetrics);
        assert_eq!(wanted("application/openmetrics-text"), Exposition::OpenMetrics);
        for text in ["*/*", "text/plain", "", "application/openmetrics-text;q=0", "text/html, text/*"] {
            assert_eq!(wanted(text), Exposition::Text, "{text}");
        }
        assert_eq!(Exposition::accepted(None), Exposition::Text);
    }

    #[test]
    fn the_older_form_calls_families_as_their_samples() {
        let new = "# HELP a A.\n# TYPE a counter\na_total{x=\"# b\"} 1\n# HELP b_seconds B.\n# TYPE b_seconds gauge\n\
                   # UNIT b_seconds seconds\nb_seconds 2\n# HELP c C.\n# TYPE c info\nc_info{v=\"1\"} 1\n# EOF\n";
        let old = "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"# b\"} 1\n# HELP b_seconds B.\n# TYPE b_seconds gauge\n\
                   b_seconds 2\n# HELP c_info C.\n# TYPE c_info gauge\nc_info{v=\"1\"} 1\n";
        assert_eq!(classic(new), old);
    }

    #[test]
    fn exemplars_stand_behind_their_buckets() {
        let text =
            "# TYPE d histogram\nd_sum 1\nd_bucket{le=\"1.0\"} 1\nd_bucket{le=\"+Inf\"} 1\nother{a=\"x_bucket\"} 1\n";
        let at = UNIX_EPOCH + Duration::from_millis(1_500);
        let exemplar = Exemplar { trace: 0xab, value: Duration::from_millis(250), at };
        let told = with_exemplars(text, vec![Some(exemplar), None]);
        let line = format!("d_bucket{{le=\"1.0\"}} 1 # {{trace_id=\"{:032x}\"}} 0.25 1.500\n", 0xab);
        assert!(told.contains(&line) && told.matches(" # {").count() == 1, "{told}");
    }
}
