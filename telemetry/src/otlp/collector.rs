//! A collector: where it is, and requests of any signal to it, by gRPC or HTTP, in plaintext or TLS.
//!
//! Below spans, log records and metrics, which say what is sent and when. A request is tried again while its time lasts, if the
//! collector may take it later; then it is an error with the collector's own words. Nothing here is on the request path.

use super::signal::Signal;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::common::v1 as proto;
pub(super) use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::transform::common::tonic::Attributes;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::body::Body;
use tonic::metadata::MetadataMap;

/// The longest answer that is read, bytes.
const MOST_ANSWER: usize = 64 * 1024;
/// How often a connection with requests is asked whether it is alive; without an answer for as long again it is closed.
const ALIVE: Duration = Duration::from_secs(20);
/// The pause before the second try; each further one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How a collector is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    #[default]
    Grpc,
    /// Protobuf over HTTP/1.1.
    Http,
}

/// Where a collector is, and what it is told of whoever sends.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `http://host:port` or `https://host:port`, without the signal's path.
    pub endpoint: String,
    pub protocol: Protocol,
    /// Sent with every request.
    pub headers: HeaderMap,
    /// For `https`.
    pub tls: Arc<rustls::ClientConfig>,
    /// `service.name`, if it was given.
    pub service_name: Option<String>,
    /// More attributes of whoever sends.
    pub attributes: Vec<(String, String)>,
}

/// A collector, which is connected when there is something to send.
#[derive(Debug, Clone)]
pub struct Collector {
    settings: Settings,
    origin: Uri,
    client: Client<HttpsConnector<HttpConnector>, Body>,
    resource: Resource,
}

/// The collector did not take a request.
#[derive(Debug)]
struct Refused {
    reason: String,
    /// It may take it later.
    again: bool,
}

impl Settings {
    /// `own` and what the user named, which wins except for the service's name: that has a flag of its own.
    fn resource(&self, own: Vec<KeyValue>) -> Resource {
        const NAME: &str = opentelemetry_semantic_conventions::attribute::SERVICE_NAME;
        let named = self.attributes.iter().filter(|(key, _)| self.service_name.is_none() || key != NAME);
        let named = named.map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
        let name = self.service_name.clone().map(|name| KeyValue::new(NAME, name));
        let mut all: Vec<KeyValue> = Vec::new();
        for attribute in own.into_iter().chain(named).chain(name) {
            all.retain(|other| other.key != attribute.key);
            all.push(attribute);
        }
        Resource { attributes: Attributes::from(all).0, ..Resource::default() }
    }
}

impl Collector {
    /// The collector at `settings`; `own` is what the sender knows of itself. Inside a runtime.
    pub fn new(settings: &Settings, own: Vec<KeyValue>) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let mut tls = rustls::ClientConfig::clone(&settings.tls);
        let grpc = settings.protocol == Protocol::Grpc;
        tls.alpn_protocols = vec![if grpc { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .http2_only(grpc)
            // A collector that has gone without a word is found out.
            .http2_keep_alive_interval(ALIVE)
            .build(HttpsConnector::from((http, tls)));
        // What is no address was refused when the flags were read.
        let origin = settings.endpoint.parse().unwrap_or_default();
        Self { origin, client, resource: settings.resource(own), settings: settings.clone() }
    }

    /// What the collector is told of whoever sends.
    pub(crate) fn resource(&self) -> Resource {
        self.resource.clone()
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.settings.endpoint
    }

    /// Hands `request` over within `limit`, trying again where that helps; how many items of it were rejected.
    pub(crate) async fn export<S: Signal>(&self, request: S, limit: Duration) -> Result<u64, String> {
        let deadline = Instant::now() + limit;
        let mut pause = FIRST_PAUSE;
        loop {
            let refused = match timeout_at(deadline, self.once(&request)).await {
                Ok(Ok(rejected)) => return Ok(rejected),
                Ok(Err(refused)) => refused,
                Err(_) => return Err("time-out".to_owned()),
            };
            let wait = pause.mul_f64(0.5 + jitter());
            if !refused.again || Instant::now() + wait >= deadline {
                return Err(refused.reason);
            }
            sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn once<S: Signal>(&self, request: &S) -> Result<u64, Refused> {
        let answer = match self.settings.protocol {
            Protocol::Grpc => self.call(request).await?,
            Protocol::Http => self.post(request).await?,
        };
        let (rejected, reason) = S::rejected(answer);
        if rejected > 0 || !reason.is_empty() {
            tracing::debug!(collector = self.endpoint(), rejected, reason, "the collector did not take everything");
        }
        Ok(u64::try_from(rejected).unwrap_or(0))
    }

    async fn call<S: Signal>(&self, request: &S) -> Result<S::Answer, Refused> {
        use tonic::Code::{Aborted, Cancelled, DataLoss, DeadlineExceeded, OutOfRange, ResourceExhausted, Unavailable};
        let mut grpc = tonic::client::Grpc::with_origin(self.client.clone(), self.origin.clone());
        let mut message = tonic::Request::new(request.clone());
        *message.metadata_mut() = MetadataMap::from_headers(self.settings.headers.clone());
        let path = http::uri::PathAndQuery::from_static(S::METHOD);
        let unavailable = |error: &dyn std::error::Error| Refused { reason: chain(error), again: true };
        grpc.ready().await.map_err(|error| unavailable(&error))?;
        let codec = tonic_prost::ProstCodec::<S, S::Answer>::default();
        let answer = grpc.unary(message, path, codec).await.map_err(|status| {
            let later = [Aborted, Cancelled, DataLoss, DeadlineExceeded, OutOfRange, ResourceExhausted, Unavailable];
            // A connection that was never made is an unknown error to the library, with a source.
            let source = std::error::Error::source(&status);
            let again = later.contains(&status.code()) || source.is_some();
            let said = format!("{:?}: {}", status.code(), status.message());
            Refused { reason: source.map_or(said, chain), again }
        })?;
        Ok(answer.into_inner())
    }

    async fn post<S: Signal>(&self, request: &S) -> Result<S::Answer, Refused> {
        let later = |error: &dyn std::error::Error| Refused { reason: chain(error), again: true };
        let never = |error: &dyn std::error::Error| Refused { reason: chain(error), again: false };
        let body = Body::new(Full::new(Bytes::from(request.encode_to_vec())));
        let uri = format!("{}{}", self.settings.endpoint, S::PATH);
        let mut post = Request::builder().method(Method::POST).uri(uri).body(body).map_err(|error| never(&error))?;
        *post.headers_mut() = self.settings.headers.clone();
        post.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/x-protobuf"));
        let answer = self.client.request(post).await.map_err(|error| later(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MOST_ANSWER).collect().await;
        let body = body.map_err(|error| later(&*error))?.to_bytes();
        if status.is_success() {
            return S::Answer::decode(body).map_err(|error| never(&error));
        }
        let again = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        Err(Refused { reason: format!("status {status}"), again: again.contains(&status) })
    }
}

/// Between 0 and 1, so that proxies which lost the same collector do not come back together.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(()) % 1000) as f64 / 1000.0
}

/// An error and what it came of.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

/// An attribute with a text.
pub(crate) fn text(key: &str, value: impl Into<String>) -> proto::KeyValue {
    let value = proto::any_value::Value::StringValue(value.into());
    proto::KeyValue { key: key.to_owned(), value: Some(proto::AnyValue { value: Some(value) }), ..Default::default() }
}
