//! What this proxy knows and would do, as JSON: for `/dump` and for `weftctl proxy dump`.
//!
//! Beside the request path. Reads one snapshot of the catalog; never blocks and never fails.

use crate::catalog::{Catalog, Describe};
use crate::config::Config;
use serde_json::{Value, json};
use std::sync::Arc;

/// The description of a proxy with `config` and `catalog`, made anew at every call.
pub fn what(config: Arc<Config>, catalog: Catalog) -> Describe {
    Arc::new(move || describe(&config, &catalog).to_string())
}

fn describe(config: &Config, catalog: &Catalog) -> Value {
    let snapshot = catalog.snapshot();
    let mut services: Vec<_> = snapshot.services.values().collect();
    services.sort_by(|a, b| a.view.service.name.cmp(&b.view.service.name));
    let mut addresses: Vec<_> = snapshot.addresses.iter().collect();
    addresses.sort_by_key(|(address, _)| **address);
    json!({
        "proxy": config.name,
        "namespace": config.namespace,
        "identity": config.identity(),
        "zone": config.zone,
        "version": env!("CARGO_PKG_VERSION"),
        "workers": config.workers,
        "connected": catalog.connected(),
        "revision": catalog.revision(),
        "authorization": snapshot.guard.as_ref().map(|guarded| &guarded.policies),
        "services": services.iter().map(|known| json!({
            "revision": known.revision,
            "service": known.view.service,
            "routes": known.view.routes,
            "policy": known.view.policy,
            "endpoints": known.view.endpoints.values().collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "addresses": addresses.iter().map(|(address, bound)| json!({
            "address": address,
            "binding": bound.binding,
        })).collect::<Vec<_>>(),
    })
}
