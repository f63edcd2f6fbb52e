//! weft-discovery as a process: logs, metrics, the store, the replica, and the signals that end it.
//!
//! Everything starts here and ends here, in order: SIGTERM or SIGINT ends streams so that proxies move to another replica,
//! then what is under way, then the probes, then the store.

use crate::config::{Config, StoreConfig};
use crate::counted::Counted;
use crate::kubernetes::{ConnectError, connect};
use crate::metrics::{Metrics, RegistryCounts};
use crate::registry::{BrakeSettings, Registry};
use crate::replica::{Ground, Replica, ReplicaError};
use crate::serve::Settings;
use crate::store::{Embedded, Etcd, Store, StoreError};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use weft_telemetry::admin::{Admin, Condition, Readiness};
use weft_telemetry::metrics::{self, Push};
use weft_telemetry::otlp::Collector;
use weft_telemetry::traces::{KeyValue, semantic};

/// How long the collector may take for the last figures.
const LAST_EXPORT: Duration = Duration::from_secs(2);

/// Why the process ended, other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("--store: {0}")]
    Store(#[from] StoreError),
    #[error("--admin-listen: cannot listen on {address}: {error}")]
    Listen { address: SocketAddr, error: io::Error },
    #[error("signals: {0}")]
    Signals(io::Error),
    #[error(transparent)]
    Kubernetes(#[from] ConnectError),
    #[error(transparent)]
    Replica(#[from] ReplicaError),
}

/// Runs until a signal says stop.
pub async fn run(config: Config) -> Result<(), RunError> {
    allow_many_connections();
    let shutdown = CancellationToken::new();
    stop_on_signals(shutdown.clone())?;
    let mut names = metrics::Registry::new("weft-discovery", env!("CARGO_PKG_VERSION"));
    let metrics = Metrics::register(&mut names);
    let readiness = Readiness::default();
    let ready = readiness.require("registry", "the store has not been read yet");
    let address = config.admin_listen;
    let failed = |error| RunError::Listen { address, error };
    let probes = TcpListener::bind(address).await.map_err(failed)?;
    let store: Arc<dyn Store> = Arc::new(Counted { inner: open(&config.store)?, metrics: metrics.clone() });
    let kubernetes = match &config.kubernetes {
        Some(connection) => Some(connect(connection).await?),
        None => None,
    };
    let registry = Registry::start(store.clone(), BrakeSettings::default());
    names.register_collector(RegistryCounts(registry.clone()));
    let ended = CancellationToken::new();
    let push = push(&config, &mut names);
    let names = Arc::new(names);
    let push = push.map(|push| tokio::spawn(push.run(Arc::clone(&names), ended.clone())));
    let probes = Admin::new(names, readiness).serve(probes, ended.clone().cancelled_owned());
    // Probes answer from here on, also while the store is away.
    let probes = tokio::spawn(probes);
    let ground = Ground { store, registry, metrics, streams: Settings::default(), kubernetes, shutdown };
    let result = serve(&config, ground, &ready).await;
    ended.cancel();
    let _ = probes.await;
    if let Some(push) = push {
        let _ = tokio::time::timeout(LAST_EXPORT, push).await;
    }
    tracing::info!("stopped");
    result
}

/// What sends metrics to a collector, if they are wanted.
fn push(config: &Config, names: &mut metrics::Registry) -> Option<Push> {
    let (settings, pushing) = config.otlp.collector.as_ref().zip(config.otlp.metrics)?;
    let own = [
        KeyValue::new(semantic::SERVICE_NAME, "weft-discovery"),
        KeyValue::new(semantic::SERVICE_INSTANCE_ID, config.replica.clone()),
        KeyValue::new(semantic::SERVICE_VERSION, env!("CARGO_PKG_VERSION")),
    ];
    Some(Push::new(Collector::new(settings, own.into()), pushing, names))
}

async fn serve(config: &Config, ground: Ground, ready: &Condition) -> Result<(), RunError> {
    let shutdown = ground.shutdown.clone();
    let replica = match Replica::start(config, ground).await {
        Err(ReplicaError::Stopped) => return Ok(()),
        started => started?,
    };
    ready.met();
    shutdown.cancelled().await;
    ready.unmet("shutting down");
    replica.ended().await;
    Ok(())
}

/// Every proxy holds a connection; the usual soft limit of 1024 descriptors would be the first thing to run out.
fn allow_many_connections() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

fn open(config: &StoreConfig) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match config {
        StoreConfig::Embedded(settings) => Arc::new(Embedded::open(settings)?),
        StoreConfig::Etcd(settings) => Arc::new(Etcd::open(settings)?),
    })
}

fn stop_on_signals(shutdown: CancellationToken) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to stop");
        shutdown.cancel();
    });
    Ok(())
}
