//! One immutable state of the catalog.
//!
//! Made by [`state`](super::state), read by every worker until the next one is swapped in. A lookup marks what it finds as
//! used, which is all that a reader ever writes; what nobody uses for a while is no longer subscribed to.

use super::guard::Guarded;
use super::health::{Flags, Health, flags};
use crate::affinity::{Home, Keys};
use crate::route::{Matches, Table};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use weft_model::session::Session;
use weft_model::{Binding, ServiceName, ServiceView};

/// Whether something was looked up since the last time somebody asked. Shared by all versions of the same thing.
#[derive(Debug, Clone, Default)]
pub(super) struct Usage(Arc<AtomicBool>);

impl Usage {
    fn mark(&self) {
        // Read first: a line that all workers only read stays in all their caches.
        if !self.0.load(Ordering::Relaxed) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Whether there was any use since the last call.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// A service, with its routes compiled.
#[derive(Debug)]
pub struct Known {
    pub view: ServiceView,
    /// The view's routes, ready for use; shared by versions whose routes are the same.
    pub table: Arc<Table>,
    /// The sessions that the policy asks for.
    pub affinity: Option<Arc<Session>>,
    /// What session tokens call the service.
    pub home: [u8; 8],
    /// Which requests the policy's faults are for; `None`: it asks for none.
    pub faults: Option<Arc<Matches>>,
    /// Of the store, when this was so.
    pub revision: u64,
    /// What active checks have found, where the policy asks for them.
    health: Flags,
    /// A request or connection of this pod has gone there. Shared by all versions.
    called: Arc<AtomicBool>,
    pub(super) usage: Usage,
}

impl Known {
    pub fn new(view: ServiceView, revision: u64) -> Self {
        let table = Arc::new(Table::compile(&view.service.name, &view.routes));
        let affinity = view.policy.affinity.clone().map(Arc::new);
        let home = Home::of(&view.service.name, "").service;
        let health = flags(&view, None);
        let (faults, called) = (faults(&view), Arc::default());
        Self { table, affinity, home, health, called, faults, view, revision, usage: Usage::default() }
    }

    /// The flag of the endpoint `id`, where the policy asks for active checks.
    pub fn health_of(&self, id: &str) -> Option<&Health> {
        self.health.get(id)
    }

    /// Notes that the pod calls it. Whether that is new.
    pub fn call(&self) -> bool {
        !self.called.swap(true, Ordering::Relaxed)
    }

    /// Whether the pod has called it, and not just looked at it: it is an endpoint of it, for one.
    pub fn is_called(&self) -> bool {
        self.called.load(Ordering::Relaxed)
    }

    /// The version that comes after this one.
    pub(super) fn followed_by(&self, view: ServiceView, revision: u64) -> Self {
        let table = match view.routes == self.view.routes {
            true => self.table.clone(),
            false => Arc::new(Table::compile(&view.service.name, &view.routes)),
        };
        let affinity = match view.policy.affinity == self.view.policy.affinity {
            true => self.affinity.clone(),
            false => view.policy.affinity.clone().map(Arc::new),
        };
        let health = flags(&view, Some((&self.view, &self.health)));
        let faults = match view.policy.faults == self.view.policy.faults {
            true => self.faults.clone(),
            false => faults(&view),
        };
        let (called, usage) = (Arc::clone(&self.called), self.usage.clone());
        Self { table, affinity, home: self.home, health, called, faults, view, revision, usage }
    }

    /// The first version of what `usage` has been watching.
    pub(super) fn watched_by(self, usage: Usage) -> Self {
        Self { usage, ..self }
    }
}

fn faults(view: &ServiceView) -> Option<Arc<Matches>> {
    view.policy.faults.as_ref().map(|faults| Arc::new(Matches::compile(&faults.matches)))
}

/// What an address stands for.
#[derive(Debug, Clone)]
pub struct Bound {
    pub binding: Binding,
    pub(super) usage: Usage,
}

impl Bound {
    pub fn new(binding: Binding) -> Self {
        Self { binding, usage: Usage::default() }
    }
}

/// All that is known at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub services: HashMap<ServiceName, Arc<Known>>,
    /// What discovery said of addresses, and the virtual addresses of `services`.
    pub addresses: HashMap<IpAddr, Bound>,
    /// Services that discovery says do not exist.
    pub(super) absent: HashMap<ServiceName, Usage>,
    pub session_keys: Arc<Keys>,
    /// What selects this workload; `None`: never told.
    pub guard: Option<Arc<Guarded>>,
    /// The highest revision among the messages of the present stream.
    pub revision: u64,
}

impl Snapshot {
    /// A snapshot of `services` and nothing else.
    pub fn of(services: impl IntoIterator<Item = Known>) -> Self {
        let mut snapshot = Self::default();
        for known in services {
            snapshot.revision = snapshot.revision.max(known.revision);
            snapshot.insert(Arc::new(known));
        }
        snapshot
    }

    /// Adds a service and its virtual addresses; an address that discovery has bound to something else stays with that.
    pub(super) fn insert(&mut self, known: Arc<Known>) {
        let name = &known.view.service.name;
        for address in &known.view.service.virtual_addresses {
            let free = self.addresses.get(address).is_none_or(|bound| bound.binding == Binding::Unknown);
            if free {
                let binding = Binding::Service(name.clone());
                self.addresses.insert(*address, Bound { binding, usage: known.usage.clone() });
            }
        }
        self.services.insert(name.clone(), known);
    }

    /// The service, marked as used.
    pub fn service(&self, name: &ServiceName) -> Option<&Arc<Known>> {
        self.services.get(name).inspect(|known| known.usage.mark())
    }

    /// What is known of the address, marked as used.
    pub fn binding(&self, address: IpAddr) -> Option<&Binding> {
        let bound = self.addresses.get(&address)?;
        bound.usage.mark();
        Some(&bound.binding)
    }

    /// Whether discovery says that there is no such service; marked as used.
    pub fn is_absent(&self, name: &ServiceName) -> bool {
        self.absent.get(name).inspect(|usage| usage.mark()).is_some()
    }

    /// An endpoint of a known service that has this address. Looks through all of them.
    pub fn endpoint_at(&self, address: IpAddr) -> Option<Binding> {
        let endpoints = self.services.values().flat_map(|known| known.view.endpoints.values());
        let found = endpoints.into_iter().find(|endpoint| endpoint.addresses.contains(&address))?;
        Some(Binding::Endpoint { service: found.service.clone(), id: found.id.clone() })
    }
}
