//! A request that has ended, or an opaque connection, as watchers are told of it.
//!
//! Beside the spans and lines. The event is made only for a watcher that wants it and has room for it. Texts that a client chooses
//! are cut, query strings are left out, and credentials are masked, for they hold what is secret.

use super::entry::{End, Record, Spanned, Watch};
use crate::cluster::Upstream;
use crate::config::Form;
use crate::drain::Direction;
use crate::request::RequestView;
use crate::tap::{Client, Seen};
use crate::trace;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use weft_proto::v1;

/// The longest text that a client chooses, bytes.
const MOST_TEXT: usize = 1024;
/// Header fields of one message, and all their bytes.
const MOST_FIELDS: usize = 64;
const MOST_FIELD_BYTES: usize = 6 * 1024;
/// Fields whose values give away more than a watcher is to know.
const SECRET: [&str; 4] = ["authorization", "cookie", "set-cookie", "proxy-authorization"];
const MASKED: &str = "***";

/// An opaque connection that has ended.
#[derive(Clone, Copy)]
pub struct Closed<'a> {
    pub begun: Instant,
    /// `None`: none was reached.
    pub upstream: Option<&'a Upstream>,
    pub attempts: u32,
    pub reason: &'static str,
    pub sent: u64,
    pub received: u64,
}

pub(super) fn tell(record: &Record, span: Option<&Spanned>, request: &impl RequestView, end: &End<'_>, now: Instant) {
    let watch = &record.watch;
    let seen =
        Seen { method: request.method(), path: request.path(), status: end.status, reason: end.reason, ..watch.seen() };
    watch.observer.taps.offer(&seen, now, |headers| {
        let decisive = record.decisive();
        let protocol = match (end.grpc, watch.version) {
            (Some(_), _) => "grpc",
            (None, "2") => "http/2",
            _ => "http/1.1",
        };
        let upstream = decisive.map(|tried| &*tried.upstream);
        v1::TapEvent {
            time_us: micros(record.wall.duration_since(UNIX_EPOCH).unwrap_or_default()),
            protocol: protocol.to_owned(),
            method: cut(request.method()),
            host: cut(request.host()),
            path: cut(request.path()),
            status: end.status.into(),
            grpc_status: end.grpc.map(u32::from),
            reason: end.reason.to_owned(),
            route: end.route.to_owned(),
            attempts: u32::try_from(record.tries.len()).unwrap_or(u32::MAX),
            took_us: micros(now.saturating_duration_since(record.begun)),
            sent_bytes: end.sent,
            received_bytes: end.received,
            trace_id: trace_id(span, request),
            request_headers: if headers { fields(|each| request.fields(each)) } else { Vec::new() },
            response_headers: if headers { record.answer.clone() } else { Vec::new() },
            ..watch.event(upstream)
        }
    });
}

impl Watch {
    /// An opaque connection has ended.
    pub fn closed(&self, closed: &Closed<'_>) {
        let now = Instant::now();
        let seen = Seen { reason: closed.reason, ..self.seen() };
        self.observer.taps.offer(&seen, now, |_| {
            let took = now.saturating_duration_since(closed.begun);
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            v1::TapEvent {
                time_us: micros(wall.saturating_sub(took)),
                protocol: "tcp".to_owned(),
                reason: closed.reason.to_owned(),
                attempts: closed.attempts,
                took_us: micros(took),
                sent_bytes: closed.sent,
                received_bytes: closed.received,
                ..self.event(closed.upstream)
            }
        });
    }

    /// What is the same for all requests of the connection.
    fn seen(&self) -> Seen<'_> {
        let own = self.observer.taps.own();
        let inbound = self.direction == Direction::Inbound;
        let client = match inbound {
            true => self.peer.as_deref().and_then(peer).unwrap_or_default(),
            false => Client { namespace: &own.namespace, account: &own.account, proxy: &own.proxy },
        };
        Seen { inbound, client, service: &self.service, ..Seen::default() }
    }

    /// Likewise; `upstream` is where they went.
    fn event(&self, upstream: Option<&Upstream>) -> v1::TapEvent {
        let Seen { inbound, client: Client { namespace, account, proxy }, .. } = self.seen();
        let from = match (inbound, account) {
            (false, _) => format!("{namespace}/{proxy}"),
            (true, "") => self.client.map(|client| client.to_string()).unwrap_or_default(),
            (true, _) => format!("{namespace}/{account}"),
        };
        let expected = || upstream.and_then(Upstream::expected).map(ToString::to_string);
        v1::TapEvent {
            direction: if inbound { v1::TapDirection::Inbound } else { v1::TapDirection::Outbound }.into(),
            from,
            to: self.service.clone(),
            endpoint: upstream.map(|upstream| upstream.endpoint.id.clone()).unwrap_or_default(),
            identity: self.peer.clone().or_else(expected).unwrap_or_default(),
            ..v1::TapEvent::default()
        }
    }
}

/// Namespace and service account of a SPIFFE ID.
fn peer(identity: &str) -> Option<Client<'_>> {
    let (namespace, account) = identity.split_once("/ns/")?.1.split_once("/sa/")?;
    Some(Client { namespace, account, proxy: "" })
}

/// The trace that the request belongs to, also where nothing is traced here.
fn trace_id(span: Option<&Spanned>, request: &impl RequestView) -> String {
    let forms = [Form::TraceContext, Form::B3, Form::B3Multi];
    let own = span.map(|span| span.trace);
    let trace = own.or_else(|| Some(trace::read(request, &forms).parent?.trace.get()));
    trace.map(|trace| format!("{trace:032x}")).unwrap_or_default()
}

/// The header fields that `each` goes through, as watchers may see them.
pub(super) fn fields(each: impl FnOnce(&mut dyn FnMut(&str, &[u8]))) -> Vec<v1::HeaderValue> {
    let (mut fields, mut bytes) = (Vec::new(), 0);
    each(&mut |name, value| {
        let secret = SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret));
        let value = if secret { MASKED.to_owned() } else { cut(&String::from_utf8_lossy(value)) };
        let field = v1::HeaderValue { name: cut(&name.to_ascii_lowercase()), value };
        bytes += field.name.len() + field.value.len();
        if fields.len() < MOST_FIELDS && bytes <= MOST_FIELD_BYTES {
            fields.push(field);
        }
    });
    fields
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MOST_TEXT)].to_owned()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_masked_and_what_is_long_is_cut() {
        let long = "x".repeat(5000);
        let sent: &[(&str, &str)] =
            &[("Authorization", "Bearer s3cret"), ("accept", "*/*"), ("set-cookie", "s3cret"), ("x-long", &long)];
        let shown = fields(|each| sent.iter().for_each(|(name, value)| each(name, value.as_bytes())));
        let shown: Vec<_> = shown.iter().map(|field| (&*field.name, &*field.value)).collect();
        assert_eq!(shown[..3], [("authorization", MASKED), ("accept", "*/*"), ("set-cookie", MASKED)]);
        assert_eq!((shown[3].0, shown[3].1.len()), ("x-long", MOST_TEXT));
        let many = fields(|each| (0..1000).for_each(|_| each("x-long", long.as_bytes())));
        assert!(many.iter().map(|field| field.value.len()).sum::<usize>() <= MOST_FIELD_BYTES);
        assert_eq!(fields(|each| (0..1000).for_each(|_| each("a", b""))).len(), MOST_FIELDS);
    }

    #[test]
    fn a_peer_is_a_namespace_and_an_account() {
        let known = peer("spiffe://weft.local/ns/shop/sa/cart");
        assert_eq!(known, Some(Client { namespace: "shop", account: "cart", proxy: "" }));
        assert_eq!(peer("spiffe://weft.local/cart"), None);
    }
}
