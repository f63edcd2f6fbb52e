//! One request as a line of the access log: whether it is wanted, and how it reads.
//!
//! Pure, and without an allocation of its own, for there may be one for every request. Whatever a client puts into its request, a
//! line stays a line: control characters are escaped in both shapes, and texts are cut. Query strings are left out, for they hold
//! what is secret.

use crate::config::{AccessLog, Filter, Number, Test, Text};
use std::cell::RefCell;
use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};
use weft_telemetry::logs::Format;

/// The longest text that a client chooses, bytes.
const MOST_TEXT: usize = 1024;

thread_local! {
    /// The last second since the epoch that was written, and its text up to the fraction: most lines are of the same one.
    static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

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
    pub client: Option<IpAddr>,
    pub trace: Option<u128>,
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

/// One value as it is written.
#[derive(Clone, Copy)]
enum Value<'a> {
    Text(&'a str),
    Number(u64),
    Seconds(Duration),
    Time(SystemTime),
    Address(IpAddr),
    Trace(u128),
}

/// Calls `each` for every field in the order in which they are written.
fn fields<'a>(line: &Line<'a>, each: &mut impl FnMut(&'static str, Value<'a>)) {
    let some = |text: &'a str| (!text.is_empty()).then_some(Value::Text(text));
    let all = [
        ("time", Some(Value::Time(line.time))),
        ("direction", Some(Value::Text(line.direction))),
        ("service", Some(Value::Text(line.service))),
        ("route", some(line.route)),
        ("endpoint", some(line.endpoint)),
        ("method", Some(Value::Text(cut(line.method)))),
        ("host", Some(Value::Text(cut(line.host)))),
        ("path", Some(Value::Text(cut(line.path)))),
        ("version", Some(Value::Text(line.version))),
        ("status", Some(Value::Number(line.status.into()))),
        ("grpc", line.grpc.map(|code| Value::Number(code.into()))),
        ("reason", some(line.reason)),
        ("duration_seconds", Some(Value::Seconds(line.took))),
        ("attempts", Some(Value::Number(line.attempts))),
        ("peer", some(line.peer)),
        ("client", line.client.map(Value::Address)),
        ("trace_id", line.trace.map(Value::Trace)),
    ];
    all.into_iter().for_each(|(key, value)| {
        if let Some(value) = value {
            each(key, value);
        }
    });
}

/// Adds the line with its end to `out`.
pub fn write(line: &Line<'_>, format: Format, out: &mut Vec<u8>) {
    match format {
        Format::Json => {
            let mut before = b'{';
            fields(line, &mut |key, value| {
                out.extend_from_slice(&[before, b'"']);
                out.extend_from_slice(key.as_bytes());
                out.extend_from_slice(b"\":");
                json(value, out);
                before = b',';
            });
            out.push(b'}');
        }
        // `key=value key="other value"`
        Format::Text => {
            let begin = out.len();
            fields(line, &mut |key, value| {
                if out.len() > begin {
                    out.push(b' ');
                }
                out.extend_from_slice(key.as_bytes());
                out.push(b'=');
                match value {
                    Value::Text(word) if !is_bare(word) => json(value, out),
                    value => bare(value, out),
                }
            });
        }
    }
    out.push(b'\n');
}

fn json(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => quoted(text, out),
        Value::Number(_) | Value::Seconds(_) => bare(value, out),
        Value::Time(_) | Value::Address(_) | Value::Trace(_) => {
            out.push(b'"');
            bare(value, out);
            out.push(b'"');
        }
    }
}

fn bare(value: Value<'_>, out: &mut Vec<u8>) {
    let written = match value {
        Value::Text(text) => out.write_all(text.as_bytes()),
        Value::Number(number) => out.write_all(itoa::Buffer::new().format(number).as_bytes()),
        // A float as JSON has it.
        Value::Seconds(span) => serde_json::to_writer(&mut *out, &span.as_secs_f64()).map_err(Into::into),
        Value::Time(time) => moment(time, out),
        Value::Address(address) => write!(out, "{address}"),
        Value::Trace(trace) => write!(out, "{trace:032x}"),
    };
    written.expect("a Vec takes everything, and a Duration is a finite number");
}

/// As RFC 3339 has it, with microseconds.
fn moment(time: SystemTime, out: &mut Vec<u8>) -> std::io::Result<()> {
    // Nobody's clock is before 1970.
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != since.as_secs() {
            *second = since.as_secs();
            *text = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since).to_string();
            text.pop();
        }
        out.extend_from_slice(text.as_bytes());
    });
    write!(out, ".{:06}Z", since.subsec_micros())
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MOST_TEXT)]
}

fn is_bare(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '\\' | '='))
}

/// As JSON quotes it, whose escapes everybody knows.
fn quoted(text: &str, out: &mut Vec<u8>) {
    // Nearly every text is written as it is. All of its bytes are looked at, whatever is found, so that many are at once.
    let odd = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (byte == 0x7f) | (byte == 0xc2);
    if !text.bytes().fold(false, |found, byte| found | odd(byte)) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    let begin = out.len();
    serde_json::to_writer(&mut *out, text).expect("a Vec takes everything, and text is always JSON");
    // JSON leaves DEL and the controls of C1 as they are, which terminals obey. Both have one of two bytes, which are seldom: what
    // was written is only read as characters where there is one.
    if memchr::memchr2(0x7f, 0xc2, &out[begin..]).is_some() {
        let plain = String::from_utf8_lossy(&out[begin..]).into_owned();
        out.truncate(begin);
        for c in plain.chars() {
            let written = match c.is_control() {
                true => write!(out, "\\u{:04x}", u32::from(c)),
                false => write!(out, "{c}"),
            };
            written.expect("a Vec takes everything");
        }
    }
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
            client: None,
            trace: None,
        }
    }

    fn written(line: &Line<'_>, format: Format) -> String {
        let mut out = b"before ".to_vec();
        write(line, format, &mut out);
        String::from_utf8(out).unwrap().split_off("before ".len())
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

    #[test]
    fn a_time_is_that_of_its_line_whatever_was_written_before() {
        let at = |micros| {
            let mut out = vec![];
            moment(SystemTime::UNIX_EPOCH + Duration::from_micros(micros), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        for (micros, text) in [
            (1_795_344_000_000_000, "2026-11-22T10:40:00.000000Z"),
            (1_795_344_000_000_001, "2026-11-22T10:40:00.000001Z"),
            (1_795_344_001_999_999, "2026-11-22T10:40:01.999999Z"),
            (1_795_344_000_123_456, "2026-11-22T10:40:00.123456Z"),
            (0, "1970-01-01T00:00:00.000000Z"),
        ] {
            assert_eq!(at(micros), text);
        }
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let all = Line {
            grpc: Some(14),
            reason: "connect",
            peer: "spiffe://weft.local/ns/shop/sa/web",
            client: Some("10.0.0.7".parse().unwrap()),
            trace: Some(0xab),
            ..line("/a", 200)
        };
        let json = written(&all, Format::Json);
        let expected = "{\"time\":\"1970-01-01T00:00:01.500000Z\",\"direction\":\"outbound\",\"service\":\"cart.shop\",\
                        \"endpoint\":\"cart-0\",\"method\":\"GET\",\"host\":\"cart\",\"path\":\"/a\",\"version\":\"1.1\",\
                        \"status\":200,\"grpc\":14,\"reason\":\"connect\",\"duration_seconds\":0.012,\"attempts\":1,\
                        \"peer\":\"spiffe://weft.local/ns/shop/sa/web\",\"client\":\"10.0.0.7\",\
                        \"trace_id\":\"000000000000000000000000000000ab\"}\n";
        assert_eq!(json, expected);
        let text = written(&all, Format::Text);
        assert!(text.ends_with("client=10.0.0.7 trace_id=000000000000000000000000000000ab\n"), "{text}");
        let plain = written(&line("/a", 200), Format::Json);
        for left_out in ["grpc", "reason", "peer", "client", "trace_id", "route"] {
            assert!(!plain.contains(left_out), "{plain}");
        }
    }
}
