//! weft-injector as a process: what is started in which order, and how it ends.
//!
//! Probes first, so that `/readyz` can say what is missing; then the keeper and the server. On SIGTERM it stays reachable
//! for a moment longer, until the API server has heard that this replica is gone: a review that finds nobody would keep a
//! pod from being created.

use crate::cluster::Cluster;
use crate::config::Config;
use crate::keeper::{Keeper, Shown};
use crate::keys::Wanted;
use crate::metrics::Metrics;
use crate::server;
use crate::webhook::{Webhook, pages};
use anyhow::Context;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use weft_telemetry::admin::{Admin, Readiness};
use weft_telemetry::metrics::{Push, Registry};
use weft_telemetry::otlp::Collector;
use weft_telemetry::traces::{KeyValue, semantic};

/// How long reviews are still taken after SIGTERM.
const SETTLE: Duration = Duration::from_secs(5);

/// How long the collector may take for the last figures.
const LAST_EXPORT: Duration = Duration::from_secs(2);

/// Runs until SIGTERM or SIGINT.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut registry = Registry::new("weft-injector", env!("CARGO_PKG_VERSION"));
    let metrics = Metrics::register(&mut registry);
    let readiness = Readiness::default();
    let certificate = readiness.require("certificate", "the Secret has not been read yet");
    let webhook = readiness.require("webhook", "the webhook configuration has not been seen yet");
    let ended = CancellationToken::new();
    let push = push(&config, &mut registry);
    let registry = Arc::new(registry);
    let push = push.map(|push| tokio::spawn(push.run(Arc::clone(&registry), ended.clone())));
    let probes = listen("--admin-listen", config.admin_listen).await?;
    tokio::spawn(Admin::new(registry, readiness.clone()).serve(probes, ended.clone().cancelled_owned()));
    // A second one would be refused, and nobody else in this program sets one.
    let _ = weft_identity::provider().as_ref().clone().install_default();
    let client = kube::Client::try_default().await.context("no way to the API server")?;
    let names = (&config.settings.mesh_namespace, &config.secret, &config.webhook_configuration);
    let shown = Arc::new(Shown::default());
    let settings = Arc::new(ArcSwap::from_pointee(config.settings.clone()));
    let keeper = Keeper {
        cluster: Cluster::new(client, names.0, names.1, names.2),
        wanted: Wanted { names: config.certificate_names, lifetime: config.certificate_lifetime },
        shown: Arc::clone(&shown),
        pods: config.pods,
        settings: Arc::clone(&settings),
        metrics: metrics.clone(),
        certificate,
        webhook,
    };
    tokio::spawn(keeper.run());
    let listener = listen("--listen", config.listen).await?;
    let pages = pages(Webhook { settings, metrics });
    let server = tokio::spawn(server::serve(listener, tls(shown)?, pages, ended.clone()));
    tracing::info!(listen = %config.listen, "serving");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    readiness.require("ending", "told to end");
    tracing::info!("ending");
    tokio::time::sleep(SETTLE).await;
    ended.cancel();
    let served = server.await.context("the server ended by a panic");
    if let Some(push) = push {
        let _ = tokio::time::timeout(LAST_EXPORT, push).await;
    }
    served
}

/// What sends metrics to a collector, if they are wanted.
fn push(config: &Config, registry: &mut Registry) -> Option<Push> {
    let (settings, pushing) = config.otlp.collector.as_ref().zip(config.otlp.metrics)?;
    let own = [
        KeyValue::new(semantic::SERVICE_NAME, "weft-injector"),
        KeyValue::new(semantic::SERVICE_VERSION, env!("CARGO_PKG_VERSION")),
    ];
    Some(Push::new(Collector::new(settings, own.into()), pushing, registry))
}

fn tls(shown: Arc<Shown>) -> anyhow::Result<Arc<ServerConfig>> {
    let provider = Arc::clone(weft_identity::provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = config.with_no_client_auth().with_cert_resolver(shown);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// On a machine without IPv6, `[::]` means every address of IPv4.
async fn listen(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = match TcpListener::bind(address).await {
        Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
            TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], address.port()))).await
        }
        bound => bound,
    };
    bound.with_context(|| format!("{flag}: cannot listen on {address}"))
}
