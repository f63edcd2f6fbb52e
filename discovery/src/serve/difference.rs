//! What a subscriber has to be told, given what it was told last and what is so now.
//!
//! Pure. Applying the answers in order always leads from the one view to the other; `None`: nothing to say.

use crate::registry::Versioned;
use std::sync::Arc;
use weft_model::{ServiceName, ServiceView};
use weft_proto::v1;
use weft_proto::v1::subscribe_response::Body;

/// What a subscriber knows of a service.
#[derive(Debug, Clone, Default)]
pub enum Told {
    #[default]
    Nothing,
    Gone,
    View(Arc<Versioned>),
}

/// The message that leads from `told` to `now`.
pub fn service(name: &ServiceName, told: &Told, now: Option<&Arc<Versioned>>) -> Option<Body> {
    let (before, now) = match (told, now) {
        (Told::Gone, None) => return None,
        (Told::Nothing | Told::View(_), None) => {
            return Some(Body::Gone(v1::ServiceGone { service: wire_name(name) }));
        }
        (Told::Nothing | Told::Gone, Some(now)) => {
            return Some(Body::Snapshot(v1::ServiceSnapshot { view: Some((&now.view).into()) }));
        }
        (Told::View(before), Some(now)) => (before, now),
    };
    if Arc::ptr_eq(before, now) { None } else { delta(name, &before.view, &now.view).map(Body::Delta) }
}

fn delta(name: &ServiceName, before: &ServiceView, now: &ServiceView) -> Option<v1::ServiceDelta> {
    let same = before.service == now.service && before.routes == now.routes && before.policy == now.policy;
    let head = (!same).then(|| v1::ServiceView {
        service: Some((&now.service).into()),
        routes: now.routes.iter().map(Into::into).collect(),
        policy: Some((&now.policy).into()),
        endpoints: Vec::new(),
    });
    let changed = now.endpoints.iter().filter(|(id, endpoint)| before.endpoints.get(*id) != Some(endpoint));
    let upserted: Vec<v1::Endpoint> = changed.map(|(_, endpoint)| endpoint.into()).collect();
    let removed: Vec<String> = before.endpoints.keys().filter(|id| !now.endpoints.contains_key(*id)).cloned().collect();
    let quiet = head.is_none() && upserted.is_empty() && removed.is_empty();
    (!quiet).then(|| v1::ServiceDelta { service: wire_name(name), head, upserted, removed })
}

fn wire_name(name: &ServiceName) -> String {
    format!("{}/{}", name.namespace, name.name)
}
