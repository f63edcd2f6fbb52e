//! The life of the process: what is started in which order, and how it ends.
//!
//! The control runtime (this thread and one more) carries discovery, identity, DNS, registration and the admin endpoint; data
//! workers have threads of their own. Start-up fails only on what waiting cannot mend; the end is bounded by the drain
//! time-out.

mod about;

use crate::balance::subset::Client;
use crate::breaker::{BreakerGauge, Breakers};
use crate::catalog::{self, Catalog, CatalogMetrics, Describe, Stream, keep_on_disk};
use crate::certify::Certifier;
use crate::config::Config;
use crate::discovery::Discovery;
use crate::drain::{Direction, Drain};
use crate::ejections::{EjectedGauge, Ejections};
use crate::health::{Checker, HealthMetrics};
use crate::metrics::Metrics;
use crate::observe::{Observer, Telling};
use crate::questions::{self, Answers};
use crate::redirect::{Check, Look};
use crate::register::{Registrar, Registrations};
use crate::state_dir::StateDir;
use crate::tap::Taps;
use crate::trust::Trust;
use crate::worker::Shared;
use crate::{admin, describe, dns, footprint, kubelet, serve};
use about::About;
use anyhow::Context;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use weft_identity::rotate::Identity;
use weft_proto::v1::Hello;
use weft_telemetry::admin::{Condition, Readiness};
use weft_telemetry::lines::Writer;
use weft_telemetry::logs;
use weft_telemetry::metrics::Registry;

/// How long connections are still accepted after the registration is withdrawn: until every client has heard of it.
const SETTLE: Duration = Duration::from_millis(500);

/// What is logged, and the last of it.
type Logged = (logs::Filter, logs::Recent);

/// How long the collector may take for what it has not heard yet when the proxy ends.
const LAST_EXPORTS: Duration = Duration::from_secs(2);

/// Runs the proxy until SIGTERM or SIGINT.
pub fn run(config: Config) -> anyhow::Result<()> {
    let logs = logs::init(config.log_format, &config.log_level)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("weft-control")
        .enable_all()
        .build()?;
    let result = runtime.block_on(live(Arc::new(config), (logs.filter(), logs.recent())));
    // What is left are tasks without an end of their own.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

async fn live(config: Arc<Config>, logs: Logged) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let ended = CancellationToken::new();
    let stopped = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::pin!(stopped);
    let up = tokio::select! {
        up = start(&config, logs, ended.clone()) => up?,
        () = &mut stopped => return Ok(()),
    };
    tokio::spawn(footprint::keep_small());
    stopped.await;
    tracing::info!(limit = ?config.drain_timeout, "draining");
    end(&config, up).await;
    ended.cancel();
    Ok(())
}

/// What runs.
struct Up {
    registrations: Registrations,
    drain: Drain,
    workers: Vec<std::thread::JoinHandle<()>>,
    /// Ends what is exported to the collector.
    told: CancellationToken,
    exports: JoinSet<()>,
    /// Of the access log; writes out what is queued when it is dropped.
    _writer: Option<Writer>,
}

async fn start(config: &Arc<Config>, (filter, recent): Logged, ended: CancellationToken) -> anyhow::Result<Up> {
    let mut registry = Registry::new("weft-proxy", env!("CARGO_PKG_VERSION"));
    let readiness = Readiness::default();
    let metrics = Metrics::register(&mut registry);
    let (ejections, breakers) = looked_up(&mut registry);
    let catalog_metrics = CatalogMetrics::register(&mut registry);
    let health_metrics = HealthMetrics::register(&mut registry);
    let directory = StateDir::open(&config.state_dir)?;
    let told = CancellationToken::new();
    let (observer, mut telling) = Observer::new(config, &mut registry);
    let discovery = Discovery::new(config);
    let (certifier, trust) = certifier(config, &discovery, &directory, &readiness, &mut registry)?;
    let (catalog, feed) = catalog::channel(config.resolve_timeout);
    let known = readiness.require("discovery", "nothing heard from discovery yet, and nothing on disk");
    let listening = readiness.require("listeners", "not listening yet");
    let registrar = Registrar::new(Arc::clone(config), discovery.clone(), &mut registry);
    let dns = dns::Server::bind(config, catalog.clone(), &mut registry).context("DNS")?;
    let describe = describe::what(Arc::clone(config), catalog.clone());
    let page = describe.clone();
    let redirected = (config.check_port != 0).then(|| readiness.require("redirect", "not looked for yet"));
    let registry = Arc::new(registry);
    let exports = exports(&mut telling, &registry, &told);
    let pages = admin::admin(Arc::clone(&registry), readiness, move || page()).merge(kubelet::pages(config));
    let listener = admin_listener(config.admin_listen).await?;
    tokio::spawn(pages.serve(listener, ended.cancelled_owned()));

    let identity = certifier.obtain().await?;
    tokio::spawn(certifier.keep(identity.clone()));
    let look = look(config);
    let (answers, questions) = questions::channel(config.workers, questions::here::answers(registry, filter, recent));
    let answers = About::new(config, &identity, &look).before(answers);
    let said = (describe, answers, observer.taps.clone(), trust);
    follow(config, &catalog, catalog_metrics, discovery, &identity, said, known, feed, directory);
    dns.map(|dns| tokio::spawn(dns.run()));
    let own: Arc<[IpAddr]> = config.address.clone().into();
    check_health(config, &catalog, &identity, &own, health_metrics);
    let drain = Drain::default();
    let shared = Arc::new(Shared {
        config: Arc::clone(config),
        catalog: catalog.clone(),
        identity: identity.clone(),
        metrics,
        ejections,
        breakers,
        drain: drain.clone(),
        own,
        arrival: look.arrival.clone(),
        gates: Arc::default(),
        observer,
    });
    let workers = questions.into_iter().enumerate();
    let workers = workers.map(|(n, asked)| serve::start(Arc::clone(&shared), n, asked)).collect::<Result<_, _>>()?;
    listening.met();
    check_redirect(look, redirected, &drain);
    // Nobody is to send anything before it is known what is let in here; a discovery that does not say so is not waited for for long.
    catalog.guard().await;
    let registrations = registrar.start(&identity);
    tracing::info!(name = config.name, identity = %config.identity(), workers = config.workers, "serving");
    Ok(Up { registrations, drain, workers, told, exports, _writer: telling.writer })
}

/// Keeps the certificate, with what it and the stream tell each other about whom to trust.
fn certifier(
    config: &Config,
    discovery: &Discovery,
    directory: &StateDir,
    readiness: &Readiness,
    registry: &mut Registry,
) -> anyhow::Result<(Certifier, Trust)> {
    let trust = Trust::default();
    let certifier = Certifier::new(config, discovery.clone(), directory.clone(), trust.clone(), readiness, registry)?;
    Ok((certifier, trust))
}

/// What all workers share and is counted when somebody looks.
fn looked_up(registry: &mut Registry) -> (Ejections, Breakers) {
    let (ejections, breakers) = (Ejections::default(), Breakers::default());
    registry.register_collector(EjectedGauge(ejections.clone()));
    registry.register_collector(BreakerGauge(breakers.clone()));
    (ejections, breakers)
}

/// Starts what is sent to the collector.
fn exports(telling: &mut Telling, registry: &Arc<Registry>, ended: &CancellationToken) -> JoinSet<()> {
    let mut exports = JoinSet::new();
    telling.spans.take().map(|spans| exports.spawn(spans.run(ended.clone())));
    telling.records.take().map(|records| exports.spawn(records.run(ended.clone())));
    telling.metrics.take().map(|metrics| exports.spawn(metrics.run(Arc::clone(registry), ended.clone())));
    exports
}

/// Probes the endpoints of services that ask for it.
fn check_health(config: &Config, catalog: &Catalog, identity: &Identity, own: &Arc<[IpAddr]>, metrics: HealthMetrics) {
    let client = Client::named(&config.name);
    tokio::spawn(Checker::new(catalog.clone(), identity.clone(), Arc::clone(own), client, metrics).run());
}

/// What only this process can answer where the redirect leads.
fn look(config: &Config) -> Look {
    let arrival = format!("weft-proxy {:032x}\n", fastrand::u128(..));
    Look { port: config.check_port, own: config.address.clone(), arrival }
}

/// Looks, if it is wanted, whether the pod's traffic is really led here.
fn check_redirect(look: Look, condition: Option<Condition>, drain: &Drain) {
    if let Some(condition) = condition {
        tokio::spawn(Check { look, condition }.run(drain.clone()));
    }
}

/// On a machine without IPv6, `[::]` means every address of IPv4.
async fn admin_listener(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = match TcpListener::bind(address).await {
        Err(_) if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()))).await
        }
        bound => bound,
    };
    bound.with_context(|| format!("--admin-listen: listening on {address}"))
}

/// Follows discovery, and keeps on disk what it says.
#[allow(clippy::too_many_arguments)]
fn follow(
    config: &Config,
    catalog: &Catalog,
    metrics: CatalogMetrics,
    discovery: Discovery,
    identity: &Identity,
    (describe, answers, taps, trust): (Describe, Answers, Taps, Trust),
    ready: Condition,
    feed: catalog::Feed,
    directory: StateDir,
) {
    let hello = Hello {
        proxy: config.name.clone(),
        namespace: config.namespace.clone(),
        zone: config.zone.clone().unwrap_or_default(),
        node: config.node.clone().unwrap_or_default(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        answers: questions::TOPICS.iter().map(|topic| (*topic).to_owned()).collect(),
        // The rest is the stream's to say.
        ..Hello::default()
    };
    tokio::spawn(keep_on_disk(catalog.clone(), directory.clone(), metrics.clone()));
    let registers = config.register.iter().map(|registration| registration.service.clone()).collect();
    let stream = Stream {
        discovery,
        identity: identity.clone(),
        hello,
        registers,
        describe,
        answers,
        taps,
        trust,
        metrics,
        ready,
    };
    tokio::spawn(stream.run(feed, directory));
}

/// Withdraws, lets clients leave, finishes what is in flight, and closes; the application may call out to the end.
async fn end(config: &Config, up: Up) {
    let Up { registrations, drain, workers, told, exports, _writer } = up;
    registrations.withdraw().await;
    let finished = async {
        drain.settle();
        tokio::time::sleep(SETTLE).await;
        drain.close(Direction::Inbound);
        drain.wait_empty(Direction::Inbound).await;
        drain.close(Direction::Outbound);
        drain.wait_empty(Direction::Outbound).await;
    };
    if tokio::time::timeout(config.drain_timeout, finished).await.is_err() {
        let open = drain.open(Direction::Inbound) + drain.open(Direction::Outbound);
        tracing::warn!(open, "the drain time-out is over; connections are cut");
        return;
    }
    let join = tokio::task::spawn_blocking(move || workers.into_iter().for_each(|worker| drop(worker.join())));
    // They end by themselves now that nothing is left to serve.
    let _ = tokio::time::timeout(Duration::from_secs(1), join).await;
    told.cancel();
    let _ = tokio::time::timeout(LAST_EXPORTS, exports.join_all()).await;
}
