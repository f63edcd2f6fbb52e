//! A line as it is written, in JSON or as `key=value`.
//!
//! Whatever a client puts into its request, a line stays a line: control characters are escaped in both shapes, and texts are cut.
//! Nothing is written through `fmt` that most lines have: it would take as long as the rest of the request's observation.

use super::Line;
use crate::hex;
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

/// Adds the line with its end to `out`.
pub fn write(line: &Line<'_>, format: Format, out: &mut Vec<u8>) {
    match format {
        Format::Json => {
            fields(line, &mut Json(out));
            out.push(b'}');
        }
        Format::Text => fields(line, &mut Bare(out)),
    }
    out.push(b'\n');
}

/// A field's name in both shapes, with what stands before its value.
struct Key {
    json: &'static str,
    bare: &'static str,
}

/// `first` for the one that the line begins with.
macro_rules! key {
    (first $name:literal) => {
        &Key { json: concat!("{\"", $name, "\":"), bare: concat!($name, "=") }
    };
    ($name:literal) => {
        &Key { json: concat!(",\"", $name, "\":"), bare: concat!(" ", $name, "=") }
    };
}

/// One of the shapes.
trait Shape {
    /// Any text.
    fn text(&mut self, key: &Key, text: &str);
    /// A number as it is written everywhere.
    fn number(&mut self, key: &Key, write: impl FnOnce(&mut Vec<u8>));
    /// A text that has nothing to escape.
    fn word(&mut self, key: &Key, write: impl FnOnce(&mut Vec<u8>));
}

/// All fields in the order in which they are written.
fn fields(line: &Line<'_>, to: &mut impl Shape) {
    to.word(key!(first "time"), |out| moment(line.time, out));
    to.word(key!("direction"), |out| out.extend_from_slice(line.direction.as_bytes()));
    to.text(key!("service"), line.service);
    if !line.route.is_empty() {
        to.text(key!("route"), line.route);
    }
    if !line.endpoint.is_empty() {
        to.text(key!("endpoint"), line.endpoint);
    }
    to.text(key!("method"), cut(line.method));
    to.text(key!("host"), cut(line.host));
    to.text(key!("path"), cut(line.path));
    to.word(key!("version"), |out| out.extend_from_slice(line.version.as_bytes()));
    to.number(key!("status"), |out| number(line.status.into(), out));
    if let Some(grpc) = line.grpc {
        to.number(key!("grpc"), |out| number(grpc.into(), out));
    }
    if !line.reason.is_empty() {
        to.text(key!("reason"), line.reason);
    }
    to.number(key!("duration_seconds"), |out| seconds(line.took, out));
    to.number(key!("attempts"), |out| number(line.attempts, out));
    if !line.peer.is_empty() {
        to.text(key!("peer"), line.peer);
    }
    if let Some(client) = line.client {
        to.word(key!("client"), |out| address(client, out));
    }
    if let Some(trace) = line.trace {
        to.word(key!("trace_id"), |out| out.extend_from_slice(&hex::wide_digits(trace)));
    }
}

struct Json<'a>(&'a mut Vec<u8>);

impl Shape for Json<'_> {
    fn text(&mut self, key: &Key, text: &str) {
        self.0.extend_from_slice(key.json.as_bytes());
        quoted(text, self.0);
    }

    fn number(&mut self, key: &Key, write: impl FnOnce(&mut Vec<u8>)) {
        self.0.extend_from_slice(key.json.as_bytes());
        write(self.0);
    }

    fn word(&mut self, key: &Key, write: impl FnOnce(&mut Vec<u8>)) {
        self.0.extend_from_slice(key.json.as_bytes());
        self.0.push(b'"');
        write(self.0);
        self.0.push(b'"');
    }
}

/// `key=value key="other value"`
struct Bare<'a>(&'a mut Vec<u8>);

impl Shape for Bare<'_> {
    fn text(&mut self, key: &Key, text: &str) {
        self.0.extend_from_slice(key.bare.as_bytes());
        match is_bare(text) {
            true => self.0.extend_from_slice(text.as_bytes()),
            false => quoted(text, self.0),
        }
    }

    fn number(&mut self, key: &Key, write: impl FnOnce(&mut Vec<u8>)) {
        self.0.extend_from_slice(key.bare.as_bytes());
        write(self.0);
    }

    fn word(&mut self, key: &Key, write: impl FnOnce(&mut Vec<u8>)) {
        self.number(key, write);
    }
}

fn number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A decimal number, exactly: JSON's readers make the float of it.
fn seconds(span: Duration, out: &mut Vec<u8>) {
    number(span.as_secs(), out);
    out.push(b'.');
    let fraction: [u8; 9] = decimal(span.subsec_nanos());
    let end = fraction.iter().rposition(|digit| *digit != b'0').unwrap_or(0);
    out.extend_from_slice(&fraction[..=end]);
}

/// The last digits of `number`, with zeros before them.
fn decimal<const N: usize>(mut number: u32) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    digits
}

/// As RFC 3339 has it, with microseconds.
fn moment(time: SystemTime, out: &mut Vec<u8>) {
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
    out.push(b'.');
    out.extend_from_slice(&decimal::<6>(since.subsec_micros()));
    out.push(b'Z');
}

fn address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            for (n, octet) in address.octets().into_iter().enumerate() {
                if n > 0 {
                    out.push(b'.');
                }
                number(octet.into(), out);
            }
        }
        IpAddr::V6(address) => write!(out, "{address}").expect("a Vec takes everything"),
    }
}

/// Bytes that a quoted text may not have, or that may begin a character that it may not have: a control of C1.
const ODD: [bool; 256] = {
    let mut odd = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        odd[byte] = true;
        byte += 1;
    }
    (odd[b'"' as usize], odd[b'\\' as usize], odd[0x7f], odd[0xc2]) = (true, true, true, true);
    odd
};

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MOST_TEXT)]
}

fn is_bare(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '\\' | '='))
}

/// As JSON quotes it, whose escapes everybody knows.
fn quoted(text: &str, out: &mut Vec<u8>) {
    // Nearly every text is written as it is.
    if !text.bytes().any(|byte| ODD[usize::from(byte)]) {
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

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = vec![];
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_time_is_that_of_its_line_whatever_was_written_before() {
        let at = |micros| written(|out| moment(SystemTime::UNIX_EPOCH + Duration::from_micros(micros), out));
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
    fn seconds_are_exact() {
        for (nanos, text) in [
            (0, "0.0"),
            (1, "0.000000001"),
            (12_000_000, "0.012"),
            (100_000_000, "0.1"),
            (999_999_999, "0.999999999"),
            (61_000_000_000, "61.0"),
            (61_000_120_000, "61.00012"),
        ] {
            assert_eq!(written(|out| seconds(Duration::from_nanos(nanos), out)), text);
        }
    }

    #[test]
    fn addresses_are_written_as_everybody_does() {
        for text in ["0.0.0.0", "10.0.20.255", "::1", "fd00::a:0:0:1"] {
            assert_eq!(written(|out| address(text.parse().unwrap(), out)), text);
        }
    }
}
