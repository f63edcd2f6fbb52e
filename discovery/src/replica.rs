//! One replica, put together: authority, registry, the listener for proxies and the admin socket on one store.
//!
//! Starts in an order in which nothing is told before it is known: proxies are let in when the store has been read once.
//! While the store is away the start waits; a fault of the configuration or of the root of trust ends it.

use crate::admin::{self, Admin, SocketError};
use crate::apply::Documents;
use crate::authority::{Authority, AuthorityError, Certify, Reviewer, follow, keep_secret, keep_session_keys};
use crate::config::Config;
use crate::kubernetes::Controller;
use crate::listen::Listener;
use crate::metrics::Metrics;
use crate::register::Registrations;
use crate::registry::Registry;
use crate::serve::{Proxies, Serve, Settings, Supply};
use crate::store::{Store, StoreError};
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::Stream;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic::transport::server::Connected;
use weft_identity::certificate::{Credentials, to_pem};
use weft_identity::rotate::renew_at;
use weft_identity::tls::{self, Alpn, Clients};
use weft_proto::v1::{admin_server, authority_server, discovery_server};

/// How long to wait before asking again, when the store or a renewal failed.
const AGAIN: Duration = Duration::from_secs(1);
/// An apply may carry 4 MiB of documents; the rest is room for the message around them.
const ADMIN_MESSAGE: usize = 5 * 1024 * 1024;
/// A proxy's dump has everything it knows.
const PROXY_MESSAGE: usize = 16 * 1024 * 1024;
/// How long admin calls may go on after shutdown has begun.
const LINGER: Duration = Duration::from_secs(3);

/// Why a replica does not start.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error("--listen: cannot listen on {address}: {error}")]
    Listen { address: SocketAddr, error: io::Error },
    #[error("--admin-forward-port: cannot listen on {address}: {error}")]
    Forward { address: SocketAddr, error: io::Error },
    #[error("--trust-anchors-out: {0}")]
    Anchors(io::Error),
    #[error("stopped before the start was over")]
    Stopped,
}

/// A replica that runs until its token is cancelled.
pub struct Replica {
    /// Where proxies connect to.
    pub address: SocketAddr,
    pub proxies: Proxies,
    tasks: TaskTracker,
    _socket: admin::Claimed,
}

/// What a replica stands on.
pub struct Ground {
    pub store: Arc<dyn Store>,
    /// Follows the same store.
    pub registry: Registry,
    pub metrics: Metrics,
    pub streams: Settings,
    /// The API server, where there is one.
    pub kubernetes: Option<kube::Client>,
    pub shutdown: CancellationToken,
}

impl Replica {
    /// Starts everything and comes back when proxies can connect.
    pub async fn start(config: &Config, ground: Ground) -> Result<Self, ReplicaError> {
        let (socket, claimed) = admin::claim(&config.admin_socket)?;
        let starting = Self::start_on(config, &ground, socket, claimed);
        tokio::select! {
            started = starting => started,
            () = ground.shutdown.cancelled() => Err(ReplicaError::Stopped),
        }
    }

    async fn start_on(
        config: &Config,
        ground: &Ground,
        socket: UnixListener,
        claimed: admin::Claimed,
    ) -> Result<Self, ReplicaError> {
        let Ground { store, registry, metrics, streams, shutdown, .. } = ground;
        let (authority, credentials) = trust(config, ground).await?;
        let authority = Arc::new(authority);
        if let Some(file) = &config.trust_anchors_out {
            write(file, &to_pem(&authority.anchors())).map_err(ReplicaError::Anchors)?;
        }
        let (proxies, tasks) = (Proxies::default(), TaskTracker::new());
        let admin = admin(config, ground, &authority, &proxies);
        let admin = admin_server::AdminServer::new(admin).max_decoding_message_size(ADMIN_MESSAGE);
        if let Some(forwarded) = forwarded(config.admin_forward_port).await? {
            tasks.spawn(serve_admin(admin.clone(), TcpListenerStream::new(forwarded), shutdown.clone()));
        }
        tasks.spawn(serve_admin(admin, UnixListenerStream::new(socket), shutdown.clone()));
        registry.ready().await;
        let address = config.listen;
        let failed = |error| ReplicaError::Listen { address, error };
        let bound = TcpListener::bind(address).await.map_err(failed)?;
        let address = bound.local_addr().map_err(failed)?;
        let supply = Supply {
            registry: registry.clone(),
            proxies: proxies.clone(),
            authority: authority.clone(),
            metrics: metrics.clone(),
            settings: *streams,
            shutdown: shutdown.clone(),
        };
        let discovery = Serve { supply, registrations: Registrations::new(store.clone(), metrics.clone()) };
        let discovery = discovery_server::DiscoveryServer::new(discovery).max_decoding_message_size(PROXY_MESSAGE);
        let reviewer = ground.kubernetes.clone().map(|client| Reviewer::new(client, &config.trust_domain));
        let certify = Certify::new(authority.clone(), reviewer, metrics.clone());
        let certify = authority_server::AuthorityServer::new(certify);
        let tls = Arc::new(ArcSwap::new(server_config(&credentials)));
        let routes = Routes::new(discovery).add_service(certify).prepare();
        let listener = Listener { tls: tls.clone(), routes, metrics: metrics.clone() };
        tasks.spawn(listener.serve(bound, shutdown.clone()));
        keep_trust(&tasks, ground, Own { authority, credentials, tls, config: config.clone() });
        if let Some(client) = &ground.kubernetes {
            let controller = Controller {
                client: client.clone(),
                store: store.clone(),
                registry: registry.clone(),
                trust_domain: config.trust_domain.clone(),
                replica: config.replica.clone(),
                metrics: metrics.clone(),
            };
            tasks.spawn(controller.run(shutdown.clone()));
        }
        let lifetime = config.session_key_lifetime;
        tasks.spawn(keep_session_keys(store.clone(), lifetime, shutdown.clone()));
        tasks.close();
        tracing::info!(%address, replica = config.replica, store = store.kind(), "ready for proxies");
        Ok(Self { address, proxies, tasks, _socket: claimed })
    }

    /// Comes back when the token was cancelled and everything has ended in order.
    pub async fn ended(self) {
        self.tasks.wait().await;
    }
}

/// The authority and discovery's own certificate, as soon as the store answers.
async fn trust(config: &Config, ground: &Ground) -> Result<(Authority, Credentials), ReplicaError> {
    loop {
        let tried = async {
            let (lifetime, root) = (config.certificate_lifetime, config.root.as_deref());
            let authority = Authority::open(ground.store.clone(), &config.trust_domain, lifetime, root).await?;
            let authority = authority.within(ground.kubernetes.clone());
            let credentials = authority.own_credentials(&config.replica).await?;
            Ok((authority, credentials))
        };
        match tried.await {
            Err(AuthorityError::Store(error @ StoreError::Unavailable(_))) => {
                tracing::warn!(%error, "waiting for the store");
                tokio::time::sleep(AGAIN).await;
            }
            other => return other.map_err(ReplicaError::Authority),
        }
    }
}

fn admin(config: &Config, ground: &Ground, authority: &Arc<Authority>, proxies: &Proxies) -> Admin {
    let documents = Documents {
        store: ground.store.clone(),
        trust_domain: config.trust_domain.clone(),
        range: config.virtual_range,
        metrics: ground.metrics.clone(),
    };
    Admin {
        documents,
        authority: authority.clone(),
        registry: ground.registry.clone(),
        proxies: proxies.clone(),
        replica: config.replica.clone(),
        store_kind: ground.store.kind(),
        shutdown: ground.shutdown.clone(),
    }
}

/// Where the port is listened on that is reached by forwarding alone: on no other address than loopback's.
async fn forwarded(port: u16) -> Result<Option<TcpListener>, ReplicaError> {
    if port == 0 {
        return Ok(None);
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let bound = TcpListener::bind(address).await;
    bound.map(Some).map_err(|error| ReplicaError::Forward { address, error })
}

async fn serve_admin<C>(
    admin: admin_server::AdminServer<Admin>,
    incoming: impl Stream<Item = io::Result<C>>,
    shutdown: CancellationToken,
) where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let serving = tonic::transport::Server::builder()
        .add_service(admin)
        .serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
    let cut = async {
        shutdown.cancelled().await;
        tokio::time::sleep(LINGER).await;
    };
    tokio::select! {
        ended = serving => {
            if let Err(error) = ended {
                tracing::error!(%error, "the admin socket is served no more");
            }
        }
        () = cut => {}
    }
}

/// Workloads show a certificate if they have one; the services that need it ask for it.
fn server_config(credentials: &Credentials) -> Arc<ServerConfig> {
    tls::server_config(credentials, &[Alpn::Rpc], Clients::Optional)
}

/// What looks after the trust anchors, and after all that follows them.
fn keep_trust(tasks: &TaskTracker, Ground { kubernetes, shutdown, .. }: &Ground, own: Own) {
    tasks.spawn(follow(own.authority.clone(), shutdown.clone()));
    if let (Some(client), Some(secret)) = (kubernetes, &own.config.trust_secret) {
        tasks.spawn(keep_secret(own.authority.clone(), client.clone(), secret.clone(), shutdown.clone()));
    }
    tasks.spawn(own.renew(shutdown.clone()));
}

/// Discovery's own certificate, and what shows it.
struct Own {
    authority: Arc<Authority>,
    credentials: Credentials,
    tls: Arc<ArcSwap<ServerConfig>>,
    config: Config,
}

impl Own {
    /// Gets a new one at half the life of the present one, and whenever the trust anchors change, for as long as discovery runs.
    async fn renew(mut self, shutdown: CancellationToken) {
        let mut trust = self.authority.watch();
        // They may have changed since the first certificate was made.
        if self.authority.anchors() != self.credentials.anchors {
            trust.mark_changed();
        }
        let mut due = self.due();
        loop {
            let wait = due.duration_since(SystemTime::now()).unwrap_or_default().max(AGAIN);
            tokio::select! {
                () = shutdown.cancelled() => return,
                Ok(()) = trust.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
            trust.mark_unchanged();
            match self.once().await {
                Ok(()) => {
                    due = self.due();
                    tracing::info!("renewed discovery's own certificate");
                }
                Err(error) => {
                    // Soon again, whatever was the reason for it.
                    due = SystemTime::now();
                    tracing::warn!(%error, "cannot renew discovery's own certificate; trying again");
                }
            }
        }
    }

    fn due(&self) -> SystemTime {
        renew_at(self.credentials.not_before, self.credentials.not_after, fastrand::f64())
    }

    async fn once(&mut self) -> Result<(), ReplicaError> {
        let renewed = self.authority.own_credentials(&self.config.replica).await?;
        if let Some(file) = &self.config.trust_anchors_out {
            write(file, &to_pem(&renewed.anchors)).map_err(ReplicaError::Anchors)?;
        }
        self.tls.store(server_config(&renewed));
        self.credentials = renewed;
        Ok(())
    }
}

/// Replaces the file in one step, so that a reader never sees half of it.
fn write(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    let hidden = file.with_extension(format!("{}.new", std::process::id()));
    std::fs::write(&hidden, text)?;
    std::fs::rename(&hidden, file)
}
