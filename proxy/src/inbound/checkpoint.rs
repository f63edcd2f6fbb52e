//! One connection at the gate: asks `authorize` about it and about each of its requests, and tells what was denied.
//!
//! A part of `inbound`. The connection's own part is decided once for each version of the policies, so that a new version
//! holds from the next request on. Where discovery has never told any policy, everything is let in, after a short wait.

use crate::authorize::path::Ambiguous;
use crate::authorize::{Peer, Scope, Verdict};
use crate::error::Failure;
use crate::request::RequestView;
use crate::worker::Worker;
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use weft_model::SpiffeId;

/// What is asked about one connection.
pub(super) struct Checkpoint {
    worker: Rc<Worker>,
    identity: Option<SpiffeId>,
    address: IpAddr,
    port: u16,
    scope: RefCell<Option<Scope>>,
    /// A refusal of this connection has been logged for all to see; the others are told in detail only.
    logged: Cell<bool>,
}

impl Checkpoint {
    pub fn new(worker: Rc<Worker>, address: IpAddr, port: u16) -> Self {
        let address = address.to_canonical();
        Self { worker, identity: None, address, port, scope: RefCell::default(), logged: Cell::default() }
    }

    /// The handshake has proved who the client is. Before anything is asked.
    pub fn identified(&mut self, identity: SpiffeId) {
        self.identity = Some(identity);
    }

    /// Who the client has proved to be.
    pub fn identity(&self) -> Option<&SpiffeId> {
        self.identity.as_ref()
    }

    /// Where it calls from.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Waits until policies have been told once; not at all when they have been, and no longer than an unknown destination
    /// waits.
    pub async fn told(&self) {
        let catalog = &self.worker.shared.catalog;
        let known = catalog.snapshot().guard.is_some();
        if !known && catalog.guard().await.is_none() {
            tracing::debug!("no policies were ever told; the connection is let in");
        }
    }

    /// Refuses what will be refused whatever it says.
    pub fn surely(&self) -> Result<(), Failure> {
        let denied = |scope: &Scope| scope.settled().filter(|verdict| !verdict.allowed).cloned();
        match self.with_scope(denied).flatten() {
            Some(verdict) => self.carry_out(&verdict, "", ""),
            None => Ok(()),
        }
    }

    /// A connection whose bytes are not read.
    pub fn opaque(&self) -> Result<(), Failure> {
        match self.about_opaque() {
            Some(verdict) => self.carry_out(&verdict, "", ""),
            None => Ok(()),
        }
    }

    /// The verdict, which nobody hears of. `None`: there is nothing to ask.
    pub fn about_opaque(&self) -> Option<Verdict> {
        self.with_scope(Scope::opaque)
    }

    /// The verdict about a request, likewise.
    pub fn about(&self, request: &impl RequestView) -> Option<Result<Verdict, Ambiguous>> {
        self.with_scope(|scope| scope.request(request))
    }

    pub fn request(&self, request: &impl RequestView) -> Result<(), Failure> {
        match self.about(request) {
            None => Ok(()),
            Some(Ok(verdict)) => self.carry_out(&verdict, request.method(), request.path()),
            Some(Err(ambiguous)) => {
                tracing::debug!(path = request.path(), why = ambiguous.0, "a path that policies cannot be applied to");
                Err(Failure::MalformedRequest(ambiguous.0))
            }
        }
    }

    /// `None`: there is nothing to ask.
    fn with_scope<T>(&self, ask: impl FnOnce(&Scope) -> T) -> Option<T> {
        let snapshot = self.worker.shared.catalog.snapshot();
        let table = snapshot.guard.as_ref()?.table.as_ref()?;
        let mut scope = self.scope.borrow_mut();
        let scope = match &mut *scope {
            Some(scope) if scope.is_of(table) => scope,
            stale => {
                let peer = Peer { identity: self.identity.as_ref(), address: self.address, port: self.port };
                stale.insert(table.scope(&peer))
            }
        };
        Some(ask(scope))
    }

    fn carry_out(&self, verdict: &Verdict, method: &str, path: &str) -> Result<(), Failure> {
        let metrics = &self.worker.shared.metrics;
        if !verdict.allowed {
            metrics.denied(&verdict.policy);
            self.log(&verdict.policy, "denied", method, path);
            return Err(Failure::Denied(verdict.policy.clone()));
        }
        if let Some(policy) = &verdict.audit {
            metrics.audited(policy);
            self.log(policy, "audited", method, path);
        }
        Ok(())
    }

    fn log(&self, policy: &str, outcome: &str, method: &str, path: &str) {
        let identity = self.identity.as_ref().map(ToString::to_string).unwrap_or_default();
        let (address, port) = (self.address, self.port);
        match self.logged.replace(true) {
            false => tracing::info!(policy, outcome, identity, %address, port, method, path, "authorization"),
            true => tracing::debug!(policy, outcome, identity, %address, port, method, path, "authorization"),
        }
    }
}
