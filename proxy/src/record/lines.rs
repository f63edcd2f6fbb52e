//! A request that has ended as the access log has it: a line, a record for the collector, or both.
//!
//! Beside the spans. It is made only if it is wanted, and handed over without waiting.

use super::entry::{End, Record, Spanned};
use super::logs;
use crate::access::{self, Line};
use crate::observe::Access;
use crate::request::RequestView;
use std::cell::RefCell;
use std::time::Instant;

thread_local! {
    /// Each worker writes its lines in the same place.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn tell(
    (record, span): (&Record, Option<&Spanned>),
    access: &Access,
    request: &impl RequestView,
    end: &End<'_>,
    now: Instant,
) {
    let watch = &record.watch;
    let decisive = record.decisive().map(|tried| &tried.upstream);
    let expected = decisive.and_then(|upstream| upstream.expected_as_text());
    let line = Line {
        time: record.wall,
        direction: watch.direction.word(),
        service: &watch.service,
        route: end.route,
        endpoint: decisive.map_or("", |upstream| &upstream.endpoint.id),
        method: request.method(),
        host: request.host(),
        path: request.path(),
        version: watch.version,
        status: end.status,
        grpc: end.grpc,
        reason: end.reason,
        took: now.saturating_duration_since(record.begun),
        attempts: record.tries.len() as u64,
        peer: watch.peer.as_deref().or(expected).unwrap_or(""),
        client: watch.client,
        trace: span.map(|span| span.trace),
    };
    if !access::wanted(&access.log, &line, fastrand::f64) {
        return;
    }
    if let Some((lines, format)) = &access.lines {
        LINE.with_borrow_mut(|text| {
            text.clear();
            access::write(&line, *format, text);
            lines.send(text);
        });
    }
    if let Some(records) = &access.records {
        records.send(logs::record(&line, span, end.is_error()));
    }
}
