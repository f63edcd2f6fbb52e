//! The four calls of the `Discovery` service.
//!
//! A caller without a client certificate is refused before anything else, and a stream before its Hello is sound; what a
//! stream does from then on is written in `stream`.

use super::stream::{self, Stream, Supply};
use crate::register::Registrations;
use crate::rpc::Caller;
use crate::store::LeaseId;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use weft_model::{SpiffeId, names};
use weft_proto::v1;
use weft_proto::v1::discovery_server::Discovery;
use weft_proto::v1::subscribe_request::Body;

/// The service of one replica.
pub struct Serve {
    pub supply: Supply,
    pub registrations: Registrations,
}

/// Messages that may wait for a proxy beside those in its connection's own buffers.
const WAITING: usize = 1;

impl Serve {
    /// Reads the first message, which must come soon and be Hello.
    async fn hello(
        &self,
        from: &mut Streaming<v1::SubscribeRequest>,
        identity: &SpiffeId,
    ) -> Result<v1::Hello, Status> {
        let first = tokio::time::timeout(self.supply.settings.silence, from.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no Hello"))??;
        let Some(Body::Hello(hello)) = first.and_then(|first| first.body) else {
            return Err(Status::invalid_argument("the first message must be Hello"));
        };
        let named = |field: &str, checked: Result<String, names::NameError>| {
            checked.map_err(|e| Status::invalid_argument(format!("hello.{field}: {e}")))
        };
        named("proxy", names::subdomain(&hello.proxy))?;
        if hello.namespace != identity.namespace {
            let reason = format!("hello.namespace: {identity} may not speak for namespace {:?}", hello.namespace);
            return Err(Status::permission_denied(reason));
        }
        if hello.zone.len() > 253 || hello.version.len() > 64 {
            return Err(Status::invalid_argument("hello: zone or version is too long"));
        }
        Ok(hello)
    }
}

#[tonic::async_trait]
impl Discovery for Serve {
    type SubscribeStream = BoxStream<'static, Result<v1::SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<v1::SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let caller = Caller::of(&request);
        let identity = caller.clone().identity()?;
        if self.supply.shutdown.is_cancelled() {
            return Err(stream::shutting_down());
        }
        let mut from = request.into_inner();
        let hello = self.hello(&mut from, &identity).await?;
        if hello.newcomer && !self.supply.registry.counters().connected() {
            // It may have been registered since: it would go by the rules of a workload that is of no service.
            tracing::info!(
                proxy = hello.proxy,
                namespace = hello.namespace,
                "sent to another replica: the store is away"
            );
            return Err(Status::unavailable(
                "the store does not answer this replica, and a newcomer needs the present: go to another one",
            ));
        }
        tracing::info!(proxy = hello.proxy, namespace = hello.namespace, version = hello.version, "subscribed");
        let (to, responses) = mpsc::channel(WAITING);
        let stream = Stream::new(&self.supply, hello, caller, to);
        tokio::spawn(stream.run(from));
        Ok(Response::new(ReceiverStream::new(responses).boxed()))
    }

    async fn register(&self, request: Request<v1::RegisterRequest>) -> Result<Response<v1::RegisterResponse>, Status> {
        let caller = Caller::of(&request).identity()?;
        let done = self.registrations.register(&caller, request.into_inner()).await?;
        let (lease, ttl_seconds, revision) = (done.lease.0, done.ttl.as_secs(), done.revision);
        Ok(Response::new(v1::RegisterResponse { lease, ttl_seconds, revision }))
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::HeartbeatResponse>, Status> {
        let caller = Caller::of(&request).identity()?;
        self.registrations.heartbeat(&caller, LeaseId(request.into_inner().lease)).await?;
        Ok(Response::new(v1::HeartbeatResponse {}))
    }

    async fn withdraw(&self, request: Request<v1::WithdrawRequest>) -> Result<Response<v1::WithdrawResponse>, Status> {
        let caller = Caller::of(&request).identity()?;
        self.registrations.withdraw(&caller, LeaseId(request.into_inner().lease)).await?;
        Ok(Response::new(v1::WithdrawResponse {}))
    }
}
