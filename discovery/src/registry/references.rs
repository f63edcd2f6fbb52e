//! Which references of a route to services of other namespaces are allowed, and which are refused.
//!
//! Asked when a view is made. Pure. A route may always lead to its own namespace and to that of the service it is attached to,
//! whose clients could go there without it; anywhere else, the owner has to grant it (`ReferenceGrant`).

use crate::record::AttachedRoute;
use weft_model::ServiceName;
use weft_model::route::{Grant, Route};

/// The route as it is attached to `service`, once for each of its ports that it names, with what is not allowed marked as
/// refused. What is no Service is so marked already.
pub(super) fn checked<'a>(
    attached: &AttachedRoute,
    service: &ServiceName,
    grants: impl Iterator<Item = &'a Grant> + Clone,
) -> impl Iterator<Item = Route> {
    let mut route = attached.route.clone();
    let refused = |to: &ServiceName| refused(&attached.route, service, to, grants.clone());
    for rule in &mut route.rules {
        rule.backends.iter_mut().for_each(|backend| backend.refused |= refused(&backend.service));
        rule.mirrors.iter_mut().for_each(|mirror| mirror.refused |= refused(&mirror.service));
    }
    let parents = attached.parents.iter().filter(|parent| parent.service == *service);
    parents.map(move |parent| Route { port: parent.port.or(route.port), ..route.clone() })
}

/// Whether `route`, attached to `parent`, may not refer to `to`.
pub(super) fn refused<'a>(
    route: &Route,
    parent: &ServiceName,
    to: &ServiceName,
    mut grants: impl Iterator<Item = &'a Grant>,
) -> bool {
    to.namespace != route.namespace
        && to.namespace != parent.namespace
        && !grants.any(|grant| grant.allows(route.kind, &route.namespace, to))
}

/// Whether `route` refers to a service of `namespace`, which is not its own.
pub(super) fn any_to(route: &Route, namespace: &str) -> bool {
    let there = |service: &ServiceName| service.namespace == namespace;
    route.namespace != namespace
        && route.rules.iter().any(|rule| {
            rule.backends.iter().any(|backend| there(&backend.service))
                || rule.mirrors.iter().any(|mirror| there(&mirror.service))
        })
}
