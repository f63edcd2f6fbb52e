//! Whose a query is, and the bytes of an answer to one that is the mesh's. Pure: bytes in, verdict or bytes out.
//!
//! Of a query that is somebody else's nothing is read but its question, for it is handed on as it is. Nothing panics
//! whatever the bytes.

use super::find::{Found, MeshName, TTL};
use super::transport::Transport;
use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{DNSClass, Name, RData, Record};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// Without EDNS0 an answer over UDP has 512 bytes at the most (RFC 1035); with it, what the client says, within this.
const PLAIN_LIMIT: u16 = 512;
const MOST: u16 = 4096;
/// What we take over UDP ourselves: fits into every network's packets (DNS flag day 2020).
const OFFER: u16 = 1232;

/// What is to be done about a query.
#[derive(Debug)]
pub(super) enum Verdict {
    /// No query at all.
    Drop,
    Malformed(Vec<u8>),
    /// Somebody else's.
    Forward,
    /// Of a version of EDNS that nobody has defined.
    Version(Asked),
    /// Below `svc.<domain>`, and no name of the mesh.
    Zone(Asked),
    Mesh(Asked, MeshName),
}

/// A question that is answered here.
#[derive(Debug)]
pub(super) struct Asked {
    id: u16,
    recursion_desired: bool,
    query: Query,
    /// How many bytes the client takes over UDP, if it speaks EDNS0.
    edns: Option<u16>,
    /// `svc.<domain>`.
    zone: Name,
}

/// Reads a query. `domain` is the cluster's, without dots at its ends.
pub(super) fn judge(bytes: &[u8], domain: &str) -> Verdict {
    // Too short for an id, or itself an answer: answering could go on for ever.
    if bytes.len() < 12 || bytes[2] & 0x80 != 0 {
        return Verdict::Drop;
    }
    let malformed = || Verdict::Malformed(bare(bytes, ResponseCode::FormErr));
    let mut decoder = BinDecoder::new(bytes);
    let Ok(header) = Header::read(&mut decoder) else { return malformed() };
    if header.metadata.op_code != OpCode::Query {
        return Verdict::Forward;
    }
    let Ok(queries) = Message::read_queries(&mut decoder, header.counts.queries.into()) else { return malformed() };
    let [query] = &queries[..] else { return malformed() };
    let name = query.name().to_ascii().to_ascii_lowercase();
    let Some(labels) = labels(&name, domain).filter(|_| query.query_class() == DNSClass::IN) else {
        return Verdict::Forward;
    };
    let Ok(message) = Message::from_vec(bytes) else { return malformed() };
    let asked = Asked {
        id: header.metadata.id,
        recursion_desired: header.metadata.recursion_desired,
        query: query.clone(),
        edns: message.edns.as_ref().map(|edns| edns.max_payload()),
        zone: query.name().trim_to(usize::from(query.name().num_labels()) - labels.split('.').count()),
    };
    if message.edns.is_some_and(|edns| edns.version() != 0) {
        return Verdict::Version(asked);
    }
    match MeshName::parse(labels) {
        Some(name) => Verdict::Mesh(asked, name),
        None => Verdict::Zone(asked),
    }
}

/// The labels of a full name before `svc.<domain>`.
fn labels<'n>(name: &'n str, domain: &str) -> Option<&'n str> {
    let labels = name.strip_suffix('.')?.strip_suffix(domain)?.strip_suffix(".svc.")?;
    (!labels.is_empty()).then_some(labels)
}

impl Asked {
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// The answer's bytes; over UDP no longer than the client takes: then with TC set and without records.
    pub fn answer(&self, found: &Found, transport: Transport) -> Option<Vec<u8>> {
        let mut answer = Message::new(self.id, MessageType::Response, OpCode::Query);
        answer.metadata.authoritative = true;
        answer.metadata.recursion_desired = self.recursion_desired;
        answer.metadata.recursion_available = true;
        answer.add_query(self.query.clone());
        match found {
            Found::Records { answers, additional } if !answers.is_empty() => {
                answer.add_answers(answers.iter().cloned());
                answer.add_additionals(additional.iter().cloned());
            }
            Found::Records { .. } => {
                answer.add_authority(self.authority());
            }
            Found::NoName => {
                answer.metadata.response_code = ResponseCode::NXDomain;
                answer.add_authority(self.authority());
            }
            Found::Unknown => answer.metadata.response_code = ResponseCode::ServFail,
            Found::BadVersion => answer.metadata.response_code = ResponseCode::BADVERS,
        }
        if self.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(OFFER);
            edns.set_rcode_high(answer.metadata.response_code.high());
            answer.set_edns(edns);
        }
        let limit = self.edns.map_or(PLAIN_LIMIT, |says| says.clamp(PLAIN_LIMIT, MOST));
        let bytes = answer.to_vec().ok()?;
        match transport {
            Transport::Udp if bytes.len() > usize::from(limit) => answer.truncate().to_vec().ok(),
            _ => Some(bytes),
        }
    }

    /// Says how long a negative answer may be kept (RFC 2308).
    fn authority(&self) -> Record {
        let zone = self.zone.clone();
        let soa = SOA::new(zone.clone(), zone.clone(), 1, 3600, 600, 86_400, TTL);
        Record::from_rdata(zone, TTL, RData::SOA(soa))
    }
}

/// SERVFAIL for a query that nobody has answered.
pub(super) fn failed(query: &[u8]) -> Option<Vec<u8>> {
    let Ok(message) = Message::from_vec(query) else { return Some(bare(query, ResponseCode::ServFail)) };
    let mut answer = Message::error_msg(message.metadata.id, message.metadata.op_code, ResponseCode::ServFail);
    answer.metadata.recursion_desired = message.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.add_queries(message.queries);
    answer.to_vec().ok()
}

/// A header alone, for queries of which nothing but the id can be relied on. `query` has at least 3 bytes.
fn bare(query: &[u8], code: ResponseCode) -> Vec<u8> {
    let id = u16::from_be_bytes([query[0], query[1]]);
    let op_code = OpCode::from_u8((query[2] >> 3) & 0x0f);
    Message::error_msg(id, op_code, code).to_vec().expect("a header always has its twelve bytes")
}
