//! The events of a tap as they come from all replicas of discovery: for the command line, and for the page in the browser.
//!
//! Every replica taps the proxies that are connected to it. Dropping [`Live`] ends the taps. A replica that fails is named and left
//! out; only when none answers there is an error.

use crate::connect::{CallError, Discovery};
use anyhow::bail;
use futures::stream::{self, BoxStream, StreamExt as _};
use serde::Serialize;
use std::future::ready;
use std::time::{Duration, UNIX_EPOCH};
use tonic::{Code, Status, Streaming};
use weft_proto::v1;

/// How long a replica may take to say whom it taps.
const BEGIN: Duration = Duration::from_secs(10);

/// A tap that is going on.
pub struct Live {
    /// How many proxies are meant at first, with those that cannot be tapped.
    pub proxies: u32,
    /// Replicas that take no part, for people.
    pub notes: Vec<String>,
    /// Ends when every proxy's time is over, or every replica has gone.
    pub told: BoxStream<'static, Told>,
}

/// What comes of a tap.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Told {
    /// A request has ended.
    Request(Box<Event>),
    /// So many more were wanted, and are missing.
    Dropped { proxy: String, count: u64 },
    /// A proxy, or a replica, tells nothing (more), and why.
    Left { proxy: String, why: String },
}

/// One request, or one opaque connection, that has ended. What nobody knows is left out, or empty.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When it came: RFC 3339, microseconds.
    pub time: String,
    /// The proxy that tells it, `namespace/name`.
    pub proxy: String,
    /// `inbound` or `outbound`.
    pub direction: &'static str,
    /// `namespace/name` of a proxy (outbound) or a service account (inbound), or an address.
    pub from: String,
    /// `name.namespace` of the service.
    pub to: String,
    /// `http/1.1`, `http/2`, `grpc` or `tcp`.
    pub protocol: String,
    pub method: String,
    pub host: String,
    /// Without the query, which holds what is secret.
    pub path: String,
    /// None: there is none, as for opaque connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<u32>,
    /// Of the mesh; empty: it had no hand in this.
    pub reason: String,
    pub route: String,
    pub endpoint: String,
    /// Of the client's sidecar; 0 on the server's side.
    pub attempts: u32,
    pub took_seconds: f64,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    /// The other sidecar's SPIFFE ID; empty: no mTLS.
    pub identity: String,
    pub trace_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub request_headers: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub response_headers: Vec<(String, String)>,
}

/// Begins to tap.
pub async fn start(discovery: &Discovery, request: v1::TapRequest) -> anyhow::Result<Live> {
    let answers = discovery.each(async |mut admin| admin.tap(request.clone()).await).await;
    let (mut streams, mut proxies, mut notes, mut refusal) = (Vec::new(), 0, Vec::new(), None);
    for (address, answer) in answers {
        // Errors of calls name the replica themselves.
        let of = |why: &str| format!("discovery at {address}: {why}");
        let begun = match answer {
            Ok(stream) => begin(stream).await.map_err(|status| of(status.message())),
            Err(CallError::Failed { status, .. }) if status.code() == Code::Unimplemented => {
                Err(of("it is older than this weftctl and cannot tap: upgrade it"))
            }
            Err(CallError::Refused(status)) => {
                refusal = Some(status.message().to_owned());
                continue;
            }
            Err(error) => Err(error.to_string()),
        };
        match begun {
            Ok((count, stream)) => {
                proxies += count;
                streams.push(told(stream, address.to_string()).boxed());
            }
            Err(why) => notes.push(why),
        }
    }
    match refusal {
        // What one replica finds wrong, all do.
        Some(refusal) => bail!("{refusal}"),
        None if streams.is_empty() && notes.len() == 1 => bail!("{}", notes.remove(0)),
        None if streams.is_empty() => bail!("no discovery replica taps:\n  {}", notes.join("\n  ")),
        None => Ok(Live { proxies, notes, told: stream::select_all(streams).boxed() }),
    }
}

/// Reads how many proxies are tapped.
async fn begin(mut stream: Streaming<v1::TapResponse>) -> Result<(u32, Streaming<v1::TapResponse>), Status> {
    let first = tokio::time::timeout(BEGIN, stream.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("it does not begin"))??;
    let begun = first.and_then(|first| first.begun);
    begun.map(|count| (count, stream)).ok_or_else(|| Status::internal("it does not say whom it taps"))
}

fn told(stream: Streaming<v1::TapResponse>, replica: String) -> impl futures::Stream<Item = Told> + Send {
    // Behind what went wrong nothing comes that is worth reading.
    let messages = stream.scan(false, |failed, message| {
        let next = (!*failed).then_some(message);
        *failed = next.as_ref().is_none_or(Result::is_err);
        ready(next)
    });
    messages.flat_map(move |message| stream::iter(each(message, &replica)))
}

/// What one message says, in its order.
fn each(message: Result<v1::TapResponse, Status>, replica: &str) -> Vec<Told> {
    let v1::TapResponse { proxy, events, dropped, left, .. } = match message {
        Ok(message) => message,
        Err(status) => {
            let why = format!("it tells no more ({})", status.message());
            return vec![Told::Left { proxy: format!("discovery at {replica}"), why }];
        }
    };
    let mut told: Vec<Told> =
        events.into_iter().map(|event| Told::Request(Box::new(Event::of(event, &proxy)))).collect();
    if dropped > 0 {
        told.push(Told::Dropped { proxy: proxy.clone(), count: dropped });
    }
    if !left.is_empty() {
        told.push(Told::Left { proxy, why: left });
    }
    told
}

impl Event {
    fn of(event: v1::TapEvent, proxy: &str) -> Self {
        let inbound = event.direction == i32::from(v1::TapDirection::Inbound);
        let time = UNIX_EPOCH + Duration::from_micros(event.time_us);
        let fields = |fields: Vec<v1::HeaderValue>| fields.into_iter().map(|field| (field.name, field.value)).collect();
        Self {
            time: humantime::format_rfc3339_micros(time).to_string(),
            proxy: proxy.to_owned(),
            direction: if inbound { "inbound" } else { "outbound" },
            from: event.from,
            to: event.to,
            protocol: event.protocol,
            method: event.method,
            host: event.host,
            path: event.path,
            status: (event.status > 0).then_some(event.status),
            grpc_status: event.grpc_status,
            reason: event.reason,
            route: event.route,
            endpoint: event.endpoint,
            attempts: event.attempts,
            took_seconds: Duration::from_micros(event.took_us).as_secs_f64(),
            sent_bytes: event.sent_bytes,
            received_bytes: event.received_bytes,
            identity: event.identity,
            trace_id: event.trace_id,
            request_headers: fields(event.request_headers),
            response_headers: fields(event.response_headers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_told_in_its_order() {
        let event = v1::TapEvent {
            time_us: 1_500_000,
            direction: v1::TapDirection::Inbound.into(),
            took_us: 2_500,
            grpc_status: Some(0),
            ..Default::default()
        };
        let message = v1::TapResponse {
            proxy: "a/b".to_owned(),
            events: vec![event],
            dropped: 2,
            left: "gone".to_owned(),
            begun: None,
        };
        let told = each(Ok(message), "r");
        let [Told::Request(event), Told::Dropped { count: 2, .. }, Told::Left { proxy, .. }] = &told[..] else {
            panic!("{told:?}")
        };
        assert_eq!((&*event.time, event.direction, proxy.as_str()), ("1970-01-01T00:00:01.500000Z", "inbound", "a/b"));
        assert_eq!((event.took_seconds, event.status, event.grpc_status), (0.0025, None, Some(0)));
        let json = serde_json::to_value(&told[0]).unwrap();
        assert_eq!(json["request"]["grpcStatus"], 0);
        assert!(matches!(&each(Err(Status::unavailable("x")), "r")[..], [Told::Left { .. }]));
    }
}
