//! Services and endpoints, written into the store before discovery reads it: a world that has been there for a while.
//!
//! The records are those that `weftctl apply` would have made, and go through the store's own interface. Endpoints that change come
//! later, by registration.

use super::shape::{ENDPOINTS, Shape};
use anyhow::Context;
use std::net::{IpAddr, Ipv4Addr};
use weft_discovery::record::{Content, Key, Record, Source};
use weft_discovery::store::{OPS_LIMIT, Op, Store};
use weft_model::{Endpoint, EndpointState, Hints, Port, Protocol, Service, ServiceName, ServicePort, SpiffeId};
use weft_tests::fleet;

/// Zones that endpoints are spread over.
const ZONES: usize = 3;

/// Writes them.
pub async fn write(store: &dyn Store, shape: &Shape) -> anyhow::Result<()> {
    let mut ops = vec![];
    for n in 0..shape.services {
        let name = ServiceName::new(fleet::NAMESPACE, &fleet::service(n))?;
        ops.push(service(&name, n)?);
        // One of them changes, and registers itself.
        let endpoints = (1..ENDPOINTS).map(|index| endpoint(&name, n, index));
        ops.extend(endpoints.collect::<anyhow::Result<Vec<_>>>()?);
    }
    for some in ops.chunks(OPS_LIMIT) {
        store.commit(vec![], some.to_vec()).await?.context("a commit without conditions was not carried out")?;
    }
    Ok(())
}

fn service(name: &ServiceName, n: usize) -> anyhow::Result<Op> {
    let port = |port: u16| Port::new(port).context("a port is not 0");
    let (dialled, target_port) = (port(80)?, port(8080)?);
    let port = ServicePort { name: "http".to_owned(), port: dialled, target_port, protocol: Protocol::Http };
    let virtual_addresses = vec![numbered([198, 18], n)];
    let model = Service { name: name.clone(), virtual_addresses, ports: vec![port], node_local: false };
    let content = Content::Service(Record { model, document: None, source: Source::Apply });
    Ok(Op::put(Key::Service(name.clone()).to_string(), content.encode()))
}

fn endpoint(name: &ServiceName, n: usize, index: usize) -> anyhow::Result<Op> {
    let identity = SpiffeId::new("weft.local", fleet::NAMESPACE, &name.name).map_err(anyhow::Error::msg)?;
    let number = n * ENDPOINTS + index;
    let model = Endpoint {
        id: format!("{}-{index}", name.name),
        service: name.clone(),
        hostname: None,
        addresses: vec![numbered([10, (number >> 16) as u8], number & 0xffff)],
        ports: [].into(),
        weight: 1,
        zone: Some(format!("zone-{}", index % ZONES)),
        node: Some(format!("node-{}", number % 500)),
        hints: Hints::default(),
        priority: 0,
        location: None,
        identity: Some(identity),
        state: EndpointState::Ready,
    };
    let key = Key::endpoint(&model).to_string();
    let content = Content::Endpoint(Box::new(Record { model, document: None, source: Source::Apply }));
    Ok(Op::put(key, content.encode()))
}

fn numbered([first, second]: [u8; 2], number: usize) -> IpAddr {
    Ipv4Addr::new(first, second, (number >> 8) as u8, number as u8).into()
}
