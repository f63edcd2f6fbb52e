//! The shop by itself, without a mesh: what the services say to each other, seen by a customer.
//!
//! Services run in pods and are told each other's addresses. Needs root and redis-server.

// A test may unwrap: a panic is how it fails, also in what several tests share.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use weft_examples::capture::Capture;
use weft_examples::mesh::{fetch, get};
use weft_examples::pods::{Network, Pod, Process, Program, poll_until};

struct Shop {
    network: Network,
    frontend: Pod,
    cache: Process,
    services: Vec<Process>,
}

fn service(name: &str) -> Program {
    Program::new(env!("CARGO_BIN_EXE_weft-shop")).args([name, "--name", &format!("{name}-0")])
}

fn open() -> Shop {
    let network = Network::new().unwrap();
    let pods = network.pods_in("shop", &["cache", "features", "ranking", "search", "cart", "frontend"]).unwrap();
    let [cache, features, ranking, search, cart, frontend] = &pods[..] else { unreachable!("six were asked for") };
    let at = |pod: &Pod| format!("{}:8080", pod.ip());
    let redis = Program::new("redis-server").args(["--protected-mode", "no", "--save", "", "--port", "6379"]);
    let cache_process = cache.spawn(redis).unwrap();
    let services = vec![
        features.spawn(service("features").args(["--cache", &format!("{}:6379", cache.ip())])).unwrap(),
        ranking.spawn(service("ranking").args(["--features", &at(features)])).unwrap(),
        search.spawn(service("search").args(["--ranking", &at(ranking)])).unwrap(),
        cart.spawn(service("cart")).unwrap(),
        frontend.spawn(service("frontend").args(["--search", &at(search), "--cart", &at(cart)])).unwrap(),
    ];
    let shop = Shop { network, frontend: frontend.clone(), cache: cache_process, services };
    let whole = || get(shop.network.node(), shop.address(), "/search?q=lamp").is_ok_and(|reply| reply.status == 200);
    poll_until(Instant::now() + Duration::from_secs(10), "the shop to open", || whole().then_some(())).unwrap();
    shop
}

impl Shop {
    fn address(&self) -> SocketAddr {
        (self.frontend.ip(), 8080).into()
    }

    /// What a customer on the node gets.
    fn ask(&self, line: &str) -> (weft_examples::mesh::Reply, Value) {
        let reply = fetch(self.network.node(), self.address(), &format!("{line}\r\n\r\n")).unwrap();
        let json = serde_json::from_str(&reply.body).unwrap_or_default();
        (reply, json)
    }
}

#[test]
fn a_search_goes_through_four_services_and_a_cache_that_may_fail() {
    let shop = open();
    let (reply, found) = shop.ask("GET /search?q=lamp HTTP/1.0");
    assert_eq!(reply.header("x-served-by"), Some("frontend-0, search-0, ranking-0, features-0"));
    assert_eq!(found["items"].as_array().unwrap().len(), 6);
    let (streamed, _) = shop.ask("GET /search?q=lamp&stream=true HTTP/1.0");
    assert_eq!(streamed.body.lines().count(), 6, "{}", streamed.body);
    let first: Value = serde_json::from_str(streamed.body.lines().next().unwrap()).unwrap();
    assert_eq!(first["id"], found["items"][0]["id"]);

    shop.cache.kill();
    assert_eq!(shop.ask("GET /search?q=lamp HTTP/1.0").1, found);
    assert!(shop.ask("GET / HTTP/1.0").0.body.contains("<h1>The weft shop</h1>"));
}

#[test]
fn a_cart_belongs_to_its_session() {
    let shop = open();
    let (first, _) = shop.ask("PUT /cart/items/glass-lamp HTTP/1.0\r\ncontent-length: 0");
    assert_eq!(first.header("x-served-by"), Some("frontend-0, cart-0"));
    let cookie = first.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let with =
        |line: &str| shop.ask(&format!("{line} HTTP/1.0\r\ncookie: {cookie}\r\ncontent-length: 0")).1["items"].clone();
    assert_eq!(with("PUT /cart/items/glass-lamp"), serde_json::json!(["glass-lamp"]));
    assert_eq!(with("PUT /cart/items/copper-rug"), serde_json::json!(["copper-rug", "glass-lamp"]));
    assert_eq!(with("DELETE /cart/items/glass-lamp"), serde_json::json!(["copper-rug"]));
    assert_eq!(shop.ask("GET /cart HTTP/1.0").1["items"], serde_json::json!([]));
}

#[test]
fn customers_count_what_they_meet() {
    let shop = open();
    let customers =
        ["--frontend", &shop.address().to_string(), "--rate", "200", "--customers", "10", "--duration", "1500ms"];
    let run = || {
        let output = shop
            .network
            .node()
            .run(Program::new(env!("CARGO_BIN_EXE_weft-shop")).arg("customers").args(customers))
            .unwrap();
        let lines: Vec<Value> = output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (output, lines)
    };
    let (output, lines) = run();
    let summary = lines.last().unwrap();
    assert!(output.status.success(), "{}", output.text());
    assert_eq!((lines[0]["second"].as_u64(), &summary["failed"], &summary["moved"]), (Some(1), &0.into(), &0.into()));
    let requests = summary["requests"].as_u64().unwrap();
    assert!((290..=305).contains(&requests), "{summary}");
    assert_eq!(summary["by_replica"]["frontend-0"], requests);

    shop.services[3].kill();
    let (output, lines) = run();
    assert_eq!(output.status.code(), Some(1));
    let summary = lines.last().unwrap();
    assert!(summary["failed"].as_u64().unwrap() > 50, "{summary}");
    assert!(summary["examples"][0].as_str().unwrap().contains("502"), "{summary}");
}

#[test]
fn services_end_in_order() {
    let shop = open();
    for service in &shop.services {
        service.terminate();
        let status = service.wait_exit(Duration::from_secs(8));
        assert!(status.is_some_and(|status| status.success()), "{}: {status:?}\n{}", service.name(), service.log());
    }
}

#[test]
fn without_a_mesh_anybody_on_the_wire_can_read_along() {
    let shop = open();
    let customer = shop.network.pod("customer").unwrap();
    let capture = Capture::start(&shop.network).unwrap();
    let request = "GET /search?q=lamp HTTP/1.0\r\nhost: shop\r\n\r\n";
    assert_eq!(fetch(&customer, shop.address(), request).unwrap().status, 200);
    let seen = capture.stop();
    assert!(seen.plaintext.iter().any(|stream| stream.starts_with.starts_with(b"GET /search?q=lamp")), "{seen:?}");
    assert!(seen.versions.is_empty() && seen.frames >= 2, "{seen:?}");
}
