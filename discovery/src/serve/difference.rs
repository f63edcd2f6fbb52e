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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};
    use weft_model::{Endpoint, EndpointState, Hints, Protocol, Service, ServicePort, TrafficPolicy};

    fn name() -> ServiceName {
        ServiceName::new("shop", "cart").unwrap()
    }

    /// A view made of a port, a number of tries, and endpoints with a weight each.
    fn view((port, attempts, endpoints): (u8, u8, BTreeMap<u8, u8>)) -> Arc<Versioned> {
        let port = std::num::NonZeroU16::MIN.saturating_add(port.into());
        let ports = vec![ServicePort { name: String::new(), port, target_port: port, protocol: Protocol::Http }];
        let mut policy = TrafficPolicy::default();
        policy.retry.attempts = attempts.into();
        let endpoint = |(id, weight): (u8, u8)| Endpoint {
            id: id.to_string(),
            service: name(),
            addresses: vec![[10, 0, 0, id].into()],
            ports: BTreeMap::new(),
            weight: weight.into(),
            zone: None,
            node: None,
            hints: Hints::default(),
            hostname: None,
            priority: 0,
            location: None,
            identity: None,
            state: EndpointState::Ready,
        };
        let endpoints = endpoints.into_iter().map(endpoint).map(|e| (e.id.clone(), e)).collect();
        let service = Service { name: name(), virtual_addresses: Vec::new(), ports, node_local: false };
        Arc::new(Versioned { view: ServiceView { service, routes: Vec::new(), policy, endpoints }, revision: 1 })
    }

    /// What a proxy makes of a message, by the comments in `discovery.proto`.
    fn take(known: &mut Option<v1::ServiceView>, message: Body) {
        match message {
            Body::Snapshot(snapshot) => *known = snapshot.view,
            Body::Gone(_) => *known = None,
            Body::Delta(delta) => {
                let known = known.as_mut().expect("a delta follows a snapshot");
                let head = delta.head.unwrap_or_else(|| known.clone());
                let outdated: BTreeSet<&String> =
                    delta.upserted.iter().map(|endpoint| &endpoint.id).chain(&delta.removed).collect();
                let mut endpoints = known.endpoints.clone();
                endpoints.retain(|endpoint| !outdated.contains(&endpoint.id));
                endpoints.extend(delta.upserted.iter().cloned());
                endpoints.sort_by(|a, b| a.id.cmp(&b.id));
                *known = v1::ServiceView { endpoints, ..head };
            }
            other => panic!("{other:?} is not about a service"),
        }
    }

    type Shape = (u8, u8, BTreeMap<u8, u8>);

    proptest! {
        #[test]
        fn the_messages_lead_from_view_to_view(history: Vec<Option<Shape>>) {
            let (mut told, mut known) = (Told::Nothing, None);
            for shape in history {
                let now = shape.map(view);
                if let Some(message) = service(&name(), &told, now.as_ref()) {
                    take(&mut known, message);
                }
                prop_assert_eq!(&known, &now.as_ref().map(|now| (&now.view).into()));
                told = now.map_or(Told::Gone, Told::View);
                let again = if let Told::View(view) = &told { Some(Arc::new(Versioned::clone(view))) } else { None };
                prop_assert!(service(&name(), &told, again.as_ref()).is_none(), "nothing is said twice");
            }
        }
    }

    #[test]
    fn only_what_changed_is_sent() {
        let before = view((0, 2, (0..100).map(|n| (n, 1)).collect()));
        let mut now = Versioned::clone(&before);
        now.view.endpoints.remove("7");
        now.view.endpoints.get_mut("8").unwrap().state = EndpointState::Terminating;
        let Some(Body::Delta(delta)) = service(&name(), &Told::View(before), Some(&Arc::new(now))) else { panic!() };
        assert_eq!((delta.head, delta.removed), (None, vec!["7".to_owned()]));
        assert_eq!(delta.upserted.iter().map(|endpoint| endpoint.id.as_str()).collect::<Vec<_>>(), ["8"]);
    }
}
