//! A request that has ended as OpenTelemetry has it: a span of its own, and one for each try.
//!
//! Names and attributes are those of the semantic conventions for HTTP and RPC; what they have no name for begins with `weft.`.
//! Query strings are left out, for they hold what is secret; texts that a client chooses are cut.

use super::entry::{End, LOST, Outcome, Record, Spanned, Try};
use crate::drain::Direction;
use crate::observe::Tracer;
use crate::request::RequestView;
use crate::trace;
use std::borrow::Cow;
use std::time::Instant;
use weft_telemetry::traces::semantic as names;
use weft_telemetry::traces::{
    KeyValue, SpanContext, SpanData, SpanEvents, SpanId, SpanKind, SpanLinks, Status, TraceFlags, TraceId, TraceState,
};

/// The longest text of an attribute, bytes.
const MOST_TEXT: usize = 1024;

/// The methods that the semantic conventions know; any other is `_OTHER`, so that clients make no names.
const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"];

/// The status codes of gRPC by number.
pub(super) const GRPC: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Hands over the spans of `record`: the request's own, then one for each try.
pub(super) fn each(
    record: &Record,
    spanned: &Spanned,
    tracer: &Tracer,
    request: &impl RequestView,
    end: &End<'_>,
    now: Instant,
) {
    let state = trace::state(request).and_then(|state| state.parse().ok()).unwrap_or(TraceState::NONE);
    let inbound = record.watch.direction == Direction::Inbound;
    let kind = if inbound { SpanKind::Server } else { SpanKind::Client };
    let made = |id: u64, parent: Option<u64>, kind: SpanKind, begun: Instant, ended: Instant| SpanData {
        span_context: SpanContext::new(
            TraceId::from(spanned.trace),
            SpanId::from(id),
            TraceFlags::SAMPLED,
            false,
            state.clone(),
        ),
        parent_span_id: parent.map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: id == spanned.own && parent.is_some(),
        span_kind: kind,
        name: name(request, end),
        start_time: record.at(begun),
        end_time: record.at(ended),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: tracer.scope.clone(),
    };
    let own = made(spanned.own, spanned.parent, kind, record.begun, now);
    let attributes = of_request(record, request, end);
    tracer.spans.send(SpanData { attributes, status: status(end, inbound), ..own });
    for (n, tried) in record.tries.iter().enumerate() {
        let span = made(tried.span, Some(spanned.own), SpanKind::Client, tried.begun, tried.ended);
        let status = match tried.outcome {
            Outcome::Failed(LOST) => Status::Unset,
            Outcome::Failed(reason) => Status::Error { description: reason.into() },
            Outcome::Answered | Outcome::UnderWay => status(end, false),
        };
        tracer.spans.send(SpanData { attributes: of_try(record, tried, n, request, end), status, ..span });
    }
}

/// `{method}` of HTTP, `{service}/{method}` of gRPC.
fn name(request: &impl RequestView, end: &End<'_>) -> Cow<'static, str> {
    match end.grpc {
        Some(_) => cut(request.path().trim_start_matches('/')).into(),
        None => method(request).map_or("HTTP", |method| method).into(),
    }
}

fn method(request: &impl RequestView) -> Option<&'static str> {
    METHODS.into_iter().find(|known| *known == request.method())
}

/// A client's text, short enough for an attribute.
pub(super) fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MOST_TEXT)].to_owned()
}

fn status(end: &End<'_>, inbound: bool) -> Status {
    let grpc = end.grpc.is_some_and(|status| status != 0 && (!inbound || end.is_error()));
    let http = end.grpc.is_none() && end.status >= if inbound { 500 } else { 400 };
    match grpc || http || !end.reason.is_empty() {
        true => Status::Error { description: end.reason.into() },
        false => Status::Unset,
    }
}

/// What is true of the request as a whole.
fn of_request(record: &Record, request: &impl RequestView, end: &End<'_>) -> Vec<KeyValue> {
    let watch = &record.watch;
    let mut all = common(record, request, end);
    if watch.direction == Direction::Inbound {
        if let Some(client) = watch.client {
            all.push(KeyValue::new(names::CLIENT_ADDRESS, client.to_string()));
        }
        if let Some(peer) = &watch.peer {
            all.push(KeyValue::new("weft.peer.identity", peer.clone()));
        }
        request.headers("user-agent", &mut |agent| {
            all.push(KeyValue::new(names::USER_AGENT_ORIGINAL, cut(&String::from_utf8_lossy(agent))));
            true
        });
    }
    if let Some(tried) = record.decisive() {
        all.push(KeyValue::new("weft.endpoint", tried.upstream.endpoint.id.clone()));
    }
    outcome(&mut all, end.status, end.grpc, end.reason, watch.direction == Direction::Inbound);
    all
}

fn of_try(record: &Record, tried: &Try, n: usize, request: &impl RequestView, end: &End<'_>) -> Vec<KeyValue> {
    let mut all = common(record, request, end);
    let endpoint = &tried.upstream.endpoint;
    all.push(KeyValue::new("weft.endpoint", endpoint.id.clone()));
    all.push(KeyValue::new("weft.attempt", n as i64 + 1));
    if n > 0 {
        all.push(KeyValue::new(names::HTTP_REQUEST_RESEND_COUNT, n as i64));
    }
    if let Some(address) = endpoint.addresses.first() {
        all.push(KeyValue::new(names::NETWORK_PEER_ADDRESS, address.to_string()));
        all.push(KeyValue::new(names::NETWORK_PEER_PORT, i64::from(tried.port)));
    }
    if let Some(peer) = tried.upstream.expected() {
        all.push(KeyValue::new("weft.peer.identity", peer.to_string()));
    }
    match (tried.outcome, tried.status) {
        (Outcome::Answered | Outcome::UnderWay, _) => outcome(&mut all, end.status, end.grpc, end.reason, false),
        (Outcome::Failed(LOST), _) => all.push(KeyValue::new("weft.reason", LOST)),
        (Outcome::Failed(reason), Some(status)) => {
            // UNAVAILABLE and RESOURCE_EXHAUSTED have been taken for what they are in HTTP.
            let grpc = end.grpc.map(|_| if status == 429 { 8 } else { 14 });
            outcome(&mut all, status, grpc, "", false);
            all.push(KeyValue::new("weft.reason", reason));
        }
        (Outcome::Failed(reason), None) => {
            all.push(KeyValue::new(names::ERROR_TYPE, reason));
            all.push(KeyValue::new("weft.reason", reason));
        }
    }
    all
}

fn common(record: &Record, request: &impl RequestView, end: &End<'_>) -> Vec<KeyValue> {
    let watch = &record.watch;
    let mut all = Vec::with_capacity(20);
    let host = cut(request.host());
    if end.grpc.is_some() {
        all.push(KeyValue::new(names::RPC_SYSTEM_NAME, "grpc"));
        all.push(KeyValue::new(names::RPC_METHOD, cut(request.path().trim_start_matches('/'))));
    } else {
        all.push(KeyValue::new(names::HTTP_REQUEST_METHOD, method(request).unwrap_or("_OTHER")));
        if method(request).is_none() {
            all.push(KeyValue::new(names::HTTP_REQUEST_METHOD_ORIGINAL, cut(request.method())));
        }
        if watch.direction == Direction::Inbound {
            all.push(KeyValue::new(names::URL_SCHEME, "http"));
            all.push(KeyValue::new(names::URL_PATH, cut(request.path())));
        } else {
            all.push(KeyValue::new(names::URL_FULL, cut(&format!("http://{host}{}", request.path()))));
        }
    }
    all.push(KeyValue::new(names::SERVER_ADDRESS, host));
    all.push(KeyValue::new(names::SERVER_PORT, i64::from(watch.port)));
    all.push(KeyValue::new(names::NETWORK_PROTOCOL_NAME, "http"));
    all.push(KeyValue::new(names::NETWORK_PROTOCOL_VERSION, watch.version));
    all.push(KeyValue::new("weft.service", watch.service.clone()));
    if !end.route.is_empty() {
        all.push(KeyValue::new("weft.route", end.route.to_owned()));
    }
    all
}

fn outcome(all: &mut Vec<KeyValue>, status: u16, grpc: Option<u16>, reason: &'static str, inbound: bool) {
    let mut error = None;
    match grpc {
        Some(code) => {
            let word = GRPC.get(usize::from(code)).copied();
            let word = word.map_or_else(|| Cow::Owned(code.to_string()), Cow::Borrowed);
            error = (code != 0).then(|| word.clone());
            all.push(KeyValue::new(names::RPC_RESPONSE_STATUS_CODE, word));
        }
        None => {
            if status >= if inbound { 500 } else { 400 } {
                error = Some(status.to_string().into());
            }
            all.push(KeyValue::new(names::HTTP_RESPONSE_STATUS_CODE, i64::from(status)));
        }
    }
    if !reason.is_empty() {
        error = Some(reason.into());
        all.push(KeyValue::new("weft.reason", reason));
    }
    if let Some(error) = error {
        all.push(KeyValue::new(names::ERROR_TYPE, error));
    }
}
