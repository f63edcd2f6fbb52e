//! Which gate stands before one of this pod's ports: that of the service that has the port, as discovery has told this workload.
//!
//! One for each address and worker; follows the catalog for the price of reading a counter. What the pod registers for is told with its
//! policies, before it is ready. Of other services, and by a discovery that tells no limits, it is asked for in the background when the
//! first connection comes; until the answer is there nothing is limited, because no request waits for it.

use super::{Gate, Gates};
use crate::catalog::Catalog;
use crate::error::Failure;
use crate::limit::Place;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use weft_model::limits::ServiceLimits;
use weft_model::{Binding, ServiceName};

pub struct Guard {
    catalog: Catalog,
    gates: Arc<Gates>,
    address: SocketAddr,
    /// What this pod registers as.
    registered: Vec<ServiceName>,
    /// Once found it stays: an endpoint that leaves its service still serves it for a while.
    service: RefCell<Option<ServiceName>>,
    /// The publication of the catalog that `gate` is from.
    seen: Cell<Option<u64>>,
    gate: RefCell<Option<Arc<Gate>>>,
    asking: Cell<bool>,
}

impl Guard {
    pub fn new(catalog: Catalog, gates: Arc<Gates>, address: SocketAddr, registered: Vec<ServiceName>) -> Self {
        let (service, gate) = (RefCell::default(), RefCell::default());
        Self { catalog, gates, address, registered, service, gate, seen: Cell::new(None), asking: Cell::new(false) }
    }

    /// What the service's policy admits; `None`: anything.
    pub fn gate(self: &Rc<Self>) -> Option<Arc<Gate>> {
        // Before the snapshot is read: a publication in between is seen the next time.
        let publication = self.catalog.publications();
        if self.seen.replace(Some(publication)) != Some(publication) {
            self.refresh();
        }
        self.gate.borrow().clone()
    }

    /// A place for one more connection.
    pub fn connect(self: &Rc<Self>) -> Result<Option<Place>, Failure> {
        self.gate().map_or(Ok(None), |gate| gate.connect(Instant::now()))
    }

    /// Whether it is of use: the port has limits, or belongs to a service that was asked for, which this keeps subscribed to.
    pub fn keep(&self) -> bool {
        self.gate.borrow().is_some()
            || self.service.borrow().as_ref().is_some_and(|name| self.catalog.peek(name).is_some())
    }

    fn refresh(self: &Rc<Self>) {
        if self.told() {
            return;
        }
        if self.service.borrow().is_none() {
            *self.service.borrow_mut() = self.find();
        }
        match &*self.service.borrow() {
            None => self.ask(),
            // What is in force stays while the catalog knows nothing.
            Some(name) => {
                if let Some(known) = self.catalog.peek(name) {
                    *self.gate.borrow_mut() = self.gates.of(name, &known.view.policy.limits, Instant::now());
                }
            }
        }
    }

    /// Takes over what has been told of this port. `false`: there is reason to ask.
    fn told(&self) -> bool {
        let snapshot = self.catalog.snapshot();
        let Some(guarded) = &snapshot.guard else { return false };
        let limits = &guarded.policies.limits;
        let here = |told: &&ServiceLimits| told.ports.iter().any(|port| port.get() == self.address.port());
        match limits.iter().find(here) {
            Some(told) => *self.gate.borrow_mut() = self.gates.of(&told.service, &told.limits, Instant::now()),
            // A port of none of its services, or no longer: what was in force stays.
            None => return !limits.is_empty() && !self.registered.is_empty(),
        }
        true
    }

    /// The service that this pod serves on this port, of those that are known.
    fn find(&self) -> Option<ServiceName> {
        let snapshot = self.catalog.snapshot();
        let bound = match snapshot.binding(self.address.ip()) {
            Some(Binding::Endpoint { service, .. }) => Some(service),
            _ => None,
        };
        let serves = |name: &&ServiceName| {
            let Some(known) = snapshot.service(name) else { return false };
            let own = known.view.endpoints.values().filter(|e| e.addresses.contains(&self.address.ip()));
            let ports = &known.view.service.ports;
            own.into_iter().any(|e| ports.iter().any(|port| e.port_for(port).get() == self.address.port()))
        };
        self.registered.iter().chain(bound).find(serves).cloned()
    }

    /// Asks discovery for what this pod may serve; the answer comes with a publication.
    fn ask(self: &Rc<Self>) {
        if self.asking.replace(true) {
            return;
        }
        let guard = Rc::clone(self);
        tokio::task::spawn_local(async move {
            for name in &guard.registered {
                guard.catalog.lookup(name).await;
            }
            if guard.registered.is_empty()
                && let Some(Binding::Endpoint { service, .. }) = guard.catalog.bind(guard.address.ip()).await
            {
                guard.catalog.lookup(&service).await;
            }
            guard.asking.set(false);
        });
    }
}
