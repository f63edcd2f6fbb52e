//! Endpoints.
//!
//! Refuses an endpoint without an address and an identity that is not one: an endpoint that should be met by mTLS must
//! never look like one that is met in plaintext.

use super::{ConvertError, Result, name, name_text, parsed, port, some_text};
use crate::v1;
use std::net::IpAddr;
use weft_model::balance::Location;
use weft_model::{Endpoint, EndpointState, Hints};

impl From<&Endpoint> for v1::Endpoint {
    fn from(endpoint: &Endpoint) -> Self {
        Self {
            id: endpoint.id.clone(),
            service: name_text(&endpoint.service),
            addresses: endpoint.addresses.iter().map(ToString::to_string).collect(),
            ports: endpoint.ports.iter().map(|(name, port)| (name.clone(), port.get().into())).collect(),
            weight: endpoint.weight,
            zone: endpoint.zone.clone().unwrap_or_default(),
            node: endpoint.node.clone().unwrap_or_default(),
            identity: endpoint.identity.as_ref().map(ToString::to_string).unwrap_or_default(),
            state: v1::EndpointState::from(&endpoint.state).into(),
            priority: endpoint.priority,
            hostname: endpoint.hostname.clone().unwrap_or_default(),
            hint_zones: endpoint.hints.zones.clone(),
            hint_nodes: endpoint.hints.nodes.clone(),
            location: endpoint.location.map(|location| {
                let (latitude, longitude) = location.millionths();
                v1::Location { latitude, longitude }
            }),
        }
    }
}

impl TryFrom<v1::Endpoint> for Endpoint {
    type Error = ConvertError;

    fn try_from(wire: v1::Endpoint) -> Result<Self> {
        if wire.id.is_empty() {
            return Err(ConvertError::new("id", "empty"));
        }
        let identity = some_text(wire.identity).map(|text| text.parse()).transpose();
        let state = v1::EndpointState::try_from(wire.state)
            .map_err(|_| ConvertError::new("state", format!("{} is not a state known here", wire.state)))?;
        let ports = wire.ports.into_iter().map(|(name, number)| {
            let port = port(&format!("ports[{name:?}]"), number)?;
            Ok((name, port))
        });
        let location = wire.location.map(|l| {
            Location::from_millionths(l.latitude, l.longitude).ok_or_else(|| {
                ConvertError::new("location", format!("{}, {} is not on Earth", l.latitude, l.longitude))
            })
        });
        Ok(Self {
            service: name("service", &wire.service)?,
            addresses: addresses(&wire.addresses)?,
            ports: ports.collect::<Result<_>>()?,
            weight: wire.weight,
            zone: some_text(wire.zone),
            node: some_text(wire.node),
            identity: identity.map_err(|reason| ConvertError::new("identity", reason))?,
            state: state.into(),
            priority: wire.priority,
            hostname: some_text(wire.hostname),
            hints: Hints { zones: wire.hint_zones, nodes: wire.hint_nodes },
            location: location.transpose()?,
            id: wire.id,
        })
    }
}

fn addresses(wire: &[String]) -> Result<Vec<IpAddr>> {
    let addresses: Vec<IpAddr> = parsed("addresses", wire)?;
    match addresses[..] {
        [] => Err(ConvertError::new("addresses", "an endpoint has at least one address")),
        [_] => Ok(addresses),
        [a, b] if a.is_ipv4() != b.is_ipv4() => Ok(addresses),
        _ => Err(ConvertError::new("addresses", "more than one address of a family")),
    }
}

impl From<&EndpointState> for v1::EndpointState {
    fn from(state: &EndpointState) -> Self {
        match state {
            EndpointState::Ready => Self::Ready,
            EndpointState::NotReady => Self::NotReady,
            EndpointState::Terminating => Self::Terminating,
        }
    }
}

impl From<v1::EndpointState> for EndpointState {
    fn from(wire: v1::EndpointState) -> Self {
        match wire {
            v1::EndpointState::Ready => Self::Ready,
            v1::EndpointState::NotReady => Self::NotReady,
            v1::EndpointState::Terminating => Self::Terminating,
        }
    }
}
