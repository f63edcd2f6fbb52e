//! Keeps this workload's endpoints in the mesh for as long as it lives, and takes them out before it goes.
//!
//! Off the request path. One task for each registration: register under a lease, heartbeat, say so when the application's
//! health changes, register again when the lease is gone. While discovery is away it tries on; nothing else waits for it.

mod health;

use crate::backoff::Backoff;
use crate::config::Config;
use crate::discovery::{Caller, Discovery, DiscoveryError};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Code;
use weft_identity::rotate::Identity;
use weft_model::{Endpoint, EndpointState, Hints};
use weft_proto::v1::discovery_client::DiscoveryClient;
use weft_proto::v1::{HeartbeatRequest, RegisterRequest, WithdrawRequest};
use weft_telemetry::metrics::Registry;

/// How long a registration outlives its last heartbeat. The application's end is noticed sooner, by health checks and by
/// clients; this is for machines that vanish.
const TTL: Duration = Duration::from_secs(15);
/// Heartbeats in one lifetime of the lease: two may be lost.
const HEARTBEATS: u32 = 3;
/// Discovery that does not answer a withdrawal must not hold up the shutdown; the lease runs out by itself.
const WITHDRAW_LIMIT: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, Default)]
struct Counts {
    calls: Family<Outcome, Counter>,
    registered: Gauge,
}

/// Registrations that have not begun.
#[derive(Debug)]
pub struct Registrar {
    config: Arc<Config>,
    discovery: Discovery,
    counts: Counts,
}

/// Registrations under way.
#[derive(Debug)]
pub struct Registrations {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Registrar {
    pub fn new(config: Arc<Config>, discovery: Discovery, registry: &mut Registry) -> Self {
        let counts = Counts::default();
        registry.register("registration", "Calls to register, keep or withdraw, by outcome", counts.calls.clone());
        registry.register("registered_endpoints", "Endpoints this proxy keeps in the mesh", counts.registered.clone());
        Self { config, discovery, counts }
    }

    /// Registers from now on: the listeners have to be up. With a health check, endpoints take no requests until it has
    /// passed.
    pub fn start(self, identity: &Identity) -> Registrations {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let health = self.config.health_check.clone().filter(|_| !self.config.register.is_empty()).map(|check| {
            let (sender, health) = watch::channel(false);
            tokio::spawn(health::probe(check, self.config.address.clone(), sender));
            health
        });
        for endpoint in endpoints(&self.config) {
            let task = Task {
                caller: Caller::new(self.discovery.clone(), identity.clone()),
                endpoint,
                health: health.clone(),
                lease: None,
                stop: stop.clone(),
                counts: self.counts.clone(),
            };
            tasks.spawn(task.run());
        }
        tasks.close();
        Registrations { stop, tasks }
    }
}

impl Registrations {
    /// Takes the endpoints out. Completes when discovery has done so, or after 3 s.
    pub async fn withdraw(self) {
        self.stop.cancel();
        if tokio::time::timeout(WITHDRAW_LIMIT, self.tasks.wait()).await.is_err() {
            tracing::warn!("discovery did not confirm the withdrawal; the lease runs out by itself");
        }
    }
}

fn endpoints(config: &Config) -> impl Iterator<Item = Endpoint> {
    config.register.iter().map(|registration| Endpoint {
        id: config.name.clone(),
        service: registration.service.clone(),
        addresses: config.address.clone(),
        ports: registration.ports.clone(),
        weight: config.weight,
        zone: config.zone.clone(),
        node: None,
        hints: Hints::default(),
        hostname: None,
        priority: config.priority,
        location: config.location,
        identity: Some(config.identity()),
        state: EndpointState::NotReady,
    })
}

/// What discovery has granted.
#[derive(Debug, Clone, Copy)]
struct Lease {
    id: i64,
    ttl: Duration,
    /// The state that was registered last.
    state: EndpointState,
}

/// One registration.
#[derive(Debug)]
struct Task {
    caller: Caller,
    endpoint: Endpoint,
    /// `None`: no check, always healthy.
    health: Option<watch::Receiver<bool>>,
    lease: Option<Lease>,
    stop: CancellationToken,
    counts: Counts,
}

impl Task {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let pause = match self.say().await {
                Ok(ttl) => {
                    backoff.reset();
                    ttl / HEARTBEATS
                }
                Err(error) => {
                    match backoff.is_fresh() {
                        true => tracing::warn!(service = %self.endpoint.service, %error, "registration failed"),
                        false => tracing::debug!(service = %self.endpoint.service, %error, "registration still fails"),
                    }
                    backoff.pause()
                }
            };
            // Calls are never cut short: an endpoint registered by one that was would stay until its lease runs out.
            if !self.wait(pause).await {
                break;
            }
        }
        self.withdraw().await;
    }

    /// Waits for the next reason to speak; `false`: there is none any more.
    async fn wait(&mut self, pause: Duration) -> bool {
        let changed = async {
            let changed = match &mut self.health {
                Some(health) => health.changed().await.is_ok(),
                None => false,
            };
            if !changed {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = changed => true,
            () = tokio::time::sleep(pause) => true,
        }
    }

    /// Says whatever has to be said now; the lease's time to live.
    async fn say(&mut self) -> Result<Duration, DiscoveryError> {
        let state = self.state();
        if let Some(lease) = self.lease.filter(|lease| lease.state == state) {
            match self.heartbeat(lease.id).await {
                Err(error) if error.code() == Some(Code::NotFound) => self.lost(),
                result => return result.map(|()| lease.ttl),
            }
        }
        match self.register(state).await {
            Err(error) if error.code() == Some(Code::NotFound) && self.lease.is_some() => {
                self.lost();
                self.register(state).await
            }
            result => result,
        }
    }

    fn state(&self) -> EndpointState {
        match &self.health {
            Some(health) if !*health.borrow() => EndpointState::NotReady,
            _ => EndpointState::Ready,
        }
    }

    fn lost(&mut self) {
        tracing::info!(service = %self.endpoint.service, "the lease is gone, registering again");
        self.lease = None;
        self.counts.registered.dec();
    }

    async fn register(&mut self, state: EndpointState) -> Result<Duration, DiscoveryError> {
        let endpoint = Endpoint { state, ..self.endpoint.clone() };
        let request = RegisterRequest {
            endpoint: Some((&endpoint).into()),
            lease: self.lease.map_or(0, |lease| lease.id),
            ttl_seconds: TTL.as_secs(),
        };
        let call = |channel| {
            let request = request.clone();
            async move { DiscoveryClient::new(channel).register(request).await.map(tonic::Response::into_inner) }
        };
        let asked = self.caller.ask(call).await;
        let granted = self.counted("registered", asked)?;
        let ttl = if granted.ttl_seconds == 0 { TTL } else { Duration::from_secs(granted.ttl_seconds) };
        if self.lease.replace(Lease { id: granted.lease, ttl, state }).is_none() {
            self.counts.registered.inc();
        }
        tracing::info!(service = %endpoint.service, id = endpoint.id, ?state, revision = granted.revision, "registered");
        Ok(ttl)
    }

    async fn heartbeat(&mut self, lease: i64) -> Result<(), DiscoveryError> {
        let call = |channel| async move { DiscoveryClient::new(channel).heartbeat(HeartbeatRequest { lease }).await };
        let asked = self.caller.ask(call).await;
        self.counted("kept", asked).map(drop)
    }

    async fn withdraw(mut self) {
        let Some(Lease { id: lease, .. }) = self.lease else { return };
        let call = |channel| async move { DiscoveryClient::new(channel).withdraw(WithdrawRequest { lease }).await };
        let asked = self.caller.ask(call).await;
        match self.counted("withdrawn", asked) {
            Ok(_) => tracing::info!(service = %self.endpoint.service, "withdrawn"),
            // Run out already: the endpoint is out, which is all that was wanted.
            Err(error) if error.code() == Some(Code::NotFound) => {}
            Err(error) => tracing::warn!(service = %self.endpoint.service, %error, "withdrawal"),
        }
        self.counts.registered.dec();
    }

    fn counted<T>(&self, good: &'static str, result: Result<T, DiscoveryError>) -> Result<T, DiscoveryError> {
        let outcome = if result.is_ok() { good } else { "failed" };
        self.counts.calls.get_or_create(&Outcome { outcome }).inc();
        result
    }
}

#[cfg(test)]
mod tests;
