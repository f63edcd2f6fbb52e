//! Every query of every panel, with the variables filled in from the same Prometheus, as Grafana would.
//!
//! Asked again and again while requests go on, until each has a number; what never has one is named with its query.

use crate::board::{self, Board, Query};
use crate::{Scene, events};
use anyhow::{Context, ensure};
use serde_json::Value;
use std::time::{Duration, Instant};
use weft_tests::Outcome;
use weft_tests::prometheus::Prometheus;

const LIMIT: Duration = Duration::from_secs(50);
/// What Grafana puts in for `$__rate_interval`: four scrapes at least; more here, for machines that stand still.
const RATE_INTERVAL: &str = "20s";
/// The service that the suite's traffic is for.
const SERVICE: &str = "echo.test";

/// Metrics without a sample here, and why. docs/grafana.md has the same list.
const NOT_HERE: [(&str, &str); 6] = [
    ("weft_discovery_controller_writes_total", "there is no Kubernetes"),
    ("weft_discovery_controller_statuses_total", "there is no Kubernetes"),
    ("weft_injector_reviews_total", "there is no injector without Kubernetes"),
    ("weft_injector_review_seconds_bucket", "there is no injector without Kubernetes"),
    ("weft_injector_certificate_expiry_seconds", "there is no injector without Kubernetes"),
    ("weft_discovery_store_errors_total", "the store does not fail"),
];

pub async fn answered(scene: &Scene) -> Outcome {
    let boards = board::all()?;
    let mut open: Vec<(&Board, Query)> =
        boards.iter().flat_map(|board| board.queries().into_iter().map(move |query| (board, query))).collect();
    let asked = open.len();
    open.retain(|(_, query)| !NOT_HERE.iter().any(|(name, _)| query.expression.contains(name)));
    ensure!(open.len() > 100 && asked - open.len() <= NOT_HERE.len(), "{} of {asked} queries are left", open.len());
    let deadline = Instant::now() + LIMIT;
    while !open.is_empty() {
        let left = || open.iter().map(|(_, query)| format!("{}: {}", query.of, query.expression)).collect::<Vec<_>>();
        ensure!(Instant::now() < deadline, "no data for\n{}", left().join("\n"));
        events::requests(&scene.world).await?;
        let mut still = Vec::new();
        for board in &boards {
            let (ours, others): (Vec<_>, Vec<_>) = open.into_iter().partition(|(of, _)| of.name == board.name);
            open = others;
            let Some(values) = filled(&scene.prometheus, board)? else {
                still.extend(ours);
                continue;
            };
            for (board, query) in ours {
                if !has_data(&scene.prometheus, &query, &values).with_context(|| query.of.clone())? {
                    still.push((board, query));
                }
            }
        }
        open = still;
    }
    Ok(())
}

/// What each variable of `board` is replaced by; `None` while one of them has no value.
fn filled(prometheus: &Prometheus, board: &Board) -> anyhow::Result<Option<Vec<(String, String)>>> {
    let mut values = Vec::new();
    for variable in board.variables()? {
        let Some(value) = chosen(&prometheus.label_values(&variable.selector, &variable.label)?, variable.multi) else {
            return Ok(None);
        };
        values.push((format!("${}", variable.name), value));
    }
    Ok(Some(values))
}

fn has_data(prometheus: &Prometheus, query: &Query, values: &[(String, String)]) -> anyhow::Result<bool> {
    let expression = query.expression.replace("$__rate_interval", RATE_INTERVAL);
    let expression = values.iter().fold(expression, |text, (name, value)| text.replace(name, value));
    let series = if query.instant { prometheus.instant(&expression)? } else { prometheus.range(&expression)? };
    Ok(series.iter().any(has_number))
}

/// What a variable is replaced by: all values as a regular expression, escaped as Grafana does, or the one that there is traffic for.
fn chosen(values: &[String], multi: bool) -> Option<String> {
    match multi {
        false => values.iter().find(|value| *value == SERVICE).cloned(),
        true if values.is_empty() => None,
        true => Some(format!("({})", values.join("|").replace('.', "\\\\."))),
    }
}

/// A sample that is a number.
fn has_number(series: &Value) -> bool {
    let several = series["values"].as_array().into_iter().flatten();
    let is_number = |sample: &Value| {
        sample[1].as_str().and_then(|text| text.parse::<f64>().ok()).is_some_and(|number| !number.is_nan())
    };
    several.chain([&series["value"]]).any(is_number)
}
