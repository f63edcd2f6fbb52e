//! Weft's `Endpoint` document: an instance that somebody describes instead of it registering itself.
//!
//! For workloads without a sidecar, or with one that cannot register. With a `serviceAccount` the endpoint is meshed:
//! proxies speak mTLS to exactly that identity, and never plaintext.

use super::fault::Faults;
use super::field;
use serde::Deserialize;
use std::collections::BTreeMap;
use weft_model::balance::Location;
use weft_model::{Endpoint, EndpointState, Hints, SpiffeId};

/// `spec` of `weft.dev/v1alpha1 Endpoint`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct EndpointSpec {
    /// The service it serves, of the same namespace.
    service: String,
    /// IP addresses, one or two (of different families).
    addresses: Vec<String>,
    /// Ports it listens on by the service's port names, where they are not the service's target ports.
    #[serde(default)]
    ports: BTreeMap<String, i64>,
    /// Its share against the others', 0 to 1000000; 0: no new requests. Default 1.
    weight: Option<i64>,
    /// The zone it runs in.
    zone: Option<String>,
    /// The machine it runs on.
    node: Option<String>,
    /// 0 (the default) is used first; endpoints of the next priority, at most 100, take over as far as too few of those before
    /// them are healthy.
    priority: Option<i64>,
    /// Where the instance stands, for the balancer `nearest`.
    location: Option<LocationSpec>,
    /// The account its sidecar proves to be. Left out: it has no sidecar, and is called in the clear.
    service_account: Option<String>,
}

/// In degrees.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct LocationSpec {
    /// -90 to 90, north is positive.
    latitude: f64,
    /// -180 to 180, east is positive.
    longitude: f64,
}

/// More levels of fallback than that are taken for a mistake.
const MAX_PRIORITY: i64 = 100;
/// The heaviest weight, as in Gateway API's `backendRefs`.
const MAX_WEIGHT: i64 = 1_000_000;

pub fn translate(
    namespace: &str,
    id: &str,
    spec: EndpointSpec,
    trust_domain: &str,
    faults: &mut Faults,
) -> Option<Endpoint> {
    let service = field::service(namespace, &spec.service, "spec.service", faults);
    let mut addresses = Vec::new();
    for (index, text) in spec.addresses.iter().enumerate() {
        let at = format!("spec.addresses[{index}]");
        let Some(address) = field::address(text, &at, faults) else { continue };
        if addresses.iter().any(|other: &std::net::IpAddr| other.is_ipv4() == address.is_ipv4()) {
            faults
                .add(at, format_args!("{address} is the second of its family: one IPv4 and one IPv6 address at most"));
        }
        addresses.push(address);
    }
    if spec.addresses.is_empty() {
        faults.add("spec.addresses", "an endpoint needs at least one address");
    }
    let mut ports = BTreeMap::new();
    for (name, number) in &spec.ports {
        let at = format!("spec.ports.{name}");
        let (name, port) = (field::label(name, &at, faults), field::port(*number, &at, faults));
        ports.extend(name.zip(port));
    }
    let weight = field::number(spec.weight.unwrap_or(1), 0, MAX_WEIGHT, "spec.weight", faults);
    let identity = spec.service_account.and_then(|account| {
        SpiffeId::new(trust_domain, namespace, &account).map_err(|e| faults.add("spec.serviceAccount", e)).ok()
    });
    let word =
        |text: Option<String>, at: &str, faults: &mut Faults| text.and_then(|text| field::subdomain(&text, at, faults));
    let (zone, node) = (word(spec.zone, "spec.zone", faults), word(spec.node, "spec.node", faults));
    let priority = field::number(spec.priority.unwrap_or(0), 0, MAX_PRIORITY, "spec.priority", faults);
    let location = spec.location.and_then(|given| {
        let location = Location::new(given.latitude, given.longitude);
        if location.is_none() {
            faults.add("spec.location", "latitude is at most 90, longitude at most 180 degrees, in either direction");
        }
        location
    });
    let state = EndpointState::Ready;
    Some(Endpoint {
        id: id.to_owned(),
        service: service?,
        hostname: None,
        addresses,
        ports,
        weight: weight?,
        zone,
        node,
        hints: Hints::default(),
        priority: priority?,
        location,
        identity,
        state,
    })
}
