//! One request as a line of the access log: whether it is wanted, and how it reads.
//!
//! Pure, and without an allocation of its own, for there may be one for every request. Query strings are left out, for they hold
//! what is secret.

mod shape;

pub use shape::write;

use crate::config::{AccessLog, Filter, Number, Test, Text};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

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

#[cfg(test)]
mod tests {
    use super::*;
    use weft_telemetry::logs::Format;

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
