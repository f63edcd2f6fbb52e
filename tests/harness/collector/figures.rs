//! Metrics and log records as the collector has them.
//!
//! Read from its JSON, where whole numbers are texts.

use serde_json::Value;
use std::collections::BTreeMap;

/// One point of a series.
#[derive(Debug, Clone)]
pub struct Point {
    pub metric: String,
    pub kind: Kind,
    pub unit: String,
    pub labels: BTreeMap<String, String>,
    /// Of who sent it.
    pub resource: BTreeMap<String, String>,
    /// Nanoseconds since the epoch.
    pub start: u64,
    pub time: u64,
    /// Of histograms: the sum.
    pub value: f64,
    /// Of histograms: each by itself, and their bounds.
    pub buckets: Vec<u64>,
    pub bounds: Vec<f64>,
    /// Of histograms: the trace of each.
    pub exemplars: Vec<String>,
}

/// What kind of metric it is a point of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Gauge,
    Sum { monotonic: bool, cumulative: bool },
    Histogram { cumulative: bool },
}

/// One record.
#[derive(Debug, Clone)]
pub struct LogRecord {
    pub body: String,
    pub severity: String,
    pub trace: String,
    pub span: String,
    pub attributes: BTreeMap<String, String>,
    pub resource: BTreeMap<String, String>,
}

pub(super) fn points(sent: &Value) -> Vec<Point> {
    let mut found = Vec::new();
    for resource in list(&sent["resourceMetrics"]) {
        let of = attributes(&resource["resource"]["attributes"]);
        for metric in list(&resource["scopeMetrics"]).flat_map(|scope| list(&scope["metrics"])) {
            let Some((kind, data)) = kind(metric) else { continue };
            found.extend(list(&data["dataPoints"]).map(|point| read(metric, kind, point, &of)));
        }
    }
    found
}

fn kind(metric: &Value) -> Option<(Kind, &Value)> {
    let cumulative = |data: &Value| data["aggregationTemporality"] == 2;
    if let Some(data) = metric.get("gauge") {
        return Some((Kind::Gauge, data));
    }
    if let Some(data) = metric.get("sum") {
        let monotonic = data["isMonotonic"] == true;
        return Some((Kind::Sum { monotonic, cumulative: cumulative(data) }, data));
    }
    let data = metric.get("histogram")?;
    Some((Kind::Histogram { cumulative: cumulative(data) }, data))
}

fn read(metric: &Value, kind: Kind, point: &Value, resource: &BTreeMap<String, String>) -> Point {
    let value = ["asInt", "asDouble", "sum"].iter().find_map(|name| number(&point[*name]));
    Point {
        metric: text(&metric["name"]),
        kind,
        unit: text(&metric["unit"]),
        labels: attributes(&point["attributes"]),
        resource: resource.clone(),
        start: whole(&point["startTimeUnixNano"]),
        time: whole(&point["timeUnixNano"]),
        value: value.unwrap_or_default(),
        buckets: list(&point["bucketCounts"]).map(whole).collect(),
        bounds: list(&point["explicitBounds"]).filter_map(number).collect(),
        exemplars: list(&point["exemplars"]).map(|exemplar| text(&exemplar["traceId"])).collect(),
    }
}

pub(super) fn records(sent: &Value) -> Vec<LogRecord> {
    let mut found = Vec::new();
    for resource in list(&sent["resourceLogs"]) {
        let of = attributes(&resource["resource"]["attributes"]);
        for record in list(&resource["scopeLogs"]).flat_map(|scope| list(&scope["logRecords"])) {
            found.push(LogRecord {
                body: text(&record["body"]["stringValue"]),
                severity: text(&record["severityText"]),
                trace: text(&record["traceId"]),
                span: text(&record["spanId"]),
                attributes: attributes(&record["attributes"]),
                resource: of.clone(),
            });
        }
    }
    found
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn whole(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default()
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(super) fn attributes(value: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| {
        let value = value.as_object().and_then(|one| one.values().next())?;
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    list(value).filter_map(|pair| Some((pair["key"].as_str()?.to_owned(), text(&pair["value"])?))).collect()
}
