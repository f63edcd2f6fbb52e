//! What one data worker knows: its clusters, the applications beside it, and which servers speak first.
//!
//! A connection lives and dies on the worker that accepted it, so nothing here is shared or locked; what all workers
//! have in common is read-only or atomic ([`Shared`]).

use crate::balance::subset::Client;
use crate::breaker::Breakers;
use crate::catalog::{Catalog, Known};
use crate::cluster::{Cluster, Surroundings, Upstream};
use crate::config::Config;
use crate::drain::Drain;
use crate::ejections::Ejections;
use crate::gate::{Gates, Guard};
use crate::metrics::Metrics;
use crate::observe::Observer;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use weft_identity::rotate::Identity;
use weft_model::ServiceName;

/// Destinations remembered as server-first; beyond that the memory starts over.
const MAX_SERVER_FIRST: usize = 4096;

/// Copies of requests for mirrors that may be under way at once; beyond that, copies are not made.
const MAX_MIRRORED: usize = 128;

/// What all workers of a process have in common.
pub struct Shared {
    pub config: Arc<Config>,
    pub catalog: Catalog,
    pub identity: Identity,
    pub metrics: Metrics,
    pub ejections: Ejections,
    pub breakers: Breakers,
    pub drain: Drain,
    /// This pod's addresses.
    pub own: Arc<[IpAddr]>,
    /// What connections to the check port are answered with: proof that they came to this process.
    pub arrival: String,
    /// What is admitted to the application beside this proxy.
    pub gates: Arc<Gates>,
    /// Who is told of single requests.
    pub observer: Arc<Observer>,
}

/// One worker's own state.
pub struct Worker {
    pub shared: Arc<Shared>,
    zone: Option<Arc<str>>,
    node: Option<Arc<str>>,
    client: Client,
    clusters: RefCell<HashMap<ServiceName, Rc<Cluster>>>,
    locals: RefCell<HashMap<SocketAddr, Rc<Upstream>>>,
    guards: RefCell<HashMap<SocketAddr, Rc<Guard>>>,
    server_first: RefCell<HashSet<SocketAddr>>,
    /// One reference for each copy under way, and one of its own.
    mirrored: Rc<()>,
}

/// The place of one copy of a request among those under way.
pub struct MirrorPermit {
    _place: Rc<()>,
}

impl Worker {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            zone: shared.config.zone.as_deref().map(Arc::from),
            node: shared.config.node.as_deref().map(Arc::from),
            client: Client::named(&shared.config.name),
            shared,
            clusters: RefCell::default(),
            locals: RefCell::default(),
            guards: RefCell::default(),
            server_first: RefCell::default(),
            mirrored: Rc::default(),
        }
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            identity: self.shared.identity.clone(),
            metrics: self.shared.metrics.clone(),
            ejections: self.shared.ejections.clone(),
            breakers: self.shared.breakers.clone(),
            catalog: self.shared.catalog.clone(),
            own: Arc::clone(&self.shared.own),
            zone: self.zone.clone(),
            node: self.node.clone(),
            location: self.shared.config.location,
            client: self.client,
        }
    }

    /// This worker's state of the service in `known`, brought up to that view.
    pub fn cluster(&self, known: &Arc<Known>) -> Rc<Cluster> {
        let mut clusters = self.clusters.borrow_mut();
        match clusters.get(&known.view.service.name) {
            Some(cluster) => {
                cluster.refresh(known);
                Rc::clone(cluster)
            }
            None => {
                let cluster = Rc::new(Cluster::new(Arc::clone(known), self.surroundings()));
                clusters.insert(cluster.name.clone(), Rc::clone(&cluster));
                cluster
            }
        }
    }

    /// The application beside this proxy, at the address that was dialled.
    pub fn local(&self, address: SocketAddr) -> Rc<Upstream> {
        let mut locals = self.locals.borrow_mut();
        let make =
            || Rc::new(Upstream::local(address, &self.shared.config.service_of(address.port()), self.surroundings()));
        Rc::clone(locals.entry(address).or_insert_with(make))
    }

    /// Who stands before the application at `address`.
    pub fn guard(&self, address: SocketAddr) -> Rc<Guard> {
        let make = || {
            let registered = self.shared.config.register.iter().map(|r| r.service.clone()).collect();
            Rc::new(Guard::new(self.shared.catalog.clone(), Arc::clone(&self.shared.gates), address, registered))
        };
        Rc::clone(self.guards.borrow_mut().entry(address).or_insert_with(make))
    }

    /// A place for one more copy of a request, if there is one.
    pub fn mirror_permit(&self) -> Option<MirrorPermit> {
        let free = Rc::strong_count(&self.mirrored) <= MAX_MIRRORED;
        free.then(|| MirrorPermit { _place: Rc::clone(&self.mirrored) })
    }

    /// Whether undeclared connections to `address` are bytes: its port was called opaque, or its server is known to speak
    /// first, so that waiting for its client would be in vain.
    pub fn is_opaque(&self, address: SocketAddr) -> bool {
        self.shared.config.is_opaque(address.port()) || self.server_first.borrow().contains(&address)
    }

    pub fn remember_server_first(&self, address: SocketAddr) {
        let mut known = self.server_first.borrow_mut();
        if known.len() >= MAX_SERVER_FIRST {
            known.clear();
        }
        known.insert(address);
    }

    /// Closes idle connections and forgets services that are no longer subscribed to.
    pub fn sweep(&self) {
        let (now, limit) = (Instant::now(), self.shared.config.idle_timeout);
        self.shared.metrics.sweep(now);
        let snapshot = self.shared.catalog.snapshot();
        // A service that is no longer subscribed to needs no state here either.
        self.clusters.borrow_mut().retain(|name, cluster| {
            cluster.sweep(now, limit);
            snapshot.services.contains_key(name)
        });
        // Somebody who dials all ports of the pod leaves nothing behind.
        self.locals.borrow_mut().retain(|_, local| local.sweep(now, limit) > 0 || Rc::strong_count(local) > 1);
        self.guards.borrow_mut().retain(|_, guard| guard.keep() || Rc::strong_count(guard) > 1);
    }
}
