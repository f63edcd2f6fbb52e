//! The process's own identity while it is in use, and when to renew it.
//!
//! Every new connection asks here for its TLS configuration. Installing new credentials swaps one pointer: connections
//! that live keep theirs, new ones get the new one, sessions of before are not resumed. Reading takes no lock.

use crate::certificate::Credentials;
use crate::provider::random;
use crate::tls::{self, Alpn, Clients, Sessions};
use arc_swap::ArcSwap;
use rustls::{ClientConfig, ServerConfig};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;
use weft_model::SpiffeId;

/// How many peers' configurations are kept; a proxy that dials more identities than this starts over.
const CACHED_PEERS: usize = 1024;
/// What proxies speak to each other, most wanted first.
const INBOUND: [Alpn; 4] = [Alpn::H2, Alpn::Http1, Alpn::Tcp, Alpn::Probe];

type ClientConfigs = HashMap<SpiffeId, [Option<Arc<ClientConfig>>; Alpn::ALL.len()]>;

/// A handle on the identity; clones share it.
#[derive(Clone)]
pub struct Identity(Arc<ArcSwap<Installed>>);

struct Installed {
    credentials: Arc<Credentials>,
    renew_at: SystemTime,
    server: Arc<ServerConfig>,
    clients: ArcSwap<ClientConfigs>,
    sessions: Sessions,
}

impl Installed {
    fn new(credentials: Credentials, sessions: Sessions) -> Self {
        let mut dice = [0u8; 4];
        random(&mut dice);
        let jitter = f64::from(u32::from_ne_bytes(dice)) / f64::from(u32::MAX);
        Self {
            renew_at: renew_at(credentials.not_before, credentials.not_after, jitter),
            server: sessions.of_server(tls::server_config(&credentials, &INBOUND, Clients::Required)),
            clients: ArcSwap::default(),
            credentials: Arc::new(credentials),
            sessions,
        }
    }
}

impl Identity {
    pub fn new(credentials: Credentials, sessions: Sessions) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Installed::new(credentials, sessions))))
    }

    /// Puts new credentials into force for connections to come.
    pub fn install(&self, credentials: Credentials) {
        let sessions = self.0.load().sessions;
        self.0.store(Arc::new(Installed::new(credentials, sessions)));
    }

    pub fn credentials(&self) -> Arc<Credentials> {
        self.0.load().credentials.clone()
    }

    /// For connections from other proxies.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.0.load().server.clone()
    }

    /// For connections to `peer`. Made once per peer and protocol, so that sessions can be resumed.
    pub fn client(&self, peer: &SpiffeId, alpn: Alpn) -> Arc<ClientConfig> {
        let installed = self.0.load();
        if let Some(config) = installed.clients.load().get(peer).and_then(|configs| configs[alpn as usize].as_ref()) {
            return config.clone();
        }
        let made = installed.sessions.of_client(tls::client_config(&installed.credentials, peer, alpn));
        let mut kept = made.clone();
        installed.clients.rcu(|clients| {
            let full = clients.len() >= CACHED_PEERS && !clients.contains_key(peer);
            let mut clients = if full { ClientConfigs::default() } else { ClientConfigs::clone(clients) };
            let slot = &mut clients.entry(peer.clone()).or_default()[alpn as usize];
            // Somebody may have been faster: both then use the same.
            kept = slot.get_or_insert_with(|| made.clone()).clone();
            clients
        });
        kept
    }

    /// When to ask for new credentials: at half life, a little earlier or later for each process.
    pub fn renew_at(&self) -> SystemTime {
        self.0.load().renew_at
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.0.load().credentials).finish()
    }
}

/// Half way through the lifetime, give or take a tenth of it: `jitter` from 0 to 1 spreads a mesh that started at once.
pub fn renew_at(not_before: SystemTime, not_after: SystemTime, jitter: f64) -> SystemTime {
    let lifetime = not_after.duration_since(not_before).unwrap_or_default();
    not_before + lifetime.mul_f64(0.4 + 0.2 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::{Authority, Key};
    use std::time::{Duration, UNIX_EPOCH};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn id(account: &str) -> SpiffeId {
        SpiffeId::new("weft.local", "shop", account).unwrap()
    }

    fn credentials(authority: &Authority) -> Credentials {
        let key = Key::generate();
        let signed = authority.sign(&key.csr(), &id("cart"), SystemTime::now(), DAY).unwrap();
        Credentials::new(vec![signed.leaf], key.private(), vec![authority.certificate().clone()]).unwrap()
    }

    #[test]
    fn renewal_comes_at_half_life_with_jitter() {
        let from = UNIX_EPOCH + DAY;
        assert_eq!(renew_at(from, from + DAY, 0.5), from + DAY / 2);
        assert_eq!(renew_at(from, from + DAY, 0.0), from + DAY * 2 / 5);
        assert_eq!(renew_at(from, from + DAY, 1.0), from + DAY.mul_f64(0.6));
        assert_eq!(renew_at(from, from - DAY, 0.5), from, "nonsense is renewed at once");
    }

    #[test]
    fn configurations_are_kept_until_new_credentials_come() {
        let authority = Authority::generate("weft.local").unwrap();
        let identity = Identity::new(credentials(&authority), Sessions::Resumed);
        let first = identity.client(&id("search"), Alpn::H2);
        assert!(Arc::ptr_eq(&first, &identity.clone().client(&id("search"), Alpn::H2)));
        assert!(!Arc::ptr_eq(&first, &identity.client(&id("search"), Alpn::Tcp)));
        let server = identity.server();
        identity.install(credentials(&authority));
        assert!(!Arc::ptr_eq(&first, &identity.client(&id("search"), Alpn::H2)));
        assert!(!Arc::ptr_eq(&server, &identity.server()));
    }

    #[test]
    fn the_cache_is_bounded() {
        let identity = Identity::new(credentials(&Authority::generate("weft.local").unwrap()), Sessions::Resumed);
        for n in 0..=CACHED_PEERS {
            identity.client(&id(&format!("peer-{n}")), Alpn::H2);
            assert!(identity.0.load().clients.load().len() <= CACHED_PEERS);
        }
        assert_eq!(identity.0.load().clients.load().len(), 1);
    }
}
