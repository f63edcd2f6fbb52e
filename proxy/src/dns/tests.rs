//! Real queries over real sockets, and what is made of bytes that are none.

use super::answer::{self, Verdict};
use super::*;
use crate::catalog::{self, Known, Snapshot};
use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::str::FromStr;
use weft_model::service::Protocol;
use weft_model::{Endpoint, EndpointState, Service, ServiceName, ServicePort, ServiceView, TrafficPolicy};

const DOMAIN: &str = "cluster.local";

fn view() -> ServiceView {
    let name = ServiceName::new("shop", "cart").unwrap();
    let port = |name: &str, port: u16| ServicePort {
        name: name.into(),
        port: port.try_into().unwrap(),
        target_port: port.try_into().unwrap(),
        protocol: Protocol::Http,
    };
    let endpoint = Endpoint {
        id: "cart-0".into(),
        service: name.clone(),
        addresses: vec!["10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap()],
        ports: BTreeMap::new(),
        weight: 1,
        zone: None,
        node: None,
        identity: None,
        state: EndpointState::Ready,
    };
    let service = Service {
        name,
        virtual_addresses: vec!["198.18.0.5".parse().unwrap()],
        ports: vec![port("http", 80), port("admin", 81)],
    };
    let endpoints = BTreeMap::from([("cart-0".to_owned(), endpoint)]);
    ServiceView { service, routes: vec![], policy: TrafficPolicy::default(), endpoints }
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(7, hickory_proto::op::MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_str(name).unwrap(), kind));
    message
}

/// What is answered about the one known service.
fn answered(message: &Message, transport: Transport) -> Message {
    let Verdict::Mesh(asked) = answer::judge(&message.to_vec().unwrap(), DOMAIN) else { panic!("not a mesh name") };
    let bytes = answer::write(&asked, &answer::find(&asked, &view()), transport).unwrap();
    Message::from_vec(&bytes).unwrap()
}

fn data(name: &str, kind: RecordType) -> Vec<String> {
    answered(&query(name, kind), Transport::Udp).answers.iter().map(|r| r.data.to_string()).collect()
}

#[test]
fn services_endpoints_and_ports_have_names() {
    assert_eq!(data("cart.shop.svc.cluster.local.", RecordType::A), ["198.18.0.5"]);
    assert_eq!(data("CART.shop.svc.cluster.LOCAL.", RecordType::A), ["198.18.0.5"]);
    assert_eq!(data("cart-0.cart.shop.svc.cluster.local.", RecordType::AAAA), ["fd00::7"]);
    assert_eq!(
        data("_admin._tcp.cart.shop.svc.cluster.local.", RecordType::SRV),
        ["0 100 81 cart.shop.svc.cluster.local."]
    );
    assert_eq!(data("cart.shop.svc.cluster.local.", RecordType::SRV).len(), 2);
}

#[test]
fn a_type_that_is_not_there_is_no_error_and_a_name_that_is_not_there_is() {
    let none = answered(&query("cart.shop.svc.cluster.local.", RecordType::AAAA), Transport::Udp);
    assert_eq!(
        (none.metadata.response_code, none.answers.len(), none.authorities.len()),
        (ResponseCode::NoError, 0, 1)
    );
    let gone = answered(&query("cart-9.cart.shop.svc.cluster.local.", RecordType::A), Transport::Udp);
    assert_eq!(gone.metadata.response_code, ResponseCode::NXDomain);
    assert!(matches!(gone.authorities[0].data, RData::SOA(_)));
}

#[test]
fn long_answers_are_truncated_over_udp_unless_the_client_takes_them() {
    let mut wide = view();
    wide.service.virtual_addresses = (1..200u8).map(|n| IpAddr::from([198, 18, 0, n])).collect();
    let ask = |message: &Message, transport| {
        let Verdict::Mesh(asked) = answer::judge(&message.to_vec().unwrap(), DOMAIN) else { panic!() };
        let bytes = answer::write(&asked, &answer::find(&asked, &wide), transport).unwrap();
        (bytes.len(), Message::from_vec(&bytes).unwrap())
    };
    let plain = query("cart.shop.svc.cluster.local.", RecordType::A);
    let (length, answer) = ask(&plain, Transport::Udp);
    assert!(answer.metadata.truncation && length <= 512 && answer.answers.is_empty());
    let (_, answer) = ask(&plain, Transport::Tcp);
    assert!(!answer.metadata.truncation && answer.answers.len() == 199);
    let mut extended = plain;
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    extended.set_edns(edns);
    let (_, answer) = ask(&extended, Transport::Udp);
    assert!(!answer.metadata.truncation && answer.edns.is_some() && answer.answers.len() == 199);
}

#[test]
fn what_is_not_ours_is_forwarded_and_what_cannot_be_is_denied() {
    let judged = |name: &str| answer::judge(&query(name, RecordType::A).to_vec().unwrap(), DOMAIN);
    for name in
        ["example.com.", "cluster.local.", "svc.cluster.local.", "x.pod.cluster.local.", "a.b.c.d.svc.cluster.local."]
    {
        assert!(matches!(judged(name), Verdict::Forward), "{name}");
    }
    for name in ["cart.shop.svc.cluster.local.shop.svc.cluster.local.", "cart.shop.svc.cluster.local.cluster.local."] {
        let Verdict::Nowhere(bytes) = judged(name) else { panic!("{name}") };
        assert_eq!(Message::from_vec(&bytes).unwrap().metadata.response_code, ResponseCode::NXDomain);
    }
}

#[test]
fn malformed_queries_get_formerr_or_nothing() {
    assert!(matches!(answer::judge(b"", DOMAIN), Verdict::Drop));
    assert!(matches!(answer::judge(&[0; 11], DOMAIN), Verdict::Drop));
    let mut reply = query("a.b.", RecordType::A).to_vec().unwrap();
    reply[2] |= 0x80;
    assert!(matches!(answer::judge(&reply, DOMAIN), Verdict::Drop), "an answer is not answered");
    let mut cut = query("cart.shop.svc.cluster.local.", RecordType::A).to_vec().unwrap();
    cut.truncate(20);
    let Verdict::Malformed(answer) = answer::judge(&cut, DOMAIN) else { panic!() };
    let answer = Message::from_vec(&answer).unwrap();
    assert_eq!((answer.metadata.id, answer.metadata.response_code), (7, ResponseCode::FormErr));
    assert!(matches!(answer::judge(&[0; 12], DOMAIN), Verdict::Malformed(_)), "no question");
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        if let Verdict::Mesh(asked) = answer::judge(&bytes, DOMAIN) {
            let _ = answer::write(&asked, &answer::find(&asked, &view()), Transport::Udp);
        }
    }
}

/// A server over a catalog that knows one service, with `upstreams` behind it.
fn serve(upstreams: Vec<SocketAddr>) -> (SocketAddr, SocketAddr, tokio::task::JoinHandle<()>) {
    let (catalog, feed) = catalog::channel(Duration::from_millis(50));
    feed.publish(Snapshot::of([Known::new(view(), 1)]));
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    udp.set_nonblocking(true).unwrap();
    tcp.set_nonblocking(true).unwrap();
    let places = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
    let server = Server {
        udp: vec![UdpSocket::from_std(udp).unwrap()],
        tcp: vec![TcpListener::from_std(tcp).unwrap()],
        resolver: Arc::new(Resolver {
            catalog,
            domain: DOMAIN.to_owned(),
            upstreams: Upstreams(upstreams),
            queries: Family::default(),
            in_flight: Arc::new(Semaphore::new(8)),
        }),
    };
    // The feed lives as long as the server: a catalog without one answers nothing new.
    let task = tokio::spawn(async move {
        let _feed = feed;
        server.run().await;
    });
    (places.0, places.1, task)
}

#[tokio::test]
async fn udp_and_tcp_clients_are_answered_and_others_names_forwarded_unchanged() {
    let upstream = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (udp, tcp, _server) = serve(vec![upstream.local_addr().unwrap()]);
    let client = Upstreams(vec![udp]);
    let ask = query("cart.shop.svc.cluster.local.", RecordType::A).to_vec().unwrap();
    let answer = client.ask(&ask, Transport::Udp).await.unwrap();
    assert_eq!(Message::from_vec(&answer).unwrap().answers.len(), 1);
    let answer = Upstreams(vec![tcp]).ask(&ask, Transport::Tcp).await.unwrap();
    assert_eq!(Message::from_vec(&answer).unwrap().answers.len(), 1);

    let other = query("example.com.", RecordType::MX).to_vec().unwrap();
    let (reply, seen) = tokio::join!(client.ask(&other, Transport::Udp), async {
        let mut buffer = [0; 512];
        let (length, from) = upstream.recv_from(&mut buffer).await.unwrap();
        let reply = [&buffer[..2], b"whatever"].concat();
        upstream.send_to(&reply, from).await.unwrap();
        buffer[..length].to_vec()
    });
    assert_eq!(seen, other);
    assert_eq!(reply.unwrap(), [&other[..2], b"whatever"].concat());
}

#[tokio::test]
async fn silence_upstream_is_servfail() {
    let (udp, _, _server) = serve(vec![]);
    let ask = query("example.com.", RecordType::A).to_vec().unwrap();
    let answer = Upstreams(vec![udp]).ask(&ask, Transport::Udp).await.unwrap();
    assert_eq!(Message::from_vec(&answer).unwrap().metadata.response_code, ResponseCode::ServFail);
}
