//! The `Admin` gRPC service, for weftctl.
//!
//! Served on a unix socket (`socket`) only: whoever may open the socket may administer the mesh. Everything here is a
//! question to the part that knows; what a caller asks wrongly is answered naming the field.

mod socket;
mod ask;
mod tap;
mod trust;

pub use socket::{Claimed, SocketError, claim};

use crate::apply::{ApplyError, Documents};
use crate::authority::{Authority, OWN_ACCOUNT, OWN_NAMESPACE, TokenError};
use crate::record::AttachedRoute;
use crate::registry::{Registry, World, conditions};
use crate::rpc::{seconds, store_status};
use crate::serve::{Proxies, Session, Subject};
use crate::translate::Kind;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use weft_identity::certificate::to_pem;
use weft_model::SpiffeId;
use weft_proto::v1;

/// How long a join token lives unless the caller says so.
const DEFAULT_TOKEN_TTL: Duration = Duration::from_secs(24 * 3600);

/// The service of one replica.
pub struct Admin {
    pub documents: Documents,
    pub authority: Arc<Authority>,
    pub registry: Registry,
    pub proxies: Proxies,
    pub replica: String,
    pub store_kind: &'static str,
    /// Streams end when it is cancelled.
    pub shutdown: CancellationToken,
}

impl Admin {
    fn status(&self) -> v1::StatusResponse {
        let (world, counters, troubles) = (self.registry.world(), self.registry.counters(), self.registry.troubles());
        let mut notes = Vec::new();
        if !counters.connected() {
            notes.push("the store does not answer; proxies are told what was known last".to_owned());
        }
        if counters.braking() > 0 {
            let braking = counters.braking();
            notes.push(format!("most endpoints of {braking} services vanished at once; the last good ones are kept"));
        }
        if counters.unreadable() > 0 {
            notes.push(format!("{} values in the store cannot be read and are skipped", counters.unreadable()));
        }
        let counts = world.counts();
        v1::StatusResponse {
            replica: self.replica.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store: self.store_kind.to_owned(),
            revision: world.revision(),
            ready: self.registry.is_ready(),
            skipped: counters.unreadable(),
            notes,
            services: counts.services as u64,
            endpoints: counts.endpoints as u64,
            routes: counts.routes as u64,
            policies: counts.policies as u64,
            now_us: micros(SystemTime::now()),
            store_away: !counters.connected(),
            braked: troubles.braked.iter().map(|name| format!("{}/{}", name.namespace, name.name)).collect(),
            unreadable: troubles.unreadable.clone(),
        }
    }

    fn proxy(&self, session: &Session) -> v1::Proxy {
        let read = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
        v1::Proxy {
            name: session.hello.proxy.clone(),
            namespace: session.hello.namespace.clone(),
            identity: session.caller.identity.as_ref().map(ToString::to_string).unwrap_or_default(),
            address: session.caller.address.map(|address| address.to_string()).unwrap_or_default(),
            version: session.hello.version.clone(),
            zone: session.hello.zone.clone(),
            sent_revision: read(&session.sent),
            acked_revision: read(&session.acked),
            subscriptions: read(&session.subscriptions),
            connected_at: seconds(session.connected),
            pending: read(&session.pending),
            replica: self.replica.clone(),
        }
    }
}

#[tonic::async_trait]
impl v1::admin_server::Admin for Admin {
    async fn apply(&self, request: Request<v1::ApplyRequest>) -> Result<Response<v1::ApplyResponse>, Status> {
        let request = request.into_inner();
        let done = self.documents.apply(&request.yaml, request.dry_run).await.map_err(apply_status)?;
        let applied = done.documents.into_iter().map(|document| v1::Applied {
            kind: document.kind.name().to_owned(),
            namespace: document.namespace,
            name: document.name,
            outcome: document.outcome.word().to_owned(),
        });
        Ok(Response::new(v1::ApplyResponse { applied: applied.collect(), revision: done.revision }))
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Result<Response<v1::DeleteResponse>, Status> {
        let v1::DeleteRequest { kind, namespace, name } = request.into_inner();
        let revision = self.documents.delete(&kind, &namespace, &name).await.map_err(apply_status)?;
        Ok(Response::new(v1::DeleteResponse { revision }))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        let v1::GetRequest { kind, namespace, name } = request.into_inner();
        let (mut objects, revision) = self.documents.get(&kind, &namespace, &name).await.map_err(apply_status)?;
        let world = self.registry.world();
        objects.iter_mut().for_each(|object| object.status_json = route_status(object, &world).unwrap_or_default());
        Ok(Response::new(v1::GetResponse { objects, revision }))
    }

    async fn list_proxies(
        &self,
        _: Request<v1::ListProxiesRequest>,
    ) -> Result<Response<v1::ListProxiesResponse>, Status> {
        let proxies = self.proxies.list().iter().map(|session| self.proxy(session)).collect();
        Ok(Response::new(v1::ListProxiesResponse { proxies, revision: self.registry.revision() }))
    }

    async fn dump_proxy(
        &self,
        request: Request<v1::DumpProxyRequest>,
    ) -> Result<Response<v1::DumpProxyResponse>, Status> {
        let v1::DumpProxyRequest { namespace, name } = request.into_inner();
        let session = self.proxies.find(&namespace, &name).ok_or_else(|| {
            let replica = &self.replica;
            Status::not_found(format!("no proxy {namespace}/{name} has a stream to this replica ({replica})"))
        })?;
        let json = ask::answer(&session, Subject::Dump).await?.map_err(Status::failed_precondition)?;
        Ok(Response::new(v1::DumpProxyResponse { json }))
    }

    async fn ask_proxy(&self, request: Request<v1::AskProxyRequest>) -> Result<Response<v1::AskProxyResponse>, Status> {
        let v1::AskProxyRequest { proxy, topic, json } = request.into_inner();
        let session = ask::find(&self.proxies, &self.registry.world(), &proxy, &self.replica)?;
        let json = ask::ask(&session, topic, json).await?;
        Ok(Response::new(v1::AskProxyResponse { json }))
    }

    type TapStream = ReceiverStream<Result<v1::TapResponse, Status>>;

    async fn tap(&self, request: Request<v1::TapRequest>) -> Result<Response<Self::TapStream>, Status> {
        let source = tap::Source {
            proxies: self.proxies.clone(),
            registry: self.registry.clone(),
            metrics: self.documents.metrics.clone(),
            shutdown: self.shutdown.clone(),
        };
        tap::start(source, request.into_inner()).map(Response::new)
    }

    async fn list_certificates(
        &self,
        _: Request<v1::ListCertificatesRequest>,
    ) -> Result<Response<v1::ListCertificatesResponse>, Status> {
        Ok(Response::new(v1::ListCertificatesResponse { certificates: trust::certificates(&self.authority).await? }))
    }

    async fn create_join_token(
        &self,
        request: Request<v1::CreateJoinTokenRequest>,
    ) -> Result<Response<v1::CreateJoinTokenResponse>, Status> {
        let request = request.into_inner();
        let (namespace, account) = (&request.namespace, &request.service_account);
        let id = SpiffeId::new(self.authority.trust_domain(), namespace, account).map_err(Status::invalid_argument)?;
        if namespace == OWN_NAMESPACE && account == OWN_ACCOUNT {
            let reason = format!("service_account: {id} is discovery itself; no token may stand for it");
            return Err(Status::permission_denied(reason));
        }
        let ttl = match request.ttl_seconds {
            0 => DEFAULT_TOKEN_TTL,
            seconds => Duration::from_secs(seconds),
        };
        let token = self.authority.create_token(id, ttl).await.map_err(|e| match e {
            TokenError::Store(e) => store_status(e),
            e => Status::invalid_argument(e.to_string()),
        })?;
        tracing::info!(namespace, account, ?ttl, "made a join token");
        Ok(Response::new(v1::CreateJoinTokenResponse { token: token.text, expires: seconds(token.expires) }))
    }

    async fn get_trust_anchors(
        &self,
        _: Request<v1::GetTrustAnchorsRequest>,
    ) -> Result<Response<v1::GetTrustAnchorsResponse>, Status> {
        Ok(Response::new(v1::GetTrustAnchorsResponse { pem: to_pem(&self.authority.anchors()) }))
    }

    async fn get_trust(&self, _: Request<v1::GetTrustRequest>) -> Result<Response<v1::TrustState>, Status> {
        Ok(Response::new(trust::state(&self.authority).await?))
    }

    async fn rotate_trust(&self, request: Request<v1::RotateTrustRequest>) -> Result<Response<v1::TrustState>, Status> {
        trust::step(&self.authority, &self.proxies, request.into_inner()).await?;
        Ok(Response::new(trust::state(&self.authority).await?))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        Ok(Response::new(Admin::status(self)))
    }
}

/// Since the epoch; 0 for a clock that stands before it.
fn micros(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// `status` of a route; `None` for what is no route.
fn route_status(object: &v1::Object, world: &World) -> Option<String> {
    if object.kind != Kind::HttpRoute.name() && object.kind != Kind::GrpcRoute.name() {
        return None;
    }
    let attached: AttachedRoute = serde_json::from_str(&object.model_json).ok()?;
    let document: Option<serde_json::Value> = serde_json::from_str(&object.document_json).ok();
    let generation = document.and_then(|document| document.pointer("/metadata/generation")?.as_i64());
    Some(conditions::status(&attached, &BTreeSet::new(), generation, world).to_string())
}

fn apply_status(error: ApplyError) -> Status {
    let text = error.to_string();
    match error {
        ApplyError::Faults(_) | ApplyError::Asked(_) => Status::invalid_argument(text),
        ApplyError::NotFound(_) => Status::not_found(text),
        ApplyError::Belongs(_) => Status::failed_precondition(text),
        ApplyError::NoAddress(_) => Status::resource_exhausted(text),
        ApplyError::Contended => Status::aborted(text),
        ApplyError::Store(e) => store_status(e),
    }
}
