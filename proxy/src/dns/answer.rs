//! What a query asks for and what is answered. Pure: bytes in, verdict out.
//!
//! Mesh names are `service.namespace.svc.domain`, `endpoint.service.namespace.svc.domain` and, for SRV,
//! `_port._tcp.service.namespace.svc.domain` (the Kubernetes DNS specification). Anything else is forwarded; nothing
//! panics whatever the bytes.

use super::Transport;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, SOA, SRV};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::net::IpAddr;
use weft_model::{ServiceName, ServiceView};

/// Seconds. Short: addresses of services stay, those of endpoints do not.
const TTL: u32 = 5;
/// Without EDNS0 an answer over UDP has 512 bytes at the most (RFC 1035); with it, what the client says, within this.
const PLAIN_LIMIT: u16 = 512;
const MOST: u16 = 4096;
const LARGEST_OFFER: u16 = 1232;

/// What is to be done about a query.
#[derive(Debug)]
pub enum Verdict {
    Drop,
    Malformed(Vec<u8>),
    Forward,
    Mesh(Asked),
    /// Made by a search list (`ndots:5`) out of a whole mesh name: it cannot exist, and nobody else need be asked.
    Nowhere(Vec<u8>),
}

/// A question about a mesh name.
#[derive(Debug)]
pub struct Asked {
    message: Message,
    query: Query,
    pub service: ServiceName,
    part: Part,
}

/// Which part of a service the name stands for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Service,
    Endpoint(String),
    Port(String),
}

/// What there is to say.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    Records {
        answers: Vec<Record>,
        additional: Vec<Record>,
    },
    /// No such name.
    NoName,
    /// Nobody can say now.
    Unknown,
}

/// Reads a query. `domain` is the cluster's, without dots at its ends.
pub fn judge(bytes: &[u8], domain: &str) -> Verdict {
    // Too short for an id, or itself an answer: answering could go on for ever.
    if bytes.len() < 12 || bytes[2] & 0x80 != 0 {
        return Verdict::Drop;
    }
    let Ok(message) = Message::from_vec(bytes) else { return Verdict::Malformed(bare(bytes, ResponseCode::FormErr)) };
    if message.metadata.op_code != OpCode::Query {
        return Verdict::Forward;
    }
    let [query] = &message.queries[..] else { return Verdict::Malformed(bare(bytes, ResponseCode::FormErr)) };
    if query.query_class() != DNSClass::IN {
        return Verdict::Forward;
    }
    let name = query.name().to_ascii().to_ascii_lowercase();
    match mesh_name(&name, domain) {
        Some((service, part)) => Verdict::Mesh(Asked { query: query.clone(), service, part, message }),
        None if expanded(&name, domain) => Verdict::Nowhere(nowhere(&message, query)),
        None => Verdict::Forward,
    }
}

/// A mesh name with more behind it, which again ends in the domain.
fn expanded(name: &str, domain: &str) -> bool {
    let inner = name.strip_suffix('.').and_then(|name| name.strip_suffix(domain));
    inner.is_some_and(|inner| inner.contains(&format!(".svc.{domain}.")))
}

fn mesh_name(name: &str, domain: &str) -> Option<(ServiceName, Part)> {
    let rest = name.strip_suffix('.')?.strip_suffix(domain)?.strip_suffix(".svc.")?;
    let labels: Vec<&str> = rest.split('.').collect();
    match labels[..] {
        [service, namespace] => Some((ServiceName::new(namespace, service).ok()?, Part::Service)),
        [port, "_tcp", service, namespace] => {
            Some((ServiceName::new(namespace, service).ok()?, Part::Port(port.strip_prefix('_')?.to_owned())))
        }
        [endpoint, service, namespace] => {
            Some((ServiceName::new(namespace, service).ok()?, Part::Endpoint(endpoint.to_owned())))
        }
        _ => None,
    }
}

/// What `view` says about the name asked for.
pub fn find(asked: &Asked, view: &ServiceView) -> Found {
    let name = asked.query.name();
    let kind = asked.query.query_type();
    let plain =
        |addresses: &[IpAddr]| Found::Records { answers: addresses_of(name, kind, addresses), additional: vec![] };
    match &asked.part {
        Part::Service if kind == RecordType::SRV => ports(asked, view, |_| true),
        Part::Service => plain(&service_addresses(view)),
        Part::Endpoint(id) => match view.endpoints.get(id) {
            Some(endpoint) => plain(&endpoint.addresses),
            None => Found::NoName,
        },
        Part::Port(port) if view.service.ports.iter().any(|p| p.name == *port) => match kind {
            RecordType::SRV | RecordType::ANY => ports(asked, view, |p| p == port),
            _ => plain(&[]),
        },
        Part::Port(_) => Found::NoName,
    }
}

/// A service without virtual addresses (headless) stands for its endpoints.
fn service_addresses(view: &ServiceView) -> Vec<IpAddr> {
    match &view.service.virtual_addresses[..] {
        [] => view.endpoints.values().filter(|e| e.takes_new_work()).flat_map(|e| e.addresses.clone()).collect(),
        virtual_addresses => virtual_addresses.to_vec(),
    }
}

fn ports(asked: &Asked, view: &ServiceView, wanted: impl Fn(&str) -> bool) -> Found {
    let name = asked.query.name();
    // The service's own name: the one asked for, without the port's labels.
    let own = match asked.part {
        Part::Port(_) => name.base_name().base_name(),
        _ => name.clone(),
    };
    let of = view.service.ports.iter().filter(|port| wanted(&port.name));
    let srv = |port: u16| Record::from_rdata(name.clone(), TTL, RData::SRV(SRV::new(0, 100, port, own.clone())));
    let addresses = service_addresses(view);
    let mut additional = addresses_of(&own, RecordType::A, &addresses);
    additional.extend(addresses_of(&own, RecordType::AAAA, &addresses));
    Found::Records { answers: of.map(|port| srv(port.port.get())).collect(), additional }
}

fn addresses_of(name: &Name, kind: RecordType, addresses: &[IpAddr]) -> Vec<Record> {
    let any = kind == RecordType::ANY;
    let data = addresses.iter().filter_map(|address| match address {
        IpAddr::V4(v4) if any || kind == RecordType::A => Some(RData::A(A(*v4))),
        IpAddr::V6(v6) if any || kind == RecordType::AAAA => Some(RData::AAAA(AAAA(*v6))),
        _ => None,
    });
    data.map(|data| Record::from_rdata(name.clone(), TTL, data)).collect()
}

fn nowhere(message: &Message, query: &Query) -> Vec<u8> {
    let mut answer = begun(message, query);
    answer.metadata.response_code = ResponseCode::NXDomain;
    answer.add_authority(authority(query.name()));
    answer.to_vec().unwrap_or_default()
}

fn begun(message: &Message, query: &Query) -> Message {
    let mut answer = Message::new(message.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.authoritative = true;
    answer.metadata.recursion_desired = message.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.add_query(query.clone());
    if message.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(LARGEST_OFFER);
        answer.set_edns(edns);
    }
    answer
}

/// The answer's bytes; over UDP no longer than the client takes, then with TC set and without records.
pub fn write(asked: &Asked, found: &Found, transport: Transport) -> Option<Vec<u8>> {
    let mut answer = begun(&asked.message, &asked.query);
    match found {
        Found::Records { answers, additional } if !answers.is_empty() => {
            answer.add_answers(answers.iter().cloned());
            answer.add_additionals(additional.iter().cloned());
        }
        Found::Records { .. } => {
            answer.add_authority(authority(asked.query.name()));
        }
        Found::NoName => {
            answer.metadata.response_code = ResponseCode::NXDomain;
            answer.add_authority(authority(asked.query.name()));
        }
        Found::Unknown => answer.metadata.response_code = ResponseCode::ServFail,
    }
    let limit = asked.message.edns.as_ref().map_or(PLAIN_LIMIT, |edns| edns.max_payload().clamp(PLAIN_LIMIT, MOST));
    let bytes = answer.to_vec().ok()?;
    match transport {
        Transport::Udp if bytes.len() > usize::from(limit) => answer.truncate().to_vec().ok(),
        _ => Some(bytes),
    }
}

/// Says how long a negative answer may be kept (RFC 2308).
fn authority(name: &Name) -> Record {
    let zone = name.trim_to(3);
    let soa = SOA::new(zone.clone(), zone.clone(), 1, 3600, 600, 86_400, TTL);
    Record::from_rdata(zone, TTL, RData::SOA(soa))
}

/// SERVFAIL for a query that nobody has answered.
pub fn refuse(query: &[u8]) -> Option<Vec<u8>> {
    let message = Message::from_vec(query).ok()?;
    let mut answer = Message::error_msg(message.metadata.id, message.metadata.op_code, ResponseCode::ServFail);
    answer.metadata.recursion_desired = message.metadata.recursion_desired;
    answer.add_queries(message.queries);
    answer.to_vec().ok()
}

/// A header alone, for queries of which nothing but the id can be relied on.
fn bare(query: &[u8], code: ResponseCode) -> Vec<u8> {
    let id = u16::from_be_bytes([query[0], query[1]]);
    let op_code = OpCode::from_u8((query[2] >> 3) & 0x0f);
    Message::error_msg(id, op_code, code).to_vec().unwrap_or_default()
}
