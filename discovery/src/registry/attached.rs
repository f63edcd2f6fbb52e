//! Which documents are attached to which services, in the order in which they are heeded.
//!
//! Part of the registry's books. Moving a document tells which services have to be looked at anew, those it leaves as well.

use crate::store::Revision;
use std::collections::{BTreeSet, HashMap};
use weft_model::ServiceName;

/// What is attached to a service, oldest first: by the revision that made it, then by name.
pub(super) type Attached<N> = HashMap<ServiceName, BTreeSet<(Revision, N)>>;

/// Moves a document from the services it was attached to, to those it is attached to; returns both.
pub(super) fn reattach<N: Clone + Ord>(
    attached: &mut Attached<N>,
    document: &N,
    old: Option<(Revision, &[ServiceName])>,
    new: Option<(Revision, &[ServiceName])>,
) -> Vec<ServiceName> {
    if let Some((created, services)) = old {
        for service in services {
            if let Some(documents) = attached.get_mut(service) {
                documents.remove(&(created, document.clone()));
                if documents.is_empty() {
                    attached.remove(service);
                }
            }
        }
    }
    if let Some((created, services)) = new {
        for service in services {
            attached.entry(service.clone()).or_default().insert((created, document.clone()));
        }
    }
    old.into_iter().chain(new).flat_map(|(_, services)| services.iter().cloned()).collect()
}
