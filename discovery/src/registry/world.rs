//! The world: every service's view and what every address stands for, at one revision.
//!
//! A persistent map: a new world shares all that did not change with the one before, so that a change costs its own size.
//! Invariant: a service in the map has a Service document; endpoints without one are not shown.

use crate::record::AttachedAuthorization;
use crate::store::Revision;
use rpds::HashTrieMapSync;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use weft_model::route::Grant;
use weft_model::session::SessionKey;
use weft_model::{Binding, NamespacePolicy, ServiceName, ServiceView};

/// A view and the revision that made it what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Versioned {
    pub view: ServiceView,
    pub revision: Revision,
}

/// What a namespace says about access to its workloads.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Guard {
    pub(super) policy: Option<NamespacePolicy>,
    /// By name.
    pub(super) authorizations: BTreeMap<String, AttachedAuthorization>,
}

/// How much there is in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub services: usize,
    /// With those of services that have no document yet, without those that only the brake keeps.
    pub endpoints: usize,
    pub routes: usize,
    pub policies: usize,
}

/// The mesh at one revision of the store.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct World {
    pub(super) revision: Revision,
    pub(super) services: HashTrieMapSync<ServiceName, Arc<Versioned>>,
    pub(super) addresses: HashTrieMapSync<IpAddr, Binding>,
    pub(super) session_keys: Arc<[SessionKey]>,
    pub(super) grants: Arc<[Grant]>,
    pub(super) guards: HashTrieMapSync<String, Arc<Guard>>,
    /// The services of each workload, by namespace and name.
    pub(super) workloads: HashTrieMapSync<(String, String), Arc<BTreeSet<ServiceName>>>,
    pub(super) counts: Counts,
}

impl World {
    pub fn revision(&self) -> Revision {
        self.revision
    }

    pub fn service(&self, name: &ServiceName) -> Option<&Arc<Versioned>> {
        self.services.get(name)
    }

    /// All services, in no particular order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Versioned>> {
        self.services.values()
    }

    /// What an address stands for: a virtual address before an endpoint's, and among several of a kind the first by name.
    pub fn binding(&self, address: IpAddr) -> Binding {
        self.addresses.get(&address).cloned().unwrap_or(Binding::Unknown)
    }

    /// What session tokens are sealed with.
    pub fn session_keys(&self) -> &[SessionKey] {
        &self.session_keys
    }

    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }
}
