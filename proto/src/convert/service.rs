//! Services and their ports.
//!
//! Refuses a service without ports and ports that could be mistaken for one another.

use super::{ConvertError, Result, each, name, name_text, parsed, port};
use crate::v1;
use std::collections::HashSet;
use weft_model::{Protocol, Service, ServicePort, names::label};

impl From<&Service> for v1::Service {
    fn from(service: &Service) -> Self {
        Self {
            name: name_text(&service.name),
            virtual_addresses: service.virtual_addresses.iter().map(ToString::to_string).collect(),
            ports: service.ports.iter().map(Into::into).collect(),
            node_local: service.node_local,
        }
    }
}

impl TryFrom<v1::Service> for Service {
    type Error = ConvertError;

    fn try_from(wire: v1::Service) -> Result<Self> {
        let service = Self {
            name: name("name", &wire.name)?,
            virtual_addresses: parsed("virtual_addresses", &wire.virtual_addresses)?,
            ports: each("ports", wire.ports)?,
            node_local: wire.node_local,
        };
        if service.ports.is_empty() {
            return Err(ConvertError::new("ports", "a service has at least one port"));
        }
        let (mut names, mut numbers) = (HashSet::new(), HashSet::new());
        for (n, port) in service.ports.iter().enumerate() {
            let refused = |part: &str, reason: String| Err(ConvertError::new(format!("ports[{n}].{part}"), reason));
            if port.name.is_empty() && service.ports.len() > 1 {
                return refused("name", "empty, though the service has several ports".to_owned());
            }
            if !names.insert(&port.name) {
                return refused("name", format!("another port is called {:?}, too", port.name));
            }
            if !numbers.insert(port.port) {
                return refused("port", format!("{} is there twice", port.port));
            }
        }
        Ok(service)
    }
}

impl From<&ServicePort> for v1::ServicePort {
    fn from(port: &ServicePort) -> Self {
        Self {
            name: port.name.clone(),
            port: port.port.get().into(),
            target_port: port.target_port.get().into(),
            protocol: v1::Protocol::from(&port.protocol).into(),
        }
    }
}

impl TryFrom<v1::ServicePort> for ServicePort {
    type Error = ConvertError;

    fn try_from(wire: v1::ServicePort) -> Result<Self> {
        if !wire.name.is_empty() {
            label(&wire.name).map_err(|error| ConvertError::new("name", error))?;
        }
        let protocol = v1::Protocol::try_from(wire.protocol)
            .map_err(|_| ConvertError::new("protocol", format!("{} is not a protocol known here", wire.protocol)))?;
        Ok(Self {
            port: port("port", wire.port)?,
            target_port: port("target_port", wire.target_port)?,
            protocol: protocol.into(),
            name: wire.name,
        })
    }
}

impl From<&Protocol> for v1::Protocol {
    fn from(protocol: &Protocol) -> Self {
        match protocol {
            Protocol::Detect => Self::Detect,
            Protocol::Http => Self::Http,
            Protocol::Http2 => Self::Http2,
            Protocol::Grpc => Self::Grpc,
            Protocol::Tcp => Self::Tcp,
            Protocol::Tls => Self::Tls,
        }
    }
}

impl From<v1::Protocol> for Protocol {
    fn from(wire: v1::Protocol) -> Self {
        match wire {
            v1::Protocol::Detect => Self::Detect,
            v1::Protocol::Http => Self::Http,
            v1::Protocol::Http2 => Self::Http2,
            v1::Protocol::Grpc => Self::Grpc,
            v1::Protocol::Tcp => Self::Tcp,
            v1::Protocol::Tls => Self::Tls,
        }
    }
}
