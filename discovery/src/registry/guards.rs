//! The registry's books on who may do what: authorization policies by namespace, and which services each workload is of.
//!
//! Beside `state`, which feeds it records and views and publishes what comes out. A workload is named as its proxy and its
//! endpoints are: by namespace and name. Invariant: the world's guards are what they would be if they were built anew.

use super::changes::Target;
use super::world::{Guard, World};
use crate::record::{AttachedAuthorization, Key};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use weft_model::limits::ServiceLimits;
use weft_model::{NamespacePolicy, ServiceName, ServicePort, ServiceView, WorkloadPolicies};

/// The books.
#[derive(Default)]
pub(super) struct Guards {
    namespaces: BTreeMap<String, Guard>,
    touched: BTreeSet<String>,
}

impl Guards {
    /// `None`: it was deleted.
    pub(super) fn authorization(&mut self, namespace: String, name: String, policy: Option<AttachedAuthorization>) {
        let guard = self.namespaces.entry(namespace.clone()).or_default();
        match policy {
            Some(policy) => drop(guard.authorizations.insert(name, policy)),
            None => drop(guard.authorizations.remove(&name)),
        }
        self.touched.insert(namespace);
    }

    pub(super) fn namespace(&mut self, namespace: String, policy: Option<NamespacePolicy>) {
        self.namespaces.entry(namespace.clone()).or_default().policy = policy;
        self.touched.insert(namespace);
    }

    /// The keys of all records that are kept.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.namespaces.iter().flat_map(|(namespace, guard)| {
            let authorization = |name: &String| Key::Authorization { namespace: namespace.clone(), name: name.clone() };
            let policies = guard.authorizations.keys().map(authorization);
            let own = guard.policy.map(|_| Key::Namespace { namespace: namespace.clone(), name: "default".to_owned() });
            policies.chain(own).collect::<Vec<_>>()
        })
    }

    /// Enters what changed into the world.
    pub(super) fn publish(&mut self, world: &mut World, changed: &mut BTreeSet<Target>) {
        for namespace in std::mem::take(&mut self.touched) {
            let now = self.namespaces.get(&namespace).cloned().unwrap_or_default();
            if now == Guard::default() {
                self.namespaces.remove(&namespace);
                world.guards.remove_mut(&namespace);
            } else {
                world.guards.insert_mut(namespace.clone(), Arc::new(now));
            }
            changed.insert(Target::Guard(namespace));
        }
    }
}

/// Enters which workloads have become endpoints of a service, or are none any more. Those whose limits are others hear of it, too.
pub(super) fn enlist(
    world: &mut World,
    service: &ServiceName,
    old: Option<&ServiceView>,
    new: Option<&ServiceView>,
    changed: &mut BTreeSet<Target>,
) {
    let altered = |id: &String| {
        let (Some(old), Some(new)) = (old, new) else { return false };
        let ports = |view: &ServiceView| view.endpoints.get(id).map(|endpoint| endpoint.ports.clone());
        let limits = old.policy.limits != new.policy.limits || old.service.ports != new.service.ports;
        new.endpoints.contains_key(id) && (limits || ports(old) != ports(new))
    };
    let has = |view: Option<&ServiceView>, id: &str| view.is_some_and(|view| view.endpoints.contains_key(id));
    let ids = |view: Option<&'_ ServiceView>| -> Vec<String> {
        view.map(|view| view.endpoints.keys().cloned().collect()).unwrap_or_default()
    };
    let workload = |id: String| Target::Workload { namespace: service.namespace.clone(), name: id };
    changed.extend(ids(old).into_iter().filter(altered).map(workload));
    let gone = ids(old).into_iter().filter(|id| !has(new, id)).map(|id| (id, false));
    let come = ids(new).into_iter().filter(|id| !has(old, id)).map(|id| (id, true));
    for (id, is_endpoint) in gone.chain(come) {
        let workload = (service.namespace.clone(), id.clone());
        let mut services = world.workloads.get(&workload).map(|all| (**all).clone()).unwrap_or_default();
        match is_endpoint {
            true => services.insert(service.clone()),
            false => services.remove(service),
        };
        match services.is_empty() {
            true => drop(world.workloads.remove_mut(&workload)),
            false => world.workloads.insert_mut(workload, Arc::new(services)),
        }
        changed.insert(Target::Workload { namespace: service.namespace.clone(), name: id });
    }
}

impl World {
    /// The policies that select the workload `name` of `namespace`: those of its namespace that are for all, and those for
    /// a service that it is an endpoint of, or that is among `declared`; with what these services limit there.
    pub fn policies(&self, namespace: &str, name: &str, declared: &BTreeSet<ServiceName>) -> WorkloadPolicies {
        let open = Arc::<Guard>::default();
        let guard = self.guards.get(namespace).unwrap_or(&open);
        let services = self.workloads.get(&(namespace.to_owned(), name.to_owned()));
        let is_of =
            |service: &ServiceName| declared.contains(service) || services.is_some_and(|all| all.contains(service));
        let selects =
            |attached: &&AttachedAuthorization| attached.targets.is_empty() || attached.targets.iter().any(is_of);
        let selected = guard.authorizations.values().filter(selects);
        let policies = selected.map(|a| a.policy.clone()).collect();
        // Nobody hears of services of another namespace by declaring them.
        let own = declared.iter().filter(|service| service.namespace == namespace);
        let all: BTreeSet<&ServiceName> = own.chain(services.into_iter().flat_map(|all| all.iter())).collect();
        let limits = all.into_iter().filter_map(|service| self.limits(service, name)).collect();
        WorkloadPolicies { namespace: guard.policy.unwrap_or_default(), policies, limits }
    }

    /// What `service` takes at its endpoint `id`, which need not be there yet.
    fn limits(&self, service: &ServiceName, id: &str) -> Option<ServiceLimits> {
        let view = &self.services.get(service)?.view;
        let endpoint = view.endpoints.get(id);
        let at = |port: &ServicePort| endpoint.map_or(port.target_port, |endpoint| endpoint.port_for(port));
        let ports: BTreeSet<_> = view.service.ports.iter().map(at).collect();
        let (ports, limits) = (ports.into_iter().collect(), view.policy.limits.clone());
        Some(ServiceLimits { service: service.clone(), ports, limits })
    }
}

#[cfg(test)]
#[path = "guards_tests.rs"]
mod tests;
