//! What a service's view says about a name: its addresses, its endpoints' addresses, its ports.
//!
//! Pure. Names are those of the Kubernetes DNS specification: `service.namespace`, `endpoint.service.namespace` and, for
//! SRV, `_port._tcp.service.namespace`, all under `svc.<domain>`. What is no such name is nobody's, never a guess.

use hickory_proto::op::Query;
use hickory_proto::rr::rdata::{A, AAAA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::net::IpAddr;
use weft_model::{ServiceName, ServiceView};

/// Seconds. Short: addresses of services stay, those of endpoints do not.
pub(super) const TTL: u32 = 5;

/// A mesh name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MeshName {
    pub service: ServiceName,
    part: Part,
}

/// Which part of a service a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Service,
    Endpoint(String),
    Port(String),
}

/// What there is to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Without answers: the name exists, and has nothing of the type asked for.
    Records {
        answers: Vec<Record>,
        additional: Vec<Record>,
    },
    NoName,
    /// Nobody can say now.
    Unknown,
    /// A version of EDNS other than 0 (RFC 6891, section 6.1.3).
    BadVersion,
}

impl Found {
    /// The word that the metric counts.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Records { answers, .. } if answers.is_empty() => "nodata",
            Self::Records { .. } => "answered",
            Self::NoName => "nxdomain",
            Self::Unknown => "servfail",
            Self::BadVersion => "badvers",
        }
    }
}

impl MeshName {
    /// From the labels before `svc.<domain>`, in lower case and joined by dots.
    pub fn parse(labels: &str) -> Option<Self> {
        let labels: Vec<&str> = labels.split('.').collect();
        let (part, service, namespace) = match labels[..] {
            [service, namespace] => (Part::Service, service, namespace),
            [port, "_tcp", service, namespace] => (Part::Port(port.strip_prefix('_')?.to_owned()), service, namespace),
            [endpoint, service, namespace] => (Part::Endpoint(endpoint.to_owned()), service, namespace),
            _ => return None,
        };
        Some(Self { service: ServiceName::new(namespace, service).ok()?, part })
    }
}

/// What `view` says about `name`, which is how `query` was understood.
pub(super) fn find(query: &Query, name: &MeshName, view: &ServiceView) -> Found {
    let kind = query.query_type();
    let plain = |addresses: &[IpAddr]| Found::Records {
        answers: records(query.name(), kind, addresses),
        additional: Vec::new(),
    };
    match &name.part {
        Part::Service if kind == RecordType::SRV => ports(query.name(), query.name(), view, |_| true),
        Part::Service => plain(&addresses(view)),
        Part::Endpoint(name) => match called(name, view) {
            Some(addresses) => plain(&addresses),
            None => Found::NoName,
        },
        Part::Port(port) if view.service.ports.iter().any(|p| p.name == *port) => match kind {
            // The service's own name: the one asked for, without the port's two labels.
            RecordType::SRV | RecordType::ANY => {
                ports(query.name(), &query.name().base_name().base_name(), view, |name| name == port)
            }
            _ => plain(&[]),
        },
        Part::Port(_) => Found::NoName,
    }
}

/// The addresses of the endpoint called `name`: by its id, its host name, or one of its addresses with dashes in place of dots
/// or colons.
fn called(name: &str, view: &ServiceView) -> Option<Vec<IpAddr>> {
    let by_id = view.endpoints.get(name);
    let found = by_id.or_else(|| view.endpoints.values().find(|endpoint| endpoint.is_called(name)));
    if let Some(endpoint) = found {
        return Some(endpoint.addresses.clone());
    }
    let address: IpAddr = name.replace('-', ".").parse().ok().or_else(|| name.replace('-', ":").parse().ok())?;
    view.endpoints.values().any(|endpoint| endpoint.addresses.contains(&address)).then(|| vec![address])
}

/// A service without virtual addresses (headless) stands for its endpoints.
fn addresses(view: &ServiceView) -> Vec<IpAddr> {
    match &view.service.virtual_addresses[..] {
        [] => view.endpoints.values().filter(|e| e.takes_new_work()).flat_map(|e| e.addresses.clone()).collect(),
        virtual_addresses => virtual_addresses.to_vec(),
    }
}

fn ports(name: &Name, service: &Name, view: &ServiceView, wanted: impl Fn(&str) -> bool) -> Found {
    let of = view.service.ports.iter().filter(|port| wanted(&port.name));
    let srv = |port: u16| Record::from_rdata(name.clone(), TTL, RData::SRV(SRV::new(0, 100, port, service.clone())));
    let addresses = addresses(view);
    let mut additional = records(service, RecordType::A, &addresses);
    additional.extend(records(service, RecordType::AAAA, &addresses));
    Found::Records { answers: of.map(|port| srv(port.port.get())).collect(), additional }
}

fn records(name: &Name, kind: RecordType, addresses: &[IpAddr]) -> Vec<Record> {
    let any = kind == RecordType::ANY;
    let data = addresses.iter().filter_map(|address| match address {
        IpAddr::V4(v4) if any || kind == RecordType::A => Some(RData::A(A(*v4))),
        IpAddr::V6(v6) if any || kind == RecordType::AAAA => Some(RData::AAAA(AAAA(*v6))),
        _ => None,
    });
    data.map(|data| Record::from_rdata(name.clone(), TTL, data)).collect()
}
