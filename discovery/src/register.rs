//! Registration: a workload's own proxy puts its endpoint into the mesh, under a lease that it keeps alive.
//!
//! A source, like `apply`, for workloads outside Kubernetes. The caller's certificate decides what it may say: endpoints of
//! its own namespace, with its own identity. The lease belongs to whoever was granted it; nobody else can keep or end it.

use crate::metrics::{Metrics, Outcome};
use crate::record::{self, Content, Key, Record, Source};
use crate::rpc::store_status;
use crate::store::{Compare, Entry, LeaseId, Op, Revision, Store};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;
use weft_model::{Endpoint, SpiffeId, names};
use weft_proto::v1;

/// How long a registration outlives its last heartbeat, unless the proxy asks for another time.
pub const DEFAULT_TTL: Duration = Duration::from_secs(15);
const SHORTEST_TTL: Duration = Duration::from_secs(5);
const LONGEST_TTL: Duration = Duration::from_secs(300);

/// Where leases and their owners stand.
const LEASES: &str = "leases/";
/// How often a write is tried again when somebody else wrote the same keys meanwhile.
const TRIES: usize = 8;

/// Who holds a lease and what for. Stands under the lease itself, so that it ends with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    identity: SpiffeId,
    service: weft_model::ServiceName,
    id: String,
    ttl: Duration,
}

/// What a proxy is told of its registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    pub lease: LeaseId,
    pub ttl: Duration,
    pub revision: Revision,
}

/// The registrations of one replica.
#[derive(Clone)]
pub struct Registrations {
    store: Arc<dyn Store>,
    metrics: Metrics,
}

impl Registrations {
    pub fn new(store: Arc<dyn Store>, metrics: Metrics) -> Self {
        Self { store, metrics }
    }

    /// Puts the endpoint in under a new lease, or replaces what was said under `request.lease`.
    pub async fn register(&self, caller: &SpiffeId, request: v1::RegisterRequest) -> Result<Registered, Status> {
        let result = self.try_register(caller, request).await;
        self.count("registered", result)
    }

    /// Keeps a lease alive; NOT_FOUND: it has run out, register again.
    pub async fn heartbeat(&self, caller: &SpiffeId, lease: LeaseId) -> Result<(), Status> {
        self.holder(caller, lease).await?;
        match self.store.keep_alive(lease).await.map_err(store_status)? {
            true => Ok(()),
            false => Err(gone(lease)),
        }
    }

    /// Takes the endpoint out at once and ends the lease.
    pub async fn withdraw(&self, caller: &SpiffeId, lease: LeaseId) -> Result<(), Status> {
        let result = self.try_withdraw(caller, lease).await;
        self.count("withdrawn", result)
    }

    fn count<T>(&self, good: &'static str, result: Result<T, Status>) -> Result<T, Status> {
        let outcome = if result.is_ok() { good } else { "refused" };
        self.metrics.registrations.get_or_create(&Outcome::of(outcome)).inc();
        result
    }

    async fn try_register(&self, caller: &SpiffeId, request: v1::RegisterRequest) -> Result<Registered, Status> {
        let endpoint = endpoint(caller, request.endpoint)?;
        if request.lease != 0 {
            let lease = LeaseId(request.lease);
            let (holder, _) = self.holder(caller, lease).await?;
            let ttl = holder.ttl;
            let revision = self.put(&endpoint, lease, ttl, Some(holder)).await?;
            return Ok(Registered { lease, ttl, revision });
        }
        let ttl = ttl(request.ttl_seconds)?;
        let lease = self.store.grant(ttl).await.map_err(store_status)?;
        match self.put(&endpoint, lease, ttl, None).await {
            Ok(revision) => {
                tracing::info!(service = %endpoint.service, endpoint = endpoint.id, identity = %caller, "registered");
                Ok(Registered { lease, ttl, revision })
            }
            Err(status) => {
                // Should this fail too, the lease runs out by itself; it holds nothing.
                let _ = self.store.revoke(lease).await;
                Err(status)
            }
        }
    }

    /// Writes the endpoint and the lease's holder. `before` is what the lease held until now.
    async fn put(
        &self,
        endpoint: &Endpoint,
        lease: LeaseId,
        ttl: Duration,
        before: Option<Holder>,
    ) -> Result<Revision, Status> {
        let key = Key::endpoint(endpoint).to_string();
        // An endpoint always has an identity here: `endpoint()` has seen to it.
        let identity = endpoint.identity.clone().ok_or_else(|| Status::internal("an endpoint without identity"))?;
        let holder = Holder { identity, service: endpoint.service.clone(), id: endpoint.id.clone(), ttl };
        let value = serde_json::to_vec(&holder).expect("names and numbers always have a JSON form");
        let record = Record { model: endpoint.clone(), document: None, source: Source::Registration };
        let mut ops = vec![
            Op::Put { key: lease_key(lease), value: value.into(), lease: Some(lease) },
            Op::Put { key: key.clone(), value: record.encode(), lease: Some(lease) },
        ];
        for _ in 0..TRIES {
            let present = self.store.get(&key).await.map_err(store_status)?;
            may_replace(present.as_ref(), endpoint)?;
            let mut compares = vec![Compare::Modified(key.clone(), present.map_or(0, |entry| entry.modified))];
            if let Some(before) = before.as_ref().filter(|b| (&b.service, &b.id) != (&endpoint.service, &endpoint.id)) {
                let (compare, withdrawal) = self.take_out(before, lease).await?;
                compares.extend(compare);
                ops.truncate(2);
                ops.extend(withdrawal);
            }
            if let Some(revision) = self.store.commit(compares, ops.clone()).await.map_err(store_status)? {
                return Ok(revision);
            }
        }
        Err(Status::aborted(format!("{key:?} is being written by others all the time")))
    }

    async fn try_withdraw(&self, caller: &SpiffeId, lease: LeaseId) -> Result<(), Status> {
        let (holder, _) = self.holder(caller, lease).await?;
        for _ in 0..TRIES {
            let (compares, ops) = self.take_out(&holder, lease).await?;
            if ops.is_empty() || self.store.commit(compares, ops).await.map_err(store_status)?.is_some() {
                tracing::info!(service = %holder.service, endpoint = holder.id, identity = %caller, "withdrawn");
                return self.store.revoke(lease).await.map_err(store_status);
            }
        }
        // The lease holds the endpoint still: ending it takes the endpoint out, only without saying that it was meant.
        self.store.revoke(lease).await.map_err(store_status)
    }

    /// What takes the held endpoint out on purpose; nothing, when another registration has taken its place.
    async fn take_out(&self, holder: &Holder, lease: LeaseId) -> Result<(Vec<Compare>, Vec<Op>), Status> {
        let key = Key::Endpoint { service: holder.service.clone(), id: holder.id.clone() }.to_string();
        match self.store.get(&key).await.map_err(store_status)? {
            Some(entry) if entry.lease == Some(lease) => {
                let ops = record::withdraw(&holder.service, [holder.id.clone()]);
                Ok((vec![Compare::Modified(key, entry.modified)], ops))
            }
            _ => Ok((Vec::new(), Vec::new())),
        }
    }

    /// The lease's holder, who must be the caller. Somebody else's lease is told like one that does not exist.
    async fn holder(&self, caller: &SpiffeId, lease: LeaseId) -> Result<(Holder, Entry), Status> {
        let entry = self.store.get(&lease_key(lease)).await.map_err(store_status)?.ok_or_else(|| gone(lease))?;
        let holder: Holder = serde_json::from_slice(&entry.value).map_err(|_| gone(lease))?;
        if holder.identity != *caller {
            return Err(gone(lease));
        }
        Ok((holder, entry))
    }
}

fn lease_key(lease: LeaseId) -> String {
    format!("{LEASES}{lease}")
}

fn gone(lease: LeaseId) -> Status {
    Status::not_found(format!("lease {lease} does not exist or has run out: register again"))
}

fn ttl(seconds: u64) -> Result<Duration, Status> {
    let ttl = if seconds == 0 { DEFAULT_TTL } else { Duration::from_secs(seconds) };
    match (SHORTEST_TTL..=LONGEST_TTL).contains(&ttl) {
        true => Ok(ttl),
        false => Err(Status::invalid_argument(format!("ttl_seconds: {seconds} is out of range (5 to 300)"))),
    }
}

/// The endpoint on the wire, if the caller may speak for it.
fn endpoint(caller: &SpiffeId, wire: Option<v1::Endpoint>) -> Result<Endpoint, Status> {
    let wire = wire.ok_or_else(|| Status::invalid_argument("endpoint: missing"))?;
    let endpoint = Endpoint::try_from(wire).map_err(|e| Status::invalid_argument(format!("endpoint.{e}")))?;
    names::subdomain(&endpoint.id).map_err(|e| Status::invalid_argument(format!("endpoint.id: {e}")))?;
    if let Some(address) = endpoint.addresses.iter().find(|address| address.is_unspecified() || address.is_multicast())
    {
        let reason = format!("endpoint.addresses: {address} is not the address of a host");
        return Err(Status::invalid_argument(reason));
    }
    if endpoint.service.namespace != caller.namespace {
        let reason = format!("endpoint.service: {caller} may not register in namespace {}", endpoint.service.namespace);
        return Err(Status::permission_denied(reason));
    }
    match &endpoint.identity {
        Some(identity) if identity == caller => Ok(endpoint),
        Some(identity) => {
            let reason = format!("endpoint.identity: {caller} may not register as {identity}");
            Err(Status::permission_denied(reason))
        }
        None => Err(Status::invalid_argument("endpoint.identity: missing; it is the caller's own")),
    }
}

/// A registration may follow an earlier one of the same identity (the workload was restarted), nothing else.
fn may_replace(present: Option<&Entry>, endpoint: &Endpoint) -> Result<(), Status> {
    let Some(Ok((_, Content::Endpoint(record)))) = present.and_then(Content::decode) else { return Ok(()) };
    let name = format!("endpoint {} of service {}", endpoint.id, endpoint.service);
    if record.source != Source::Registration {
        let reason = format!("{name} is already described by an Endpoint document from {}", record.source);
        return Err(Status::already_exists(reason));
    }
    if record.model.identity != endpoint.identity {
        return Err(Status::already_exists(format!("{name} is registered by another identity")));
    }
    Ok(())
}
