//! What a workload registers as, and how its health is checked, from their text forms.
//!
//! Parsed once at start. Fails naming the part of the text that is wrong.

use std::collections::BTreeMap;
use weft_model::names::{NameError, label};
use weft_model::{Port, ServiceName};

/// This workload is an endpoint of `service`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    pub service: ServiceName,
    /// Local ports by service port name; a name that is missing means the service's target port.
    pub ports: BTreeMap<String, Port>,
}

impl Registration {
    /// `[namespace/]service[=portname:port[,..]]`; `namespace` is the workload's own. The port name may be empty, as that
    /// of a service's only port may.
    pub fn parse(text: &str, namespace: &str) -> Result<Self, String> {
        let (service, ports) = match text.split_once('=') {
            Some((service, ports)) => (service, Some(ports)),
            None => (text, None),
        };
        let named = match service.contains('/') {
            true => ServiceName::parse(service),
            false => ServiceName::new(namespace, service),
        };
        let service = named.map_err(|error: NameError| error.to_string())?;
        let mut parsed = BTreeMap::new();
        for text in ports.into_iter().flat_map(|ports| ports.split(',')) {
            let (name, number) = text.split_once(':').ok_or_else(|| format!("{text:?} is not PORTNAME:PORT"))?;
            if !name.is_empty() {
                label(name).map_err(|error| error.to_string())?;
            }
            if parsed.insert(name.to_owned(), port(number)?).is_some() {
                return Err(format!("port {name:?} is there twice"));
            }
        }
        Ok(Self { service, ports: parsed })
    }
}

/// How to find out whether the application beside this proxy works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthCheck {
    /// The port accepts connections.
    Tcp(Port),
    /// A GET of the path answers with 200 to 399.
    Http { port: Port, path: String },
}

impl HealthCheck {
    /// `tcp:PORT`, `http:PORT/path`, or `none`.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        match text.split_once(':') {
            None if text == "none" => Ok(None),
            Some(("tcp", number)) => Ok(Some(Self::Tcp(port(number)?))),
            Some(("http", rest)) => {
                let slash = rest.find('/').unwrap_or(rest.len());
                let path = if slash == rest.len() { "/" } else { &rest[slash..] };
                if !path.bytes().all(|b| b.is_ascii_graphic()) {
                    return Err(format!("{path:?} is not a path"));
                }
                Ok(Some(Self::Http { port: port(&rest[..slash])?, path: path.to_owned() }))
            }
            _ => Err(format!("{text:?} is none of tcp:PORT, http:PORT/PATH and none")),
        }
    }
}

fn port(text: &str) -> Result<Port, String> {
    text.parse().map_err(|_| format!("{text:?} is not a port (1 to 65535)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registrations_name_services_and_ports() {
        let plain = Registration::parse("cart", "shop").unwrap();
        assert_eq!((plain.service.to_string().as_str(), plain.ports.len()), ("cart.shop", 0));
        let full = Registration::parse("infra/cache=redis:6379,admin:8080", "shop").unwrap();
        assert_eq!(full.service.to_string(), "cache.infra");
        assert_eq!(full.ports["redis"].get(), 6379);
        assert_eq!(full.ports["admin"].get(), 8080);
        assert_eq!(Registration::parse("cart=:80", "shop").unwrap().ports[""].get(), 80);
        for bad in ["", "/", "a/b/c", "Cart", "cart=", "cart=80", "cart=http:0", "cart=http:70000", "cart=a:1,a:2"] {
            assert!(Registration::parse(bad, "shop").is_err(), "{bad}");
        }
    }

    #[test]
    fn health_checks() {
        let port = Port::new(8080).unwrap();
        assert_eq!(HealthCheck::parse("none").unwrap(), None);
        assert_eq!(HealthCheck::parse("tcp:8080").unwrap(), Some(HealthCheck::Tcp(port)));
        let http = |path: &str| Some(HealthCheck::Http { port, path: path.to_owned() });
        assert_eq!(HealthCheck::parse("http:8080/healthz?a=b").unwrap(), http("/healthz?a=b"));
        assert_eq!(HealthCheck::parse("http:8080").unwrap(), http("/"));
        for bad in ["", "tcp", "tcp:0", "http:/x", "http:80/a b", "http:80/\r\n", "grpc:80"] {
            assert!(HealthCheck::parse(bad).is_err(), "{bad}");
        }
    }
}
