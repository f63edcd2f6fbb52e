//! A request that has ended as the access log has it: a line, a record for the collector, or both.
//!
//! Beside the spans. It is made only if it is wanted, and handed over without waiting.

use super::entry::{End, Record, Spanned};
use super::logs;
use crate::access::{self, Line};
use crate::observe::Access;
use crate::request::RequestView;
use std::time::Instant;

pub(super) fn tell(
    (record, span): (&Record, Option<&Spanned>),
    access: &Access,
    request: &impl RequestView,
    end: &End<'_>,
    now: Instant,
) {
    let watch = &record.watch;
    let trace = span.map(|span| format!("{:032x}", span.trace)).unwrap_or_default();
    let client = watch.client.map(|client| client.to_string()).unwrap_or_default();
    let expected = record.decisive().and_then(|tried| tried.upstream.expected()).map(ToString::to_string);
    let line = Line {
        time: record.wall,
        direction: watch.direction.word(),
        service: &watch.service,
        route: end.route,
        endpoint: record.decisive().map_or("", |tried| &tried.upstream.endpoint.id),
        method: request.method(),
        host: request.host(),
        path: request.path(),
        version: watch.version,
        status: end.status,
        grpc: end.grpc,
        reason: end.reason,
        took: now.saturating_duration_since(record.begun),
        attempts: record.tries.len() as u64,
        peer: watch.peer.as_deref().or(expected.as_deref()).unwrap_or(""),
        client: &client,
        trace: &trace,
    };
    if !access::wanted(&access.log, &line, fastrand::f64) {
        return;
    }
    if let Some((lines, format)) = &access.lines {
        lines.send(access::written(&line, *format));
    }
    if let Some(records) = &access.records {
        records.send(logs::record(&line, span, end.is_error()));
    }
}
