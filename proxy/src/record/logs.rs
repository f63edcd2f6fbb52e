//! A request that has ended as a log record of OpenTelemetry: what its line says, under the names that its spans have.
//!
//! Beside `lines`, for collectors. The body is the line as text, so that a record reads the same everywhere.

use super::entry::Spanned;
use super::spans::{GRPC, cut};
use crate::access::{self, Line};
use weft_telemetry::logs::Format;
use weft_telemetry::records::Record;
use weft_telemetry::traces::{KeyValue, semantic as names};

pub(super) fn record(line: &Line<'_>, span: Option<&Spanned>, error: bool) -> Record {
    let mut body = Vec::with_capacity(512);
    access::write(line, Format::Text, &mut body);
    let body = String::from_utf8_lossy(body.trim_ascii_end()).into_owned();
    let mut attributes = Vec::with_capacity(16);
    let mut text = |name: &'static str, value: &str| {
        if !value.is_empty() {
            attributes.push(KeyValue::new(name, cut(value)));
        }
    };
    text("weft.direction", line.direction);
    text("weft.service", line.service);
    text("weft.route", line.route);
    text("weft.endpoint", line.endpoint);
    text("weft.reason", line.reason);
    text("weft.peer.identity", line.peer);
    text(names::HTTP_REQUEST_METHOD, line.method);
    text(names::SERVER_ADDRESS, line.host);
    text(names::URL_PATH, line.path);
    text(names::NETWORK_PROTOCOL_VERSION, line.version);
    if let Some(client) = line.client {
        attributes.push(KeyValue::new(names::CLIENT_ADDRESS, client.to_string()));
    }
    attributes.push(KeyValue::new(names::HTTP_RESPONSE_STATUS_CODE, i64::from(line.status)));
    attributes.push(KeyValue::new("weft.duration", line.took.as_secs_f64()));
    if line.client.is_none() {
        attributes.push(KeyValue::new("weft.attempts", i64::try_from(line.attempts).unwrap_or(i64::MAX)));
    }
    if let Some(code) = line.grpc {
        let word = GRPC.get(usize::from(code)).map_or_else(|| code.to_string(), |word| (*word).to_owned());
        attributes.push(KeyValue::new(names::RPC_RESPONSE_STATUS_CODE, word));
    }
    Record { time: line.time, error, body, attributes, trace: span.map(|span| (span.trace, span.own)) }
}
