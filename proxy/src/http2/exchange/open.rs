//! The request as an endpoint gets it, on a connection that the endpoint's requests share.
//!
//! One try's part of `exchange`. Each try is told its own span and the time that is left by then.

use super::Exchange;
use crate::cluster::Upstream;
use crate::deadline::GRPC_TIMEOUT;
use crate::error::Failure;
use crate::plan::Story;
use crate::pool::Place;
use bytes::Bytes;
use h2::SendStream;
use h2::client::ResponseFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version};

impl<S: Story> Exchange<'_, S> {
    /// Starts the request on a connection that the endpoint's requests share.
    pub(super) async fn open(
        &self,
        upstream: &Upstream,
        empty: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>, Place), Failure> {
        let port = self.plan.port_of(upstream);
        let (mut sender, place) = upstream.http2(port, self.plan.connect_timeout()).await?;
        let mut request = self.request();
        self.say_trace(request.headers_mut());
        if let Some(left) = self.plan.grpc_timeout().and_then(|left| HeaderValue::try_from(left).ok()) {
            request.headers_mut().insert(GRPC_TIMEOUT, left);
        }
        match sender.send_request(request, empty) {
            Ok((response, stream)) => Ok((response, stream, place)),
            Err(error) => {
                upstream.discard(port, &place).await;
                // Nothing has been written: the connection had ended before.
                tracing::debug!(%error, "shared connection refused a stream");
                Err(Failure::RefusedStream)
            }
        }
    }

    /// Tells the endpoint which trace its part of the request belongs to.
    fn say_trace(&self, headers: &mut HeaderMap) {
        let Some(trace) = self.plan.observed.outgoing() else { return };
        for name in trace.replaced() {
            headers.remove(name);
        }
        trace.write(|name, value| {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        });
    }

    /// The request's head for an endpoint.
    pub(super) fn request(&self) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = self.head.method.clone();
        *request.uri_mut() = self.head.uri.clone();
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.head.headers.clone();
        if let Some(protocol) = self.head.extensions.get::<h2::ext::Protocol>() {
            request.extensions_mut().insert(protocol.clone());
        }
        request
    }
}
