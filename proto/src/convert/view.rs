//! Views and bindings: what discovery tells about one service or one address.
//!
//! Refuses a view whose endpoints belong to another service or share an id: the proxy keeps the view it had.

use super::{ConvertError, Result, each, name, name_text};
use crate::v1;
use std::collections::BTreeMap;
use std::net::IpAddr;
use weft_model::{Binding, Endpoint, Service, ServiceView, TrafficPolicy};

impl From<&ServiceView> for v1::ServiceView {
    fn from(view: &ServiceView) -> Self {
        Self {
            service: Some((&view.service).into()),
            routes: view.routes.iter().map(Into::into).collect(),
            policy: Some((&view.policy).into()),
            endpoints: view.endpoints.values().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::ServiceView> for ServiceView {
    type Error = ConvertError;

    fn try_from(wire: v1::ServiceView) -> Result<Self> {
        let service = wire.service.ok_or_else(|| ConvertError::new("service", "missing"))?;
        let service = Service::try_from(service).map_err(|error| error.within("service"))?;
        let policy = wire.policy.map(TrafficPolicy::try_from).transpose().map_err(|error| error.within("policy"))?;
        let mut endpoints = BTreeMap::new();
        for (n, endpoint) in each::<_, Endpoint>("endpoints", wire.endpoints)?.into_iter().enumerate() {
            let refused = |part: &str, reason| Err(ConvertError::new(format!("endpoints[{n}].{part}"), reason));
            if endpoint.service != service.name {
                return refused("service", format!("{} in a view of {}", endpoint.service, service.name));
            }
            if let Some(twin) = endpoints.insert(endpoint.id.clone(), endpoint) {
                return refused("id", format!("{:?} is there twice", twin.id));
            }
        }
        Ok(Self { service, routes: each("routes", wire.routes)?, policy: policy.unwrap_or_default(), endpoints })
    }
}

impl From<(IpAddr, &Binding)> for v1::AddressBinding {
    fn from((address, binding): (IpAddr, &Binding)) -> Self {
        let to = match binding {
            Binding::Service(service) => Some(v1::address_binding::To::Service(name_text(service))),
            Binding::Endpoint { service, id } => {
                let endpoint = v1::EndpointRef { service: name_text(service), id: id.clone() };
                Some(v1::address_binding::To::Endpoint(endpoint))
            }
            Binding::Unknown => None,
        };
        Self { address: address.to_string(), to }
    }
}

impl TryFrom<v1::AddressBinding> for (IpAddr, Binding) {
    type Error = ConvertError;

    fn try_from(wire: v1::AddressBinding) -> Result<Self> {
        let address = wire.address.parse();
        let address = address.map_err(|error| ConvertError::new("address", format!("{:?}: {error}", wire.address)))?;
        let binding = match wire.to {
            None => Binding::Unknown,
            Some(v1::address_binding::To::Service(service)) => Binding::Service(name("service", &service)?),
            Some(v1::address_binding::To::Endpoint(endpoint)) if endpoint.id.is_empty() => {
                return Err(ConvertError::new("endpoint.id", "empty"));
            }
            Some(v1::address_binding::To::Endpoint(endpoint)) => {
                Binding::Endpoint { service: name("endpoint.service", &endpoint.service)?, id: endpoint.id }
            }
        };
        Ok((address, binding))
    }
}
