//! One request as a line of the access log: whether it is wanted, and how it reads.
//!
//! Pure. Whatever a client puts into its request, a line stays a line: control characters are escaped in both shapes, and texts
//! are cut. Query strings are left out, for they hold what is secret.

use crate::config::{AccessLog, Filter, Number, Test, Text};
use serde::Serialize;
use std::time::{Duration, SystemTime};
use weft_telemetry::logs::Format;

/// The longest text that a client chooses, bytes.
const MOST_TEXT: usize = 1024;

/// What is said of one request. Words that are empty are left out.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// When it came.
    pub time: SystemTime,
    pub direction: &'a str,
    pub service: &'a str,
    pub route: &'a str,
    pub endpoint: &'a str,
    pub method: &'a str,
    pub host: &'a str,
    pub path: &'a str,
    pub version: &'a str,
    pub status: u16,
    pub grpc: Option<u16>,
    pub reason: &'a str,
    pub took: Duration,
    pub attempts: u64,
    pub peer: &'a str,
    pub client: &'a str,
    pub trace: &'a str,
}

/// Whether `line` belongs into `log`; `coin` is thrown between 0 and 1.
pub fn wanted(log: &AccessLog, line: &Line<'_>, coin: impl FnOnce() -> f64) -> bool {
    log.filter.as_ref().is_none_or(|filter| passes(filter, line)) && (log.sample >= 1.0 || coin() < log.sample)
}

fn passes(filter: &Filter, line: &Line<'_>) -> bool {
    filter.0.iter().any(|tests| tests.iter().all(|test| holds(test, line)))
}

fn holds(test: &Test, line: &Line<'_>) -> bool {
    match test {
        Test::Took { compare, value } => compare.holds(&line.took, value),
        Test::Number { field, compare, value } => {
            let number = match field {
                Number::Status => Some(u64::from(line.status)),
                Number::Grpc => line.grpc.map(u64::from),
                Number::Attempts => Some(line.attempts),
            };
            number.is_some_and(|number| compare.holds(&number, value))
        }
        Test::Text { field, equal, value } => {
            let text = match field {
                Text::Direction => line.direction,
                Text::Service => line.service,
                Text::Route => line.route,
                Text::Endpoint => line.endpoint,
                Text::Method => line.method,
                Text::Path => line.path,
                Text::Reason => line.reason,
                Text::Peer => line.peer,
            };
            (text == value) == *equal
        }
    }
}

/// The fields as they are written.
#[derive(Serialize)]
struct Fields<'a> {
    time: String,
    direction: &'a str,
    service: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    route: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    endpoint: &'a str,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    version: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc: Option<u16>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    duration_seconds: f64,
    attempts: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    peer: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    client: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    trace_id: &'a str,
}

/// The line with its end.
pub fn written(line: &Line<'_>, format: Format) -> String {
    let fields = Fields {
        time: humantime::format_rfc3339_micros(line.time).to_string(),
        direction: line.direction,
        service: line.service,
        route: line.route,
        endpoint: line.endpoint,
        method: cut(line.method),
        host: cut(line.host),
        path: cut(line.path),
        version: line.version,
        status: line.status,
        grpc: line.grpc,
        reason: line.reason,
        duration_seconds: line.took.as_secs_f64(),
        attempts: line.attempts,
        peer: line.peer,
        client: line.client,
        trace_id: line.trace,
    };
    let mut text = match format {
        // Strings and numbers: always JSON.
        Format::Json => escaped(serde_json::to_string(&fields).unwrap_or_default()),
        Format::Text => as_text(&fields),
    };
    text.push('\n');
    text
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MOST_TEXT)]
}

/// `key=value key="other value"`, in the order of JSON.
fn as_text(fields: &Fields<'_>) -> String {
    let Ok(serde_json::Value::Object(object)) = serde_json::to_value(fields) else { return String::new() };
    let mut text = String::with_capacity(256);
    for key in ORDER {
        let Some(value) = object.get(key) else { continue };
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(key);
        text.push('=');
        match value {
            serde_json::Value::String(word) if is_bare(word) => text.push_str(word),
            // JSON's own quotation, whose escapes everybody knows.
            other => text.push_str(&escaped(other.to_string())),
        }
    }
    text
}

const ORDER: [&str; 17] = [
    "time",
    "direction",
    "service",
    "route",
    "endpoint",
    "method",
    "host",
    "path",
    "version",
    "status",
    "grpc",
    "reason",
    "duration_seconds",
    "attempts",
    "peer",
    "client",
    "trace_id",
];

fn is_bare(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '\\' | '='))
}

/// JSON leaves DEL and the controls of C1 as they are, which terminals obey.
fn escaped(json: String) -> String {
    // Both have one of two bytes, which are seldom: the text is only read as characters where there is one.
    if !json.bytes().any(|byte| matches!(byte, 0x7f | 0xc2)) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match c.is_control() {
            true => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<'a>(path: &'a str, status: u16) -> Line<'a> {
        Line {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_500),
            direction: "outbound",
            service: "cart.shop",
            route: "",
            endpoint: "cart-0",
            method: "GET",
            host: "cart",
            path,
            version: "1.1",
            status,
            grpc: None,
            reason: "",
            took: Duration::from_millis(12),
            attempts: 1,
            peer: "",
            client: "",
            trace: "",
        }
    }

    fn log(filter: &str, sample: f64) -> AccessLog {
        AccessLog { format: Some(Format::Text), records: None, sample, filter: Some(Filter::parse(filter).unwrap()) }
    }

    #[test]
    fn filter_and_sample_decide() {
        let (fine, bad) = (line("/a", 200), line("/a", 503));
        for (filter, of_fine, of_bad) in [
            ("status >= 500", false, true),
            ("status < 500 and path == /a", true, false),
            ("status == 503 or duration >= 12ms", true, true),
            ("duration > 12ms", false, false),
            ("grpc == 0", false, false),
            ("service != cart.shop or attempts <= 1", true, true),
        ] {
            assert_eq!(wanted(&log(filter, 1.0), &fine, || 0.0), of_fine, "{filter}");
            assert_eq!(wanted(&log(filter, 1.0), &bad, || 0.0), of_bad, "{filter}");
        }
        assert!(wanted(&log("status > 1", 0.5), &fine, || 0.4) && !wanted(&log("status > 1", 0.5), &fine, || 0.6));
    }

    #[test]
    fn a_line_stays_a_line_whatever_a_client_sends() {
        let evil = "/a\r\nforged=1 \u{1b}[2J\u{9b}\"q\\";
        let text = written(&line(evil, 200), Format::Text);
        let expected = "time=1970-01-01T00:00:01.500000Z direction=outbound service=cart.shop endpoint=cart-0 method=GET \
                        host=cart path=\"/a\\r\\nforged=1 \\u001b[2J\\u009b\\\"q\\\\\" version=1.1 status=200 \
                        duration_seconds=0.012 attempts=1\n";
        assert_eq!(text, expected);
        let json = written(&line(evil, 200), Format::Json);
        assert!(json.lines().count() == 1 && !json.trim_end().contains(char::is_control), "{json:?}");
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&read["path"], &read["status"]), (&evil.into(), &200.into()));
        assert!(written(&line(&"ä".repeat(10_000), 200), Format::Json).len() < 2_000);
    }
}
