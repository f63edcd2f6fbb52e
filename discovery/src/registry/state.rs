//! The registry's books: the records as last read, and the world made of them.
//!
//! Decides what a batch of store events changes, without input or output; `follow` feeds it. A value that cannot be read is
//! skipped and leaves the last good one in force. Invariant: the world is what it would be if it were built anew.

use super::attached::{Attached, reattach};
use super::brake::{Brake, BrakeSettings};
use super::changes::Target;
use super::guards::{self, Guards};
use super::references;
use super::world::{Versioned, World};
use crate::record::{AttachedPolicy, AttachedRoute, Content, Key, RecordError, Withdrawal};
use crate::store::{Batch, Entry, Event, Range, Revision};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use weft_model::route::{Grant, RouteKind};
use weft_model::session::SessionKey;
use weft_model::{Binding, Endpoint, Service, ServiceName, ServiceView};

/// Namespace and name of a policy or grant.
type DocumentName = (String, String);

/// Namespace, name and kind of a route.
type RouteName = (String, String, RouteKind);

/// Who says that an address is theirs; the first of them wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    Service(ServiceName),
    Endpoint(ServiceName, String),
}

pub(super) struct State {
    services: HashMap<ServiceName, Service>,
    routes: HashMap<RouteName, (Revision, AttachedRoute)>,
    routes_of: Attached<RouteName>,
    grants: HashMap<DocumentName, Grant>,
    policies: HashMap<DocumentName, (Revision, AttachedPolicy)>,
    policies_of: Attached<DocumentName>,
    endpoints: HashMap<ServiceName, BTreeMap<String, Endpoint>>,
    claims: HashMap<IpAddr, BTreeSet<Claim>>,
    guards: Guards,
    /// Keys whose value cannot be read, and the revision that put it.
    unreadable: HashMap<String, Revision>,
    pub(super) brake: Brake,
    world: World,
    /// Services whose view has to be made anew.
    touched: HashSet<ServiceName>,
    new_session_keys: bool,
    new_grants: bool,
    pub(super) tally: Tally,
}

/// What happened so far, for the registry's counters.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub skipped: u64,
    pub brakes: u64,
}

impl State {
    pub(super) fn new(brake: BrakeSettings) -> Self {
        Self {
            services: HashMap::new(),
            routes: HashMap::new(),
            routes_of: HashMap::new(),
            grants: HashMap::new(),
            policies: HashMap::new(),
            policies_of: HashMap::new(),
            endpoints: HashMap::new(),
            claims: HashMap::new(),
            guards: Guards::default(),
            unreadable: HashMap::new(),
            brake: Brake::new(brake),
            world: World::default(),
            touched: HashSet::new(),
            new_session_keys: false,
            new_grants: false,
            tally: Tally::default(),
        }
    }

    pub(super) fn unreadable(&self) -> impl ExactSizeIterator<Item = &String> {
        self.unreadable.keys()
    }

    pub(super) fn revision(&self) -> Revision {
        self.world.revision
    }

    /// Takes in one revision.
    pub(super) fn apply(&mut self, batch: &Batch, now: Instant) {
        let withdrawn = self.withdrawn(batch.events.iter().filter_map(|event| match event {
            Event::Put(entry) => Some(entry),
            Event::Delete { .. } => None,
        }));
        for event in &batch.events {
            match event {
                Event::Put(entry) => self.put(entry),
                Event::Delete { key } => self.delete(key, &withdrawn, now),
            }
        }
        self.world.revision = batch.revision;
    }

    /// Takes in the whole store, read again: what is not in it any more was deleted at some time. Of the endpoints withdrawn
    /// on purpose only each service's last are known then, so all others that are missing count as lost.
    pub(super) fn resync(&mut self, range: &Range, now: Instant) {
        let present: HashSet<&str> = range.entries.iter().map(|entry| entry.key.as_str()).collect();
        let missing: Vec<String> = self.keys().filter(|key| !present.contains(key.as_str())).collect();
        let withdrawn = self.withdrawn(&range.entries);
        for key in missing {
            self.delete(&key, &withdrawn, now);
        }
        self.unreadable.retain(|key, _| present.contains(key.as_str()));
        for entry in &range.entries {
            self.put(entry);
        }
        self.world.revision = range.revision;
    }

    /// What the store was heard to say of the endpoints of `service`.
    pub(super) fn endpoints_of(&self, service: &ServiceName) -> Option<&BTreeMap<String, Endpoint>> {
        self.endpoints.get(service)
    }

    /// The endpoints that these entries say were taken out on purpose since the world's revision.
    fn withdrawn<'a>(&self, entries: impl IntoIterator<Item = &'a Entry>) -> HashSet<(ServiceName, String)> {
        let new = |entry: &&Entry| entry.modified > self.world.revision && entry.key.starts_with(Key::WITHDRAWALS);
        let read = |entry: &Entry| match Content::decode(entry)? {
            Ok((Key::Withdrawal(service), Content::Withdrawal(Withdrawal { ids }))) => Some((service, ids)),
            _ => None,
        };
        let withdrawals = entries.into_iter().filter(new).filter_map(read);
        withdrawals.flat_map(|(service, ids)| ids.into_iter().map(move |id| (service.clone(), id))).collect()
    }

    /// Lets time pass for the brake.
    pub(super) fn pass(&mut self, now: Instant) {
        self.touched.extend(self.brake.pass(now));
    }

    /// The world as it is now, and what is different from the one before.
    pub(super) fn publish(&mut self) -> (World, BTreeSet<Target>) {
        let mut changed = BTreeSet::new();
        for name in std::mem::take(&mut self.touched) {
            self.renew(name, &mut changed);
        }
        if std::mem::take(&mut self.new_session_keys) {
            changed.insert(Target::SessionKeys);
        }
        if std::mem::take(&mut self.new_grants) {
            // In order, so that equal books make equal worlds.
            let grants: BTreeMap<_, _> = self.grants.iter().collect();
            self.world.grants = grants.into_values().cloned().collect();
        }
        self.guards.publish(&mut self.world, &mut changed);
        self.world.counts.services = self.services.len();
        self.world.counts.routes = self.routes.len();
        self.world.counts.policies = self.policies.len();
        (self.world.clone(), changed)
    }

    fn put(&mut self, entry: &Entry) {
        match Content::decode(entry) {
            None => {}
            Some(Err(error)) => self.skip(entry, &error),
            // An old one, read again, says nothing of what was lost since.
            Some(Ok((key, content))) => {
                self.unreadable.remove(&entry.key);
                // An old withdrawal, read again, says nothing of what was lost since.
                if entry.modified > self.world.revision || !matches!(key, Key::Withdrawal(_)) {
                    self.keep(key, content, entry.created);
                }
            }
        }
    }

    fn keep(&mut self, key: Key, content: Content, created: Revision) {
        match (key, content) {
            (Key::Service(name), Content::Service(record)) => {
                self.services.insert(name.clone(), record.model);
                self.touched.insert(name);
            }
            (Key::Route { kind, namespace, name }, Content::Route(record)) => {
                let document = (namespace, name, kind);
                let services = record.model.services();
                let old = self.routes.insert(document.clone(), (created, record.model));
                let old = old.map(|(created, route)| (created, route.services()));
                let old = old.as_ref().map(|(created, services)| (*created, &services[..]));
                let new = Some((created, &services[..]));
                self.touched.extend(reattach(&mut self.routes_of, &document, old, new));
            }
            (Key::Grant { namespace, name }, Content::Grant(record)) => {
                self.touch_references_to(&namespace);
                self.grants.insert((namespace, name), record.model);
                self.new_grants = true;
            }
            (Key::Policy { namespace, name }, Content::Policy(record)) => {
                let document = (namespace, name);
                let old = self.policies.insert(document.clone(), (created, record.model.clone()));
                let old = old.as_ref().map(|(created, policy)| (*created, &policy.targets[..]));
                let new = Some((created, &record.model.targets[..]));
                self.touched.extend(reattach(&mut self.policies_of, &document, old, new));
            }
            (Key::Authorization { namespace, name }, Content::Authorization(record)) => {
                self.guards.authorization(namespace, name, Some(record.model));
            }
            (Key::Namespace { namespace, .. }, Content::Namespace(record)) => {
                self.guards.namespace(namespace, Some(record.model));
            }
            (Key::Endpoint { service, id }, Content::Endpoint(record)) => {
                self.brake.settled(&service, &id);
                let before = self.endpoints.entry(service.clone()).or_default().insert(id, record.model);
                // Counted as they come and go: to count them all at each change would make a change cost what the mesh is large.
                self.world.counts.endpoints += usize::from(before.is_none());
                self.touched.insert(service);
            }
            (Key::Withdrawal(service), Content::Withdrawal(withdrawal)) => {
                withdrawal.ids.iter().for_each(|id| self.brake.settled(&service, id));
                self.touched.insert(service);
            }
            (Key::SessionKeys, Content::SessionKeys(sessions)) => {
                let keys: Arc<[SessionKey]> = sessions.keys.into();
                self.new_session_keys |= self.world.session_keys != keys;
                self.world.session_keys = keys;
            }
            // `Content::decode` gives a key and a content of one kind.
            _ => {}
        }
    }

    fn skip(&mut self, entry: &Entry, error: &RecordError) {
        if self.unreadable.insert(entry.key.clone(), entry.modified) != Some(entry.modified) {
            self.tally.skipped += 1;
            tracing::warn!(key = %entry.key, %error, "a value in the store is skipped; the last good one stays in force");
        }
    }

    fn delete(&mut self, key: &str, withdrawn: &HashSet<(ServiceName, String)>, now: Instant) {
        self.unreadable.remove(key);
        match Key::parse(key) {
            Some(Ok(Key::Service(name))) => {
                self.services.remove(&name);
                self.touched.insert(name);
            }
            Some(Ok(Key::Route { kind, namespace, name })) => {
                let document = (namespace, name, kind);
                let old = self.routes.remove(&document).map(|(created, route)| (created, route.services()));
                let old = old.as_ref().map(|(created, services)| (*created, &services[..]));
                self.touched.extend(reattach(&mut self.routes_of, &document, old, None));
            }
            Some(Ok(Key::Grant { namespace, name })) => {
                self.touch_references_to(&namespace);
                self.grants.remove(&(namespace, name));
                self.new_grants = true;
            }
            Some(Ok(Key::Policy { namespace, name })) => {
                let document = (namespace, name);
                let old = self.policies.remove(&document);
                let old = old.as_ref().map(|(created, policy)| (*created, &policy.targets[..]));
                self.touched.extend(reattach(&mut self.policies_of, &document, old, None));
            }
            Some(Ok(Key::Authorization { namespace, name })) => self.guards.authorization(namespace, name, None),
            Some(Ok(Key::Namespace { namespace, .. })) => self.guards.namespace(namespace, None),
            Some(Ok(Key::Endpoint { service, id })) => {
                let on_purpose = withdrawn.contains(&(service.clone(), id.clone()));
                self.remove_endpoint(&service, &id, on_purpose, now);
                self.touched.insert(service);
            }
            // Not ours, never taken in, or nothing that could be done without.
            Some(Ok(Key::Withdrawal(_) | Key::SessionKeys) | Err(_)) | None => {}
        }
    }

    fn remove_endpoint(&mut self, service: &ServiceName, id: &str, on_purpose: bool, now: Instant) {
        let Some(endpoints) = self.endpoints.get_mut(service) else { return };
        let Some(endpoint) = endpoints.remove(id) else { return };
        self.world.counts.endpoints -= 1;
        let left = endpoints.len();
        if left == 0 {
            self.endpoints.remove(service);
        }
        if on_purpose {
            self.brake.settled(service, id);
        } else if self.brake.lost(endpoint, left, now) {
            self.tally.brakes += 1;
            tracing::warn!(%service, left, "most endpoints vanished at once; the last good ones are kept for a while");
        }
    }

    /// The keys of all records that are kept.
    fn keys(&self) -> impl Iterator<Item = String> {
        let services = self.services.keys().cloned().map(Key::Service);
        let route = |(namespace, name, kind): &RouteName| Key::Route {
            kind: *kind,
            namespace: namespace.clone(),
            name: name.clone(),
        };
        let grant = |(namespace, name): &DocumentName| Key::Grant { namespace: namespace.clone(), name: name.clone() };
        let policy =
            |(namespace, name): &DocumentName| Key::Policy { namespace: namespace.clone(), name: name.clone() };
        let endpoints = self.endpoints.values().flat_map(BTreeMap::values).map(Key::endpoint);
        let documents = self.routes.keys().map(route).chain(self.policies.keys().map(policy));
        let documents = documents.chain(self.grants.keys().map(grant)).chain(self.guards.keys());
        services.chain(documents).chain(endpoints).map(|key| key.to_string())
    }

    /// Services whose routes refer from elsewhere to services of `namespace`: what they may refer to changes.
    fn touch_references_to(&mut self, namespace: &str) {
        let routes = self.routes.values().filter(|(_, attached)| references::any_to(&attached.route, namespace));
        self.touched.extend(routes.flat_map(|(_, attached)| attached.services()));
    }

    /// Makes one service's view anew and notes what is different.
    fn renew(&mut self, name: ServiceName, changed: &mut BTreeSet<Target>) {
        let old = self.world.services.get(&name).cloned();
        let new = self.view(&name);
        if old.as_ref().map(|old| &old.view) == new.as_ref() {
            return;
        }
        guards::enlist(&mut self.world, &name, old.as_ref().map(|old| &old.view), new.as_ref(), changed);
        let before = old.as_ref().map(|old| claims(&old.view)).unwrap_or_default();
        let after = new.as_ref().map(claims).unwrap_or_default();
        for (address, claim) in before.difference(&after) {
            if let Some(claims) = self.claims.get_mut(address) {
                claims.remove(claim);
            }
        }
        for (address, claim) in after.difference(&before) {
            self.claims.entry(*address).or_default().insert(claim.clone());
        }
        let touched: BTreeSet<IpAddr> = before.symmetric_difference(&after).map(|(address, _)| *address).collect();
        for address in touched {
            if self.bind(address) {
                changed.insert(Target::Address(address));
            }
        }
        match new {
            Some(view) => {
                let versioned = Versioned { view, revision: self.world.revision };
                self.world.services.insert_mut(name.clone(), Arc::new(versioned));
            }
            None => drop(self.world.services.remove_mut(&name)),
        }
        changed.insert(Target::Service(name));
    }

    fn view(&self, name: &ServiceName) -> Option<ServiceView> {
        let service = self.services.get(name)?.clone();
        let routes = self.routes_of.get(name).into_iter().flatten();
        let routes = routes.filter_map(|(_, document)| Some(&self.routes.get(document)?.1));
        let routes = routes.flat_map(|route| references::checked(route, name, self.grants.values())).collect();
        let policy = self.policies_of.get(name).and_then(BTreeSet::first);
        let policy = policy.and_then(|(_, document)| self.policies.get(document));
        let kept = self.brake.kept(name).map(|endpoint| (endpoint.id.clone(), endpoint.clone()));
        let mut endpoints: BTreeMap<String, Endpoint> = kept.collect();
        endpoints.extend(self.endpoints.get(name).cloned().unwrap_or_default());
        Some(ServiceView {
            service,
            routes,
            policy: policy.map(|(_, p)| p.policy.clone()).unwrap_or_default(),
            endpoints,
        })
    }

    /// Enters who has an address now; `true` when that is somebody else than before.
    fn bind(&mut self, address: IpAddr) -> bool {
        let binding = match self.claims.get(&address).and_then(BTreeSet::first) {
            Some(Claim::Service(name)) => Binding::Service(name.clone()),
            Some(Claim::Endpoint(service, id)) => Binding::Endpoint { service: service.clone(), id: id.clone() },
            None => {
                self.claims.remove(&address);
                return self.world.addresses.remove_mut(&address);
            }
        };
        let differs = self.world.addresses.get(&address) != Some(&binding);
        if differs {
            self.world.addresses.insert_mut(address, binding);
        }
        differs
    }
}

/// The addresses that a view says are its own.
fn claims(view: &ServiceView) -> BTreeSet<(IpAddr, Claim)> {
    let name = &view.service.name;
    let own = view.service.virtual_addresses.iter().map(|address| (*address, Claim::Service(name.clone())));
    let endpoints = view.endpoints.values().flat_map(|endpoint| {
        endpoint.addresses.iter().map(|address| (*address, Claim::Endpoint(name.clone(), endpoint.id.clone())))
    });
    own.chain(endpoints).collect()
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
