//! The name server over real sockets: mesh names in every form, queries handed on, and bytes that are no query at all.
//!
//! The catalog is filled by hand and the upstream server is the test's own. The property at the end holds that no bytes whatever
//! make it panic.

use super::find::{Found, MeshName, find};
use super::*;
use crate::catalog::{Feed, Known, Snapshot, channel};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use proptest::prelude::*;
use std::collections::BTreeMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use weft_model::{
    Endpoint, EndpointState, Port, Protocol, Service, ServiceName, ServicePort, ServiceView, TrafficPolicy,
};

const DEADLINE: Duration = Duration::from_secs(20);

fn port(name: &str, number: u16) -> ServicePort {
    let number = Port::new(number).unwrap();
    ServicePort { name: name.to_owned(), port: number, target_port: number, protocol: Protocol::Http }
}

fn view(service: &str, virtual_addresses: &[&str], endpoints: usize) -> ServiceView {
    let name = ServiceName::parse(service).unwrap();
    let endpoint = |n: usize| Endpoint {
        id: format!("e-{n}"),
        service: name.clone(),
        addresses: vec![format!("10.0.{}.{}", n / 250, n % 250 + 1).parse().unwrap()],
        ports: BTreeMap::new(),
        weight: 1,
        zone: None,
        node: None,
        hints: Default::default(),
        hostname: None,
        priority: 0,
        location: None,
        identity: None,
        state: EndpointState::Ready,
    };
    ServiceView {
        service: Service {
            name: name.clone(),
            virtual_addresses: virtual_addresses.iter().map(|text| text.parse().unwrap()).collect(),
            node_local: false,
            ports: vec![port("http", 80), port("grpc", 9000)],
        },
        routes: vec![],
        policy: TrafficPolicy::default(),
        endpoints: (0..endpoints).map(|n| (format!("e-{n}"), endpoint(n))).collect(),
    }
}

/// A running name server that knows shop/cart (198.18.0.1), shop/dual, and the headless shop/big.
struct World {
    udp: SocketAddr,
    tcp: SocketAddr,
    resolver: Arc<Resolver>,
    feed: Feed,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn world(upstreams: Vec<SocketAddr>) -> World {
    let (catalog, feed) = channel(Duration::from_millis(50));
    let views = [
        view("shop/cart", &["198.18.0.1"], 2),
        view("shop/dual", &["198.18.0.2", "fd18::2"], 0),
        view("shop/big", &[], 300),
    ];
    feed.publish(Snapshot::of(views.map(|view| Known::new(view, 1))));
    feed.connected(true);
    let resolver = Resolver::new(catalog, "cluster.local".to_owned(), upstreams, Family::default());
    let server = Server::on([SocketAddr::from(([127, 0, 0, 1], 0))], resolver).unwrap();
    let (udp, tcp) = (server.udp[0].local_addr().unwrap(), server.tcp[0].local_addr().unwrap());
    let resolver = server.resolver.clone();
    World { udp, tcp, resolver, feed, task: tokio::spawn(server.run()) }
}

impl World {
    fn counted(&self, kind: &'static str, result: &'static str) -> u64 {
        self.resolver.queries.get_or_create(&Labels { kind, result }).get()
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Message {
        Message::from_vec(&exchange(self.udp, &query(name, kind)).await).unwrap()
    }
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn query(name: &str, kind: RecordType) -> Vec<u8> {
    question(name, kind).to_vec().unwrap()
}

async fn exchange(server: SocketAddr, query: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server).await.unwrap();
    socket.send(query).await.unwrap();
    let mut answer = vec![0; 65_535];
    let length = timeout(DEADLINE, socket.recv(&mut answer)).await.expect("no answer").unwrap();
    answer.truncate(length);
    answer
}

fn addresses(message: &Message) -> Vec<String> {
    let text = |data: &RData| match data {
        RData::A(a) => a.0.to_string(),
        RData::AAAA(aaaa) => aaaa.0.to_string(),
        other => panic!("{other} is no address"),
    };
    message.answers.iter().map(|record| text(&record.data)).collect()
}

#[tokio::test]
async fn mesh_names_are_answered_in_every_form() {
    let world = world(vec![]);
    let cart = world.ask("Cart.shop.svc.cluster.local.", RecordType::A).await;
    assert_eq!(addresses(&cart), ["198.18.0.1"]);
    assert_eq!((cart.metadata.id, cart.answers[0].ttl), (4711, 5));
    assert_eq!(cart.queries[0].name().to_ascii(), "Cart.shop.svc.cluster.local.", "as it was asked");
    assert!(cart.metadata.authoritative && cart.metadata.recursion_available);
    assert_eq!(addresses(&world.ask("dual.shop.svc.cluster.local.", RecordType::AAAA).await), ["fd18::2"]);
    assert_eq!(addresses(&world.ask("e-1.cart.shop.svc.cluster.local.", RecordType::A).await), ["10.0.0.2"]);
    let srv = world.ask("_grpc._tcp.cart.shop.svc.cluster.local.", RecordType::SRV).await;
    assert!(matches!(&srv.answers[0].data, RData::SRV(srv)
        if srv.port == 9000 && srv.target.to_ascii() == "cart.shop.svc.cluster.local."));
    assert!(matches!(&srv.additionals[0].data, RData::A(a) if a.0.to_string() == "198.18.0.1"));
    let all = world.ask("cart.shop.svc.cluster.local.", RecordType::SRV).await;
    assert_eq!(all.answers.len(), 2);
}

#[test]
fn an_endpoint_is_found_by_its_id_its_host_name_and_its_address_with_dashes() {
    let mut view = view("shop/peers", &[], 2);
    view.endpoints.get_mut("e-0").unwrap().hostname = Some("first".to_owned());
    view.endpoints.get_mut("e-1").unwrap().addresses.push("fd00::2:1".parse().unwrap());
    let found = |labels: &str| {
        let name = MeshName::parse(labels).unwrap();
        let full = Name::from_ascii(format!("{labels}.svc.cluster.local.")).unwrap();
        match find(&Query::query(full, RecordType::A), &name, &view) {
            Found::Records { answers, .. } => answers.len(),
            _ => usize::MAX,
        }
    };
    for name in ["e-0", "first", "10-0-0-1", "10-0-0-2"] {
        assert_eq!(found(&format!("{name}.peers.shop")), 1, "{name}");
    }
    assert_eq!(found("fd00-0-0-0-0-0-2-1.peers.shop"), 0, "another family's");
    for name in ["second", "10-0-0-3", "10-0-0"] {
        assert_eq!(found(&format!("{name}.peers.shop")), usize::MAX, "{name}");
    }
}

#[tokio::test]
async fn what_there_is_not_is_told_apart() {
    let world = world(vec![]);
    let nothing = world.ask("cart.shop.svc.cluster.local.", RecordType::AAAA).await;
    assert_eq!((nothing.metadata.response_code, nothing.answers.len()), (ResponseCode::NoError, 0));
    assert!(matches!(&nothing.authorities[0].data, RData::SOA(soa) if soa.minimum == 5));
    assert_eq!(nothing.authorities[0].name.to_ascii(), "svc.cluster.local.");
    for missing in
        ["e-9.cart.shop.svc.cluster.local.", "_x._tcp.cart.shop.svc.cluster.local.", "a.b.c.d.e.svc.cluster.local."]
    {
        let answer = world.ask(missing, RecordType::A).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain, "{missing}");
    }
    let unknown = world.ask("new.shop.svc.cluster.local.", RecordType::A).await;
    assert_eq!(unknown.metadata.response_code, ResponseCode::ServFail, "discovery has not said anything");
    assert_eq!(
        (world.counted("mesh", "nodata"), world.counted("mesh", "nxdomain"), world.counted("mesh", "servfail")),
        (1, 3, 1)
    );
}

/// A name server that answers everything with the query's own bytes, marked as an answer.
async fn echo() -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    let serve = async move {
        let mut query = [0; 4096];
        loop {
            tokio::select! {
                received = udp.recv_from(&mut query) => {
                    let (length, client) = received.unwrap();
                    query[2] |= 0x80;
                    udp.send_to(&query[..length], client).await.unwrap();
                }
                accepted = tcp.accept() => {
                    let mut stream = accepted.unwrap().0;
                    let length = stream.read_u16().await.unwrap();
                    let mut query = vec![0; length.into()];
                    stream.read_exact(&mut query).await.unwrap();
                    query[2] |= 0x80;
                    stream.write_all(&[&length.to_be_bytes()[..], &query].concat()).await.unwrap();
                }
            }
        }
    };
    (address, tokio::spawn(serve))
}

#[tokio::test]
async fn everything_else_is_handed_on_byte_for_byte() {
    let (upstream, task) = echo().await;
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let refusing = SocketAddr::from(([127, 0, 0, 1], 1));
    let world = world(vec![refusing, upstream, silent.local_addr().unwrap()]);
    let mut odd = query("example.com.", RecordType::TXT);
    // Bytes after the question that no parser would take.
    odd[11] = 1;
    odd.extend_from_slice(b"\xc0\xff whatever");
    let absent = query("web.cluster.local.", RecordType::A);
    let mut update = query("example.com.", RecordType::SOA);
    update[2] |= 5 << 3;
    for query in [odd, absent, update, query("a.b.c.d.e.svc.cluster.local.", RecordType::A)] {
        let mut expected = query.clone();
        expected[2] |= 0x80;
        assert_eq!(exchange(world.udp, &query).await, expected);
        let mut stream = TcpStream::connect(world.tcp).await.unwrap();
        assert_eq!(over_tcp_once(&mut stream, &query).await, expected);
    }
    assert_eq!(world.counted("forwarded", "answered"), 8);
    task.abort();
}

async fn over_tcp_once(stream: &mut TcpStream, query: &[u8]) -> Vec<u8> {
    let length = u16::try_from(query.len()).unwrap();
    stream.write_all(&[&length.to_be_bytes()[..], query].concat()).await.unwrap();
    read_answer(stream).await
}

async fn read_answer(stream: &mut TcpStream) -> Vec<u8> {
    let length = timeout(DEADLINE, stream.read_u16()).await.expect("no answer").unwrap();
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_name_server_that_does_not_answer_means_servfail() {
    let refusing = SocketAddr::from(([127, 0, 0, 1], 1));
    let world = world(vec![refusing]);
    let answer = world.ask("example.com.", RecordType::A).await;
    assert_eq!((answer.metadata.response_code, answer.metadata.id), (ResponseCode::ServFail, 4711));
    assert_eq!(world.counted("forwarded", "failed"), 1);
}

#[tokio::test]
async fn long_answers_are_cut_to_what_the_client_takes() {
    let world = world(vec![]);
    let plain = world.ask("big.shop.svc.cluster.local.", RecordType::A).await;
    assert!(plain.metadata.truncation && plain.answers.is_empty());
    let mut with_edns = question("big.shop.svc.cluster.local.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(60_000);
    with_edns.set_edns(edns);
    let bytes = exchange(world.udp, &with_edns.to_vec().unwrap()).await;
    let answer = Message::from_vec(&bytes).unwrap();
    assert!(bytes.len() <= 4096 && answer.metadata.truncation && answer.edns.is_some());
    let mut stream = TcpStream::connect(world.tcp).await.unwrap();
    let bytes = over_tcp_once(&mut stream, &query("big.shop.svc.cluster.local.", RecordType::A)).await;
    assert_eq!(Message::from_vec(&bytes).unwrap().answers.len(), 300);
    let few = world.ask("cart.shop.svc.cluster.local.", RecordType::A).await;
    assert!(few.edns.is_none(), "nobody gets EDNS0 who has not asked for it");
}

#[tokio::test]
async fn versions_of_edns_that_nobody_has_defined_are_refused() {
    let world = world(vec![]);
    let mut message = question("cart.shop.svc.cluster.local.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_version(1);
    message.set_edns(edns);
    let answer = Message::from_vec(&exchange(world.udp, &message.to_vec().unwrap()).await).unwrap();
    // 16 is BADVERS here and BADSIG elsewhere.
    assert_eq!((u16::from(answer.metadata.response_code), answer.answers.len()), (16, 0));
}

#[tokio::test]
async fn malformed_queries_are_answered_or_dropped_and_counted() {
    let world = world(vec![]);
    let mut two = question("cart.shop.svc.cluster.local.", RecordType::A);
    two.add_query(Query::query(Name::from_ascii("a.b.").unwrap(), RecordType::A));
    let mut cut = query("cart.shop.svc.cluster.local.", RecordType::A);
    cut.truncate(20);
    let mut stray = query("cart.shop.svc.cluster.local.", RecordType::A);
    stray[11] = 1;
    for bad in [two.to_vec().unwrap(), cut, stray, vec![0; 12]] {
        let answer = Message::from_vec(&exchange(world.udp, &bad).await).unwrap();
        assert_eq!(answer.metadata.response_code, ResponseCode::FormErr, "{bad:?}");
        assert_eq!(answer.metadata.id.to_be_bytes(), bad[..2]);
    }
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut answer = query("cart.shop.svc.cluster.local.", RecordType::A);
    answer[2] |= 0x80;
    for nonsense in [&b""[..], b"x", &answer] {
        socket.send_to(nonsense, world.udp).await.unwrap();
    }
    // Answered after what came before it.
    world.ask("cart.shop.svc.cluster.local.", RecordType::A).await;
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while world.counted("malformed", "dropped") < 3 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    assert_eq!(world.counted("malformed", "formerr"), 4);
}

#[tokio::test]
async fn tcp_clients_may_ask_many_things_at_once_and_close_their_side() {
    let world = world(vec![]);
    let mut stream = TcpStream::connect(world.tcp).await.unwrap();
    let mut wire = Vec::new();
    for n in 0..100u16 {
        // Every tenth has to wait for discovery; the others do not wait for it.
        let name = if n.is_multiple_of(10) {
            format!("new-{n}.shop.svc.cluster.local.")
        } else {
            "cart.shop.svc.cluster.local.".to_owned()
        };
        let mut message = question(&name, RecordType::A);
        message.metadata.id = n;
        let bytes = message.to_vec().unwrap();
        wire.extend_from_slice(&u16::try_from(bytes.len()).unwrap().to_be_bytes());
        wire.extend_from_slice(&bytes);
    }
    stream.write_all(&wire).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut order = Vec::new();
    for _ in 0..100 {
        let answer = Message::from_vec(&read_answer(&mut stream).await).unwrap();
        let expected =
            if answer.metadata.id.is_multiple_of(10) { ResponseCode::ServFail } else { ResponseCode::NoError };
        assert_eq!(answer.metadata.response_code, expected);
        order.push(answer.metadata.id);
    }
    assert_ne!(order[0], 0, "the first one was still waiting");
    order.sort_unstable();
    assert_eq!(order, (0..100).collect::<Vec<_>>());
    assert_eq!(timeout(DEADLINE, stream.read(&mut [0])).await.unwrap().unwrap(), 0, "then the server closes, too");
}

#[tokio::test]
async fn a_service_that_appears_is_answered_at_once() {
    let mut world = world(vec![]);
    let asking = tokio::spawn(exchange(world.udp, query("new.shop.svc.cluster.local.", RecordType::A).leak()));
    world.feed.question().await;
    world.feed.publish(Snapshot::of([Known::new(view("shop/new", &["198.18.0.9"], 0), 2)]));
    assert_eq!(addresses(&Message::from_vec(&asking.await.unwrap()).unwrap()), ["198.18.0.9"]);
}

proptest! {
    /// Whatever comes, nothing panics, and every answer is a message with the query's id.
    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200), seed in 0usize..40, flip: u8) {
        let mut near = query("_http._tcp.cart.shop.svc.cluster.local.", RecordType::SRV);
        near[seed % 40] ^= flip;
        for bytes in [&bytes, &near] {
            let answer = match answer::judge(bytes, "cluster.local") {
                Verdict::Drop | Verdict::Forward => continue,
                Verdict::Malformed(answer) => answer,
                Verdict::Version(asked) | Verdict::Zone(asked) => asked.answer(&Found::NoName, Transport::Udp).unwrap(),
                Verdict::Mesh(asked, name) => {
                    let found = find(asked.query(), &name, &view("shop/cart", &["198.18.0.1"], 1));
                    asked.answer(&found, Transport::Udp).unwrap()
                }
            };
            prop_assert_eq!(&answer[..2], &bytes[..2]);
            prop_assert!(answer.len() <= 512);
            prop_assert!(Message::from_vec(&answer).is_ok());
        }
    }
}
