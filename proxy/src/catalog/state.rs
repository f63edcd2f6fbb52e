//! What the stream's messages make of the catalog: message in, new state and subscriptions out. Pure: no sockets, no clock.
//!
//! Between [`stream`](super::stream), which moves messages, and [`Snapshot`], which is published. A message that does not
//! hold what the model promises is refused and changes nothing; a service whose deltas went astray is asked for afresh,
//! and what was known of it stays until the answer is there.

pub mod unused;

use super::Target;
use super::guard::Guarded;
use super::snapshot::{Bound, Known, Snapshot, Usage};
use crate::affinity::Keys;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use weft_model::{Binding, Endpoint, ServiceName, ServiceView};
use weft_proto::convert::{ConvertError, session_keys};
use weft_proto::v1;
use weft_proto::v1::subscribe_response::Body;

/// What is to be said to discovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    Subscribe(Target),
    /// What selects this workload, which is registered for these services.
    Guard(Arc<[ServiceName]>),
    Unsubscribe(Target),
    /// Subscribes to a service of which an endpoint cannot be reached.
    Doubt(ServiceName),
}

/// How a service's entry stands towards the present stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sync {
    /// Subscribed to; the snapshot is on its way.
    Awaited,
    /// Deltas apply.
    Current,
    /// A message was refused: further deltas would apply to something else than discovery thinks.
    Lost,
}

#[derive(Debug)]
enum Said {
    Nothing,
    Known(Arc<Known>),
    Absent,
}

#[derive(Debug)]
struct ServiceEntry {
    said: Said,
    sync: Sync,
    usage: Usage,
    last_used: Instant,
}

#[derive(Debug)]
struct AddressEntry {
    /// `None`: nothing said yet.
    binding: Option<Binding>,
    usage: Usage,
    last_used: Instant,
}

/// All subscriptions and what came of them.
#[derive(Debug, Default)]
pub struct State {
    /// The proxy's own: routes that are for others are dropped.
    namespace: String,
    /// The proxy's own, as far as it is known.
    node: Option<String>,
    services: HashMap<ServiceName, ServiceEntry>,
    addresses: HashMap<IpAddr, AddressEntry>,
    session_keys: Arc<Keys>,
    /// What this workload registers for, if its policies are to be known.
    workload: Option<Arc<[ServiceName]>>,
    guard: Option<Arc<Guarded>>,
    revision: u64,
    /// The next message is the first of its stream, whose replica may be behind the one before.
    begun: bool,
}

impl State {
    /// For a proxy of `namespace`.
    pub fn of(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..Self::default() }
    }

    /// On this node; empty: nobody knows.
    pub fn on(self, node: &str) -> Self {
        Self { node: Some(node.to_owned()).filter(|node| !node.is_empty()), ..self }
    }

    /// Asks for the policies of this workload, too, which is registered for `services`.
    pub fn guarding(self, services: Arc<[ServiceName]>) -> Self {
        Self { workload: Some(services), ..self }
    }

    /// Somebody asks for `target`. Returns what to say to discovery, which is nothing for what is subscribed to already.
    pub fn want(&mut self, target: Target, now: Instant) -> Vec<Wish> {
        let mut wishes = Vec::new();
        self.subscribe(target, now, &mut wishes);
        self.evict(&mut wishes);
        wishes
    }

    fn subscribe(&mut self, target: Target, now: Instant, wishes: &mut Vec<Wish>) {
        let usage = Usage::default();
        match &target {
            Target::Service(name) if !self.services.contains_key(name) => {
                let entry = ServiceEntry { said: Said::Nothing, sync: Sync::Awaited, usage, last_used: now };
                self.services.insert(name.clone(), entry);
            }
            Target::Address(address) if !self.addresses.contains_key(address) => {
                self.addresses.insert(*address, AddressEntry { binding: None, usage, last_used: now });
            }
            Target::Service(_) | Target::Address(_) => return,
        }
        wishes.push(Wish::Subscribe(target));
    }

    /// Has the present state of `name`, of which an endpoint cannot be reached, sent again, unless it is on its way. What is known
    /// stays until it is there.
    pub fn doubt(&mut self, name: &ServiceName) -> Vec<Wish> {
        match self.services.get_mut(name).filter(|entry| entry.sync == Sync::Current) {
            Some(entry) => {
                entry.sync = Sync::Awaited;
                vec![Wish::Unsubscribe(Target::Service(name.clone())), Wish::Doubt(name.clone())]
            }
            None => Vec::new(),
        }
    }

    /// The policies of this workload have been told, now or to an earlier process.
    pub fn is_guarded(&self) -> bool {
        self.guard.is_some()
    }

    /// A stream begins: discovery knows nothing of the old one's subscriptions. What is known stays until it answers. `guarding`: the
    /// policies of this workload are asked for.
    pub fn begin(&mut self, guarding: bool) -> Vec<Wish> {
        self.begun = true;
        self.services.values_mut().for_each(|entry| entry.sync = Sync::Awaited);
        let services = self.services.keys().cloned().map(Target::Service);
        let targets = services.chain(self.addresses.keys().copied().map(Target::Address));
        self.workload
            .clone()
            .filter(|_| guarding)
            .map(Wish::Guard)
            .into_iter()
            .chain(targets.map(Wish::Subscribe))
            .collect()
    }

    /// Takes one message. `Err`: it is refused, and the state is as before but for what is to be asked afresh, which is
    /// returned with the reason.
    pub fn apply(
        &mut self,
        message: v1::SubscribeResponse,
        now: Instant,
    ) -> Result<Vec<Wish>, (ConvertError, Vec<Wish>)> {
        let revision = message.revision;
        let result = match message.body {
            Some(Body::Snapshot(snapshot)) => self.replace(snapshot, revision, now),
            Some(Body::Delta(delta)) => self.change(delta, revision, now),
            Some(Body::Gone(gone)) => self.forget(&gone.service),
            Some(Body::Binding(binding)) => self.bind(binding, now),
            Some(Body::SessionKeys(keys)) => self.seal_with(keys),
            Some(Body::Policies(policies)) => self.guard_by(policies, revision),
            // Beats, questions and trust anchors are the stream's own affair.
            Some(
                Body::Beat(_) | Body::Dump(_) | Body::Ask(_) | Body::Tap(_) | Body::Untap(_) | Body::TrustAnchors(_),
            )
            | None => {
                return Ok(Vec::new());
            }
        };
        if result.is_ok() {
            self.revision = if std::mem::take(&mut self.begun) { revision } else { self.revision.max(revision) };
        }
        result
    }

    /// The highest revision of this stream's messages; before its first one, that of the stream before.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    fn replace(&mut self, wire: v1::ServiceSnapshot, revision: u64, now: Instant) -> Applied {
        let named = wire.view.as_ref().and_then(|view| view.service.as_ref()).map(|service| service.name.clone());
        let view = wire.view.ok_or_else(|| ConvertError::new("snapshot.view", "missing"));
        let view = match view.and_then(ServiceView::try_from) {
            Ok(view) => view,
            Err(error) => {
                let entry = named.and_then(|name| ServiceName::parse(&name).ok());
                if let Some(entry) = entry.and_then(|name| self.services.get_mut(&name)) {
                    entry.sync = Sync::Lost;
                }
                return Err((error, Vec::new()));
            }
        };
        // Unsubscribed from while the snapshot was on its way.
        let Some(entry) = self.services.get_mut(&view.service.name) else { return Ok(Vec::new()) };
        entry.sync = Sync::Current;
        Ok(self.put(view, revision, now))
    }

    fn put(&mut self, mut view: ServiceView, revision: u64, now: Instant) -> Vec<Wish> {
        view.keep_routes_for(&self.namespace);
        if let Some(node) = &self.node {
            view.keep_to_node(node);
        }
        let mut wishes = Vec::new();
        for backend in view.led_to() {
            self.subscribe(Target::Service(backend.clone()), now, &mut wishes);
        }
        if let Some(entry) = self.services.get_mut(&view.service.name) {
            let known = match &entry.said {
                Said::Known(before) => before.followed_by(view, revision),
                Said::Nothing | Said::Absent => Known::new(view, revision).watched_by(entry.usage.clone()),
            };
            entry.said = Said::Known(Arc::new(known));
        }
        wishes
    }

    fn change(&mut self, delta: v1::ServiceDelta, revision: u64, now: Instant) -> Applied {
        let name = ServiceName::parse(&delta.service)
            .map_err(|error| (ConvertError::new("delta.service", error), Vec::new()))?;
        let Some(entry) = self.services.get_mut(&name) else { return Ok(Vec::new()) };
        let known = match (&entry.said, entry.sync) {
            (Said::Known(known), Sync::Current) => known,
            // A delta from before the subscription was renewed.
            (_, Sync::Awaited) => return Ok(Vec::new()),
            (_, Sync::Current | Sync::Lost) => {
                entry.sync = Sync::Awaited;
                let error = ConvertError::new("delta", format!("of {name}, whose snapshot is not known here"));
                return Err((error, renewed(name)));
            }
        };
        match changed(&known.view, delta) {
            // The weights that were told are not known any more.
            Ok(view) if view.service.node_local != known.view.service.node_local => {
                entry.sync = Sync::Awaited;
                Ok(renewed(name))
            }
            Ok(view) => Ok(self.put(view, revision, now)),
            Err(error) => {
                entry.sync = Sync::Awaited;
                Err((error, renewed(name)))
            }
        }
    }

    fn forget(&mut self, name: &str) -> Applied {
        let name = ServiceName::parse(name).map_err(|error| (ConvertError::new("gone.service", error), Vec::new()))?;
        if let Some(entry) = self.services.get_mut(&name) {
            (entry.said, entry.sync) = (Said::Absent, Sync::Current);
        }
        Ok(Vec::new())
    }

    fn bind(&mut self, wire: v1::AddressBinding, now: Instant) -> Applied {
        let (address, binding) = wire.try_into().map_err(|error| (error, Vec::new()))?;
        let Some(entry) = self.addresses.get_mut(&address) else { return Ok(Vec::new()) };
        let mut wishes = Vec::new();
        let service = match &binding {
            Binding::Service(service) | Binding::Endpoint { service, .. } => Some(service.clone()),
            Binding::Unknown => None,
        };
        entry.binding = Some(binding);
        if let Some(service) = service {
            // Whoever dialled the address is about to ask for it.
            self.subscribe(Target::Service(service), now, &mut wishes);
        }
        Ok(wishes)
    }

    fn seal_with(&mut self, wire: v1::SessionKeys) -> Applied {
        let keys = session_keys(wire).map_err(|error| (error, Vec::new()))?;
        self.session_keys = Arc::new(Keys::new(keys));
        Ok(Vec::new())
    }

    fn guard_by(&mut self, wire: v1::WorkloadPolicies, revision: u64) -> Applied {
        self.guard = Some(Guarded::told(wire, revision).map_err(|error| (error, Vec::new()))?);
        Ok(Vec::new())
    }

    /// What is known now.
    pub fn snapshot(&self) -> Snapshot {
        let (revision, guard) = (self.revision, self.guard.clone());
        let session_keys = self.session_keys.clone();
        let mut snapshot = Snapshot { revision, guard, session_keys, ..Snapshot::default() };
        for (address, entry) in &self.addresses {
            if let Some(binding) = entry.binding.clone() {
                snapshot.addresses.insert(*address, Bound { binding, usage: entry.usage.clone() });
            }
        }
        for (name, entry) in &self.services {
            match &entry.said {
                Said::Known(known) => snapshot.insert(known.clone()),
                Said::Absent => {
                    snapshot.absent.insert(name.clone(), entry.usage.clone());
                }
                Said::Nothing => {}
            }
        }
        snapshot
    }

    /// Takes over what an earlier process knew, as far as nothing is known yet.
    pub fn restore(&mut self, snapshot: Snapshot, now: Instant) {
        self.revision = self.revision.max(snapshot.revision);
        if self.session_keys.given().is_empty() {
            self.session_keys = snapshot.session_keys;
        }
        self.guard = self.guard.take().or(snapshot.guard);
        for (name, known) in snapshot.services {
            let usage = known.usage.clone();
            let entry = ServiceEntry { said: Said::Known(known), sync: Sync::Awaited, usage, last_used: now };
            self.services.entry(name).or_insert(entry);
        }
        for (address, Bound { binding, usage }) in snapshot.addresses {
            let entry = AddressEntry { binding: Some(binding), usage, last_used: now };
            self.addresses.entry(address).or_insert(entry);
        }
    }

    /// How many subscriptions there are.
    pub fn subscriptions(&self) -> usize {
        self.services.len() + self.addresses.len()
    }
}

type Applied = Result<Vec<Wish>, (ConvertError, Vec<Wish>)>;

/// Asks for a snapshot of what is subscribed to already.
fn renewed(name: ServiceName) -> Vec<Wish> {
    vec![Wish::Unsubscribe(Target::Service(name.clone())), Wish::Subscribe(Target::Service(name))]
}

/// `view` with `delta` applied; nothing of it when any part is refused.
fn changed(view: &ServiceView, delta: v1::ServiceDelta) -> Result<ServiceView, ConvertError> {
    let mut next = match delta.head {
        Some(head) => {
            let mut head = ServiceView::try_from(v1::ServiceView { endpoints: Vec::new(), ..head })?;
            if head.service.name != view.service.name {
                return Err(ConvertError::new("head.service.name", format!("is {}", head.service.name)));
            }
            head.endpoints.clone_from(&view.endpoints);
            head
        }
        None => view.clone(),
    };
    for id in &delta.removed {
        next.endpoints.remove(id);
    }
    for (n, endpoint) in delta.upserted.into_iter().enumerate() {
        let field = |error: ConvertError| ConvertError::new(format!("upserted[{n}].{}", error.field), error.reason);
        let endpoint = Endpoint::try_from(endpoint).map_err(field)?;
        if endpoint.service != next.service.name {
            return Err(ConvertError::new(format!("upserted[{n}].service"), format!("is {}", endpoint.service)));
        }
        next.endpoints.insert(endpoint.id.clone(), endpoint);
    }
    Ok(next)
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
